// A Verilated board with an SDRAM chip that checks its times, behind a pseudo-terminal.
// Arguments: clock cycles per bit; idle cycles after which it waits for the terminal; a file that the chip holds at first;
// the memory's clocks per cycle; the chip's numbers. It prints the terminal's name, ends when its standard input ends, and then prints what was done wrong.
#include <cstdio>
#include <cstdlib>

#include "Vtritforge_top.h"
#include "sdram_chip.h"
#include "serial_line.h"
#include "verilated.h"

namespace {

// Sets the clock of a memory that has one of its own.
template <typename Top> auto set_clock(Top &top, int level, int) -> decltype(top.memory_clk, void()) {
  top.memory_clk = level;
}
template <typename Top> void set_clock(Top &, int, long) {}

// An edge of the memory's clock, on which the machine's rises too where `cycle`; both fall together.
void edge(Vtritforge_top &top, SdramChip &chip, bool cycle) {
  SdramChip::Pins pins;
  pins.command = top.chip___05Fcommand, pins.ba = top.chip___05Fba, pins.a = top.chip___05Fa;
  pins.dqm = top.chip___05Fdqm, pins.dq = top.chip___05Fdq_o, pins.dq_oe = top.chip___05Fdq_oe;
  pins.cke = top.chip___05Fcke;
  const bool drives = chip.step(pins);
  set_clock(top, 1, 0);
  if (cycle) top.clk = 1;
  top.eval();
  if (drives) top.chip___05Fdq_i = chip.driven;
  set_clock(top, 0, 0);
  top.clk = 0, top.eval();
}

}  // namespace

int main(int count, char **arguments) {
  SdramChip::Numbers numbers;
  double *const places = reinterpret_cast<double *>(&numbers);
  if (size_t(count - 5) * sizeof(double) != sizeof numbers) return 1;
  const int ratio = std::atoi(arguments[4]);
  for (int i = 5; i < count; ++i) places[i - 5] = std::strtod(arguments[i], nullptr);
  SdramChip chip(numbers);
  if (FILE *const file = std::fopen(arguments[3], "rb")) {
    std::fread(chip.data.data(), 1, chip.data.size(), file);
    std::fclose(file);
  }
  SerialLine line(std::strtoull(arguments[1], nullptr, 10), std::strtoull(arguments[2], nullptr, 10));
  if (!line.opened()) return 1;
  Vtritforge_top top;
  top.clk = 0, top.rx = 1;
  top.eval();
  for (uint64_t cycle = 0; !line.ended; ++cycle) {
    top.rx = line.level(cycle);
    edge(top, chip, true);
    for (int more = 1; more < ratio; ++more) edge(top, chip, false);
    line.take(top.tx);
  }
  top.final();
  if (chip.violations) std::printf("the SDRAM saw %llu breaches of its times:", (unsigned long long)chip.violations);
  for (const std::string &message : chip.messages) std::printf(" %s;", message.c_str());
  return 0;
}
