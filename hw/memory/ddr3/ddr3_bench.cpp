// Traffic for LiteDRAM's DDR3 controller, Verilated with its simulated PHY and chip; see bench.py.
// Standard input: bytes of a word, odds (of 256) that a word is taken, whether requests wait ahead, odds (of 65536) that
// an edge resets the port, a seed, words of the chip; then operations "r address count gap" and "w address gap", whose data
// and mask are random. What is read is written first, before anything is measured. The last line of the output is JSON;
// lines before it are what LiteDRAM's timing checker complains of.
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <deque>
#include <random>
#include <unordered_map>
#include <vector>

#include "Vtritforge_ddr3_memory.h"
#include "verilated.h"
#include "verilated_ports.h"

namespace {

constexpr unsigned kAddressBits = 28;
constexpr uint64_t kHung = 1000000;  // edges without a word, a request or a write
constexpr uint64_t kLevelled = 4000000;  // edges that power-up and levelling may take

struct Operation {
  char kind;
  uint64_t address, count, gap;
};

using Bytes = std::vector<uint8_t>;

struct Bench {
  Vtritforge_ddr3_memory top;
  std::unordered_map<uint64_t, Bytes> shadow;
  std::mt19937_64 random;
  uint64_t words_of_chip, edge = 0;
  unsigned size;

  Bench(uint64_t seed, uint64_t words, unsigned bytes) : random(seed), words_of_chip(words), size(bytes) {
    top.rst = 1;
    for (int i = 0; i < 4; ++i) tick();
    top.rst = 0;
    edge = 0;
  }

  void tick() {
    top.clk = 1;
    top.eval();
    top.clk = 0;
    top.eval();
    ++edge;
  }

  // A word of random bytes on the port; the mask decides which of them the shadow takes once it is accepted.
  void offer_write(uint64_t address, Bytes &data, Bytes &mask, bool whole) {
    Bytes payload((kAddressBits + 9 * size + 7) / 8 + 8);
    set_bits(payload, 0, address, kAddressBits);
    for (unsigned i = 0; i < size; ++i) {
      data[i] = uint8_t(random());
      mask[i] = whole || (random() & 1);
      set_bits(payload, kAddressBits + 8 * i, data[i], 8);
      set_bits(payload, kAddressBits + 8 * size + i, mask[i], 1);
    }
    put(top.writes___05Fpayload, payload);
  }

  void keep(uint64_t address, const Bytes &data, const Bytes &mask) {
    Bytes &word = shadow.try_emplace(address % words_of_chip, Bytes(size)).first->second;
    for (unsigned i = 0; i < size; ++i)
      if (mask[i]) word[i] = data[i];
  }

  bool fill(uint64_t address) {
    if (shadow.count(address % words_of_chip)) return true;
    Bytes data(size), mask(size);
    offer_write(address, data, mask, true);
    top.writes___05Fvalid = 1;
    top.eval();
    for (uint64_t waited = 0; !top.writes___05Fready; ++waited) {
      if (waited > kHung) return false;
      tick();
    }
    tick();
    top.writes___05Fvalid = 0;
    top.eval();
    keep(address, data, mask);
    return true;
  }
};

}  // namespace

int main(int, char **) {
  unsigned size, odds, ahead, resets;
  uint64_t seed, words_of_chip;
  if (std::scanf("%u %u %u %u %" SCNu64 " %" SCNu64, &size, &odds, &ahead, &resets, &seed, &words_of_chip) != 6) return 2;
  std::vector<Operation> operations;
  for (Operation one; std::scanf(" %c", &one.kind) == 1; operations.push_back(one)) {
    if (std::scanf("%" SCNu64, &one.address) != 1) return 2;
    if (one.kind == 'r' && std::scanf("%" SCNu64, &one.count) != 1) return 2;
    if (std::scanf("%" SCNu64, &one.gap) != 1) return 2;
  }

  Bench bench(seed, words_of_chip, size);
  Vtritforge_ddr3_memory &top = bench.top;
  while (!top.ready && bench.edge < kLevelled) bench.tick();
  const uint64_t levelled = bench.edge;
  const bool ready = top.ready;
  const unsigned delays = top.delays, slips = top.slips;
  bool hung = !ready;
  for (const Operation &one : operations)
    for (uint64_t i = 0; !hung && i < (one.kind == 'r' ? one.count : 1); ++i) hung = !bench.fill(one.address + i);

  const uint64_t begin = bench.edge;
  std::deque<uint64_t> owed;  // addresses of words that were asked for
  uint64_t last = begin, moved = begin, words = 0, written = 0, wrong = 0, first_words = 0, first_edges = 0, restarts = 0;
  for (const Operation &one : operations) {
    if (hung) break;
    for (uint64_t gap = 0; gap < one.gap; ++gap) bench.tick();
    const bool reads = one.kind == 'r';
    Bytes payload(2 * kAddressBits / 8 + 8), data(size), mask(size);
    if (reads) {
      set_bits(payload, 0, one.address, kAddressBits);
      set_bits(payload, kAddressBits, one.count, kAddressBits);
      put(top.request___05Fpayload, payload);
    } else {
      bench.offer_write(one.address, data, mask, false);
    }
    bool offered = true, first = reads && owed.empty();
    const uint64_t start = bench.edge;
    while (!hung && (offered || (!owed.empty() && !(ahead && reads && &one != &operations.back())))) {
      // a write waits until every word has come, so that what a read must see is known
      top.request___05Fvalid = offered && reads;
      top.writes___05Fvalid = offered && !reads && owed.empty();
      top.words___05Fready = odds >= 256 || (bench.random() & 255) < odds;
      top.restart = resets && (bench.random() & 65535) < resets;
      top.eval();
      const bool asked = top.request___05Fvalid && top.request___05Fready;
      const bool wrote = top.writes___05Fvalid && top.writes___05Fready;
      if (top.words___05Fvalid && top.words___05Fready) {
        if (owed.empty()) {
          ++wrong;
        } else {
          wrong += !equal(top.words___05Fpayload, bench.shadow[owed.front() % words_of_chip].data(), size);
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
        bench.keep(one.address, data, mask);
        offered = false;
        ++written;
        last = moved = bench.edge;
      }
      if (top.restart) owed.clear(), offered = false, first = false, ++restarts;
      hung = bench.edge - moved > kHung;
      bench.tick();
      top.restart = 0;
    }
    top.request___05Fvalid = top.writes___05Fvalid = 0;
    top.eval();
  }
  std::printf("\n{\"hung\": %s, \"levelled\": %" PRIu64 ", \"ready\": %s, \"delays\": %u, \"slips\": %u, \"edges\": %" PRIu64
              ", \"words\": %" PRIu64 ", \"written\": %" PRIu64 ", \"wrong\": %" PRIu64 ", \"first_words\": %" PRIu64
              ", \"first_edges\": %" PRIu64 ", \"restarts\": %" PRIu64 "}\n",
              hung ? "true" : "false", levelled, ready ? "true" : "false", delays, slips, last + 1 - begin, words, written,
              wrong, first_words, first_edges, restarts);
  return 0;
}
