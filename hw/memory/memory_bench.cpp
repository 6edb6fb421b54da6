// Traffic for the Verilated controller with a checking chip behind its pins; see bench.py.
// Standard input: the chip's numbers; bytes of a word, odds (of 256) that a word is taken, whether requests wait ahead,
// a seed, edges of the chip per edge of the port; then operations "r address count gap" and "w address gap", whose
// data and mask are random. Contents begin random.
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <deque>
#include <random>
#include <vector>

#include "Vtritforge_sdram.h"
#include "sdram_chip.h"
#include "verilated.h"
#include "verilated_ports.h"

namespace {

constexpr unsigned kAddressBits = 28;
constexpr uint64_t kHung = 1000000;  // edges without a word, a request or a write

struct Operation {
  char kind;
  uint64_t address, count, gap;
};

// Sets the clock of a controller that has one of its own.
template <typename Top> auto set_clock(Top &top, int level, int) -> decltype(top.memory_clk, void()) {
  top.memory_clk = level;
}
template <typename Top> void set_clock(Top &, int, long) {}

struct Bench {
  Vtritforge_sdram top;
  SdramChip chip;
  std::vector<uint8_t> shadow;
  const unsigned ratio;
  uint64_t edge = 0;  // of the port

  Bench(const SdramChip::Numbers &numbers, std::mt19937_64 &random, unsigned ratio) : chip(numbers), ratio(ratio) {
    for (size_t i = 0; i + 8 <= chip.data.size(); i += 8) {
      const uint64_t value = random();
      std::memcpy(&chip.data[i], &value, 8);
    }
    shadow = chip.data;
    top.rst = 1;
    top.clk = 0;
    top.eval();
    top.clk = 1;
    top.eval();
    top.rst = 0;
    top.clk = 0;
    top.eval();
  }

  void tick() {
    for (unsigned i = 0; i < ratio; ++i) chip_edge(!i);
    ++edge;
  }

  void chip_edge(bool of_port) {
    SdramChip::Pins pins;
    pins.command = top.chip___05Fcommand;
    pins.ba = top.chip___05Fba;
    pins.a = top.chip___05Fa;
    pins.dqm = top.chip___05Fdqm;
    pins.dq = top.chip___05Fdq_o;
    pins.dq_oe = top.chip___05Fdq_oe;
    pins.cke = top.chip___05Fcke;
    const bool drives = chip.step(pins);
    set_clock(top, 1, 0);
    if (of_port) top.clk = 1;
    top.eval();
    top.chip___05Fdq_i = drives ? chip.driven : 0x5A5A5A5A;
    set_clock(top, 0, 0);
    top.clk = 0;
    top.eval();
  }
};

}  // namespace

