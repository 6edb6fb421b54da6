// Plays tokens on the Verilated whole-token machine; see verilated_machine.py. A memory is behind its port, or where
// sdram_chip.h is beside this file, a checking chip behind the pins of its SDRAM controller.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "Vtritforge_machine.h"
#if __has_include("sdram_chip.h")
#include "sdram_chip.h"
#define WITH_CHIP
#endif
#include "verilated.h"  // a double underscore of a Verilog name is ___05F in its C++ name

namespace {

using Bytes = std::vector<uint8_t>;

template <typename Port> void put(Port &port, const uint8_t *bytes, size_t size) {
  uint64_t value = 0;
  std::memcpy(&value, bytes, size);
  port = static_cast<Port>(value);
}
template <std::size_t words> void put(VlWide<words> &port, const uint8_t *bytes, size_t size) {
  std::memcpy(port.data(), bytes, size);
}
template <typename Port> void get(const Port &port, uint8_t *bytes, size_t size) {
  const uint64_t value = port;
  std::memcpy(bytes, &value, size);
}
template <std::size_t words> void get(const VlWide<words> &port, uint8_t *bytes, size_t size) {
  std::memcpy(bytes, port.data(), size);
}

bool read_exactly(void *target, size_t size) { return std::fread(target, 1, size, stdin) == size; }

uint64_t bits(const uint8_t *bytes, size_t low, size_t count) {  // count of at most 57
  uint64_t value = 0;
  std::memcpy(&value, bytes + low / 8, 8);
  return value >> low % 8 & ((uint64_t(1) << count) - 1);
}

// Sets the clock of a memory that has one of its own.
template <typename Machine> auto set_clock(Machine &machine, int level, int) -> decltype(machine.memory_clk, void()) {
  machine.memory_clk = level;
}
template <typename Machine> void set_clock(Machine &, int, long) {}
template <typename Machine> void set_memory_clock(Machine &machine, int level) { set_clock(machine, level, 0); }

#ifdef WITH_CHIP
struct Memory {
  SdramChip chip;
  Bytes &data;
  uint32_t ratio;  // of the chip's clock to the machine's
  bool drives = false;

  Memory(const SdramChip::Numbers &numbers, uint32_t ratio) : chip(numbers), data(chip.data), ratio(ratio) {}

  void drive(Vtritforge_machine &) {}

  void take(Vtritforge_machine &machine) {  // the pins as the edge finds them
    SdramChip::Pins pins;
    pins.command = machine.chip___05Fcommand, pins.ba = machine.chip___05Fba, pins.a = machine.chip___05Fa;
    pins.dqm = machine.chip___05Fdqm, pins.dq = machine.chip___05Fdq_o, pins.dq_oe = machine.chip___05Fdq_oe;
    pins.cke = machine.chip___05Fcke;
    drives = chip.step(pins);
  }

  void settle(Vtritforge_machine &machine) { machine.chip___05Fdq_i = drives ? chip.driven : 0x5A5A5A5A; }
};
#else
constexpr size_t kAddressBits = 28;

// The memory: a burst's first word `latency` edges after its request, then one per edge; stalls keep words and writes back.
struct Memory {
  Bytes data, stalls;
  size_t word = 0;
  uint32_t latency = 1;
  uint64_t left = 0, address = 0, wait = 0, edge = 0;

  bool open() const { return stalls.empty() || stalls[edge % stalls.size()]; }

  void drive(Vtritforge_machine &machine) {
    machine.request___05Fready = left == 0;
    const bool valid = left && !wait && open();
    machine.words___05Fvalid = valid;
    if (valid) {
      const size_t at = address * word;
      static const Bytes nothing(64, 0);
      put(machine.words___05Fpayload, at + word <= data.size() ? &data[at] : nothing.data(), word);
    }
    machine.writes___05Fready = open();
  }

  void take(Vtritforge_machine &machine) {  // what the edge after eval transfers
    const bool idle = left == 0, valid = machine.words___05Fvalid, opened = open();
    ++edge;
    if (left && wait) --wait;
    if (machine.request___05Fvalid && idle) {
      uint8_t raw[16] = {};
      get(machine.request___05Fpayload, raw, 8);
      address = bits(raw, 0, kAddressBits), left = bits(raw, kAddressBits, 28), wait = latency - 1;
    } else if (valid && machine.words___05Fready) {
      --left, ++address;
    }
    if (machine.writes___05Fvalid && opened) {
      uint8_t raw[96] = {};
      get(machine.writes___05Fpayload, raw, (kAddressBits + 9 * word + 31) / 32 * 4);
      const size_t at = bits(raw, 0, kAddressBits) * word;
      for (size_t i = 0; i < word && at + i < data.size(); ++i)
        if (bits(raw, kAddressBits + 8 * word + i, 1)) data[at + i] = uint8_t(bits(raw, kAddressBits + 8 * i, 8));
    }
  }

