// A Verilated board behind a pseudo-terminal: bytes written to the terminal go to rx bit by bit, tx comes back as bytes.
// Arguments: clock cycles per bit; idle cycles after which it waits for the terminal instead of clocking on.
// It prints the terminal's name, and ends when its standard input ends.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include "Vtritforge_top.h"
#include "verilated.h"

namespace {

const uint64_t LOOK_CYCLES = 64;  // between looks at the terminal while the board works

// Shifts a byte out: start bit, eight data bits, stop bit.
struct Sender {
  uint64_t divisor, timer = 0;
  int left = 0;
  uint32_t frame = 0;
  bool idle() const { return left == 0; }
  void send(uint8_t byte) { frame = 0x200u | uint32_t(byte) << 1, left = 10, timer = divisor; }
  bool level() {
    if (idle()) return true;
    const bool bit = frame & 1;
    if (--timer == 0) frame >>= 1, --left, timer = divisor;
    return bit;
  }
};

// Finds the start bit and samples every bit in its middle.
struct Receiver {
  uint64_t divisor, timer = 0;
  int left = 0;
  uint32_t frame = 0;
  bool idle() const { return left == 0; }
  // True when a byte is complete: bits 1 to 8 of `frame`.
  bool take(bool level) {
    if (idle()) {
      if (!level) left = 10, frame = 0, timer = divisor / 2;
      return false;
    }
    if (timer-- != 0) return false;
    timer = divisor - 1;
    frame |= uint32_t(level) << (10 - left);
    return --left == 0;
  }
};

int open_terminal() {
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || grantpt(master) || unlockpt(master)) return -1;
  const int slave = open(ptsname(master), O_RDWR | O_NOCTTY);  // stays open: hosts come and go
  termios settings;
  if (slave < 0 || tcgetattr(slave, &settings)) return -1;
  cfmakeraw(&settings);
  if (tcsetattr(slave, TCSANOW, &settings)) return -1;
  std::printf("%s\n", ptsname(master));
  std::fflush(stdout);
  return master;
}

}  // namespace

int main(int, char **arguments) {
  const uint64_t divisor = std::strtoull(arguments[1], nullptr, 10), patience = std::strtoull(arguments[2], nullptr, 10);
  const int master = open_terminal();
  if (master < 0) return 1;
  Vtritforge_top top;
  Sender to_board{divisor};
  Receiver from_board{divisor};
  uint8_t pending[256];
  ssize_t count = 0, at = 0;
  uint64_t quiet = 0;  // cycles since a byte came or went
  top.clk = 0, top.rx = 1;
  for (uint64_t cycle = 0;; ++cycle) {
    if (to_board.idle() && at == count && cycle % LOOK_CYCLES == 0) {
      pollfd files[] = {{master, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
      poll(files, 2, quiet > patience && from_board.idle() ? -1 : 0);
      char ignored;
      if (files[1].revents && read(STDIN_FILENO, &ignored, 1) <= 0) break;
      if (files[0].revents & POLLIN) count = read(master, pending, sizeof pending), at = 0;
      if (count < 0) return 1;
    }
    if (to_board.idle() && at < count) to_board.send(pending[at++]), quiet = 0;
    top.rx = to_board.level();
    top.clk = 1, top.eval();
    top.clk = 0, top.eval();
    ++quiet;
    if (from_board.take(top.tx)) {
      const uint8_t byte = uint8_t(from_board.frame >> 1);
      if (write(master, &byte, 1) != 1) return 1;
      quiet = 0;
    }
  }
  top.final();
  return 0;
}