int main(int, char **) {
  double numbers[18];
  for (double &number : numbers)
    if (std::scanf("%lf", &number) != 1) return 2;
  SdramChip::Numbers chip_numbers;
  static_assert(sizeof chip_numbers == sizeof numbers, "eighteen numbers");
  std::memcpy(&chip_numbers, numbers, sizeof numbers);
  unsigned size, odds, ahead, ratio;
  uint64_t seed;
  if (std::scanf("%u %u %u %" SCNu64 " %u", &size, &odds, &ahead, &seed, &ratio) != 5) return 2;
  std::vector<Operation> operations;
  for (Operation one; std::scanf(" %c", &one.kind) == 1; operations.push_back(one)) {
    if (std::scanf("%" SCNu64, &one.address) != 1) return 2;
    if (one.kind == 'r' && std::scanf("%" SCNu64, &one.count) != 1) return 2;
    if (std::scanf("%" SCNu64, &one.gap) != 1) return 2;
  }

  std::mt19937_64 random(seed);
  Bench bench(chip_numbers, random, ratio);
  Vtritforge_sdram &top = bench.top;
  while (!top.ready && bench.edge < 1000000) bench.tick();
  const uint64_t words_of_chip = bench.shadow.size() / size, begin = bench.edge;
  std::deque<uint64_t> owed;  // addresses of words that were asked for
  uint64_t last = begin, moved = begin, words = 0, written = 0, wrong = 0, first_words = 0, first_edges = 0;
  bool hung = false;
  for (const Operation &one : operations) {
    for (uint64_t gap = 0; gap < one.gap; ++gap) bench.tick();
    const bool reads = one.kind == 'r';
    std::vector<uint8_t> payload((kAddressBits + 9 * size + 7) / 8 + 8), data(size), mask(size);
    set_bits(payload, 0, one.address, kAddressBits);
    if (reads) {
      set_bits(payload, kAddressBits, one.count, kAddressBits);
      put(top.request___05Fpayload, payload);
    } else {
      for (unsigned i = 0; i < size; ++i) {
        data[i] = uint8_t(random());
        mask[i] = random() & 1;
        set_bits(payload, kAddressBits + 8 * i, data[i], 8);
        set_bits(payload, kAddressBits + 8 * size + i, mask[i], 1);
      }
      put(top.writes___05Fpayload, payload);
    }
    bool offered = true, first = reads && owed.empty();
    const uint64_t start = bench.edge;
    while (!hung && (offered || (!owed.empty() && !(ahead && reads && &one != &operations.back())))) {
      // a write waits until every word has come, so that what a read must see is known
      top.request___05Fvalid = offered && reads;
      top.writes___05Fvalid = offered && !reads && owed.empty();
      top.words___05Fready = odds >= 256 || (random() & 255) < odds;
      top.eval();
      const bool asked = top.request___05Fvalid && top.request___05Fready;
      const bool wrote = top.writes___05Fvalid && top.writes___05Fready;
      if (top.words___05Fvalid && top.words___05Fready) {
        if (owed.empty()) {
          ++wrong;
        } else {
          wrong += !equal(top.words___05Fpayload, &bench.shadow[owed.front() % words_of_chip * size], size);
          owed.pop_front();
        }
        if (first) ++first_words, first_edges += bench.edge - start, first = false;
        ++words;
        last = moved = bench.edge;
      }
      if (asked) {
        for (uint64_t i = 0; i < one.count; ++i) owed.push_back(one.address + i);
        offered = false;
        moved = bench.edge;
      }
      if (wrote) {
        for (unsigned i = 0; i < size; ++i)
          if (mask[i]) bench.shadow[one.address % words_of_chip * size + i] = data[i];
        offered = false;
        ++written;
        last = moved = bench.edge;
      }
      hung = bench.edge - moved > kHung;
      bench.tick();
    }
    top.request___05Fvalid = top.writes___05Fvalid = 0;
    top.eval();
  }
  for (int i = 0; i < 100; ++i) bench.tick();
  wrong += bench.chip.data != bench.shadow;
  std::printf("{\"hung\": %s, \"edges\": %" PRIu64 ", \"words\": %" PRIu64 ", \"written\": %" PRIu64 ", \"wrong\": %" PRIu64
              ", \"first_words\": %" PRIu64 ", \"first_edges\": %" PRIu64 ", \"violations\": %" PRIu64 ", \"messages\": [",
              hung ? "true" : "false", last + 1 - begin, words, written, wrong, first_words, first_edges, bench.chip.violations);
  for (size_t i = 0; i < bench.chip.messages.size(); ++i)
    std::printf("%s\"%s\"", i ? ", " : "", bench.chip.messages[i].c_str());
  static const char *const names[] = {"mode", "refresh", "precharge", "activate", "write", "read", "stop"};
  std::printf("], \"commands\": {");
  for (int i = 0; i < 7; ++i) std::printf("%s\"%s\": %" PRIu64, i ? ", " : "", names[i], bench.chip.commands[i]);
  std::printf("}}\n");
  return 0;
}
