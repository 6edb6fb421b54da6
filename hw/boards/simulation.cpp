// A Verilated board behind a pseudo-terminal.
// Arguments: clock cycles per bit; idle cycles after which it waits for the terminal instead of clocking on.
// It prints the terminal's name, and ends when its standard input ends.
#include "Vtritforge_top.h"
#include "serial_line.h"
#include "verilated.h"

int main(int, char **arguments) {
  SerialLine line(std::strtoull(arguments[1], nullptr, 10), std::strtoull(arguments[2], nullptr, 10));
  if (!line.opened()) return 1;
  Vtritforge_top top;
  top.clk = 0;
  for (uint64_t cycle = 0; !line.ended; ++cycle) {
    top.rx = line.level(cycle);
    top.clk = 1, top.eval();
    top.clk = 0, top.eval();
    line.take(top.tx);
  }
  top.final();
  return 0;
}