  void settle(Vtritforge_machine &) {}
};
#endif

// The machine's clock rises with the first of the memory's edges; both fall together.
void tick(Vtritforge_machine &machine, Memory &memory) {
  memory.take(machine);
  set_memory_clock(machine, 1), machine.clk = 1, machine.eval();
  memory.settle(machine);
  set_memory_clock(machine, 0), machine.clk = 0, machine.eval();
#ifdef WITH_CHIP
  for (uint32_t edge = 1; edge < memory.ratio; ++edge) {
    memory.take(machine);
    set_memory_clock(machine, 1), machine.eval();
    memory.settle(machine);
    set_memory_clock(machine, 0), machine.eval();
  }
#endif
}

}  // namespace

int main() {
  uint32_t sizes[5];  // bytes of a memory word, of the image, of the memory; latency; bytes of the stall pattern
  if (!read_exactly(sizes, sizeof sizes)) return 1;
  const size_t bytes = size_t(sizes[2]) * sizes[0];
#ifdef WITH_CHIP
  SdramChip::Numbers numbers;
  uint32_t ratio;
  if (!read_exactly(&numbers, sizeof numbers) || !read_exactly(&ratio, sizeof ratio)) return 1;
  Memory memory(numbers, ratio);
  if (memory.data.size() < bytes || !read_exactly(memory.data.data(), sizes[1])) return 1;
#else
  Memory memory;
  memory.word = sizes[0], memory.latency = sizes[3];
  memory.data.resize(bytes);
  memory.stalls.resize(sizes[4]);
  if (!read_exactly(memory.data.data(), sizes[1]) || !read_exactly(memory.stalls.data(), sizes[4])) return 1;
#endif

  Vtritforge_machine machine;
  machine.clk = 0, machine.rst = 1;
  machine.eval();
  machine.clk = 1, machine.eval(), machine.clk = 0, machine.eval();
  machine.rst = 0;
  machine.next___05Fready = 1;
  uint32_t token;
  while (read_exactly(&token, sizeof token)) {
    if (token == 0xffffffff) {  // the whole memory
      std::fwrite(memory.data.data(), 1, bytes, stdout);
      std::fflush(stdout);
      continue;
    }
    if (token == 0xfffffffe) {  // another position
      uint32_t position;
      if (!read_exactly(&position, sizeof position)) return 1;
      machine.seek___05Fpayload = position;
      machine.seek___05Fvalid = 1;
      for (bool taken = false; !taken && !machine.status;) {
        memory.drive(machine);
        machine.eval();
        taken = machine.seek___05Fready;
        tick(machine, memory);
      }
      machine.seek___05Fvalid = 0;
      continue;
    }
    const bool wanted = token >> 31;
    uint32_t answer = 0xffffffff;
    std::vector<uint32_t> trace;
    machine.tokens___05Fpayload = (token & 0xfffff) | uint32_t(wanted) << 20;
    bool offered = true, stopped = false;
    while (true) {
      machine.tokens___05Fvalid = offered;
      memory.drive(machine);
      machine.eval();
      if (machine.status) { stopped = true; break; }
      if (!offered && machine.tokens___05Fready) break;
      if (offered && machine.tokens___05Fready) offered = false;
      if (machine.next___05Fvalid) answer = machine.next___05Fpayload;
      if (machine.retired) trace.push_back(machine.operation), trace.push_back(machine.counter);
      tick(machine, memory);
    }
    const uint32_t head[5] = {machine.status, answer, machine.saturated, machine.position, uint32_t(trace.size() / 2)};
    std::fwrite(head, 1, sizeof head, stdout);
    std::fwrite(trace.data(), 4, trace.size(), stdout);
    std::fflush(stdout);
    if (stopped) break;
  }
  machine.final();
#ifdef WITH_CHIP
  for (const std::string &message : memory.chip.messages) std::fprintf(stderr, "%s\n", message.c_str());
  if (memory.chip.violations) return 3;
#endif
  return 0;
}
