// The host's end of a simulated serial line: a pseudo-terminal, and bits of ``rx`` and ``tx`` on every clock cycle.
#ifndef TRITFORGE_SERIAL_LINE_H
#define TRITFORGE_SERIAL_LINE_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

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

inline int open_terminal() {
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

// Bytes written to the terminal go to the board bit by bit, the board's come back as bytes. ``patience``: idle cycles after
// which it waits for the terminal instead of clocking on.
class SerialLine {
 public:
  SerialLine(uint64_t divisor, uint64_t patience) : to_board_{divisor}, from_board_{divisor}, patience_(patience) {
    master_ = open_terminal();
  }
  bool opened() const { return master_ >= 0; }

  // The level of ``rx`` in this cycle; ``ended`` once the simulation's standard input has ended or the terminal failed.
  bool level(uint64_t cycle) {
    if (to_board_.idle() && at_ == count_ && cycle % LOOK_CYCLES == 0) look();
    if (to_board_.idle() && at_ < count_) to_board_.send(pending_[at_++]), quiet_ = 0;
    return to_board_.level();
  }
  bool ended = false;

  // The level of ``tx`` behind the edge.
  void take(bool level) {
    ++quiet_;
    if (!from_board_.take(level)) return;
    const uint8_t byte = uint8_t(from_board_.frame >> 1);
    ended |= write(master_, &byte, 1) != 1;
    quiet_ = 0;
  }

 private:
  Sender to_board_;
  Receiver from_board_;
  uint64_t patience_, quiet_ = 0;  // cycles since a byte came or went
  uint8_t pending_[256];
  ssize_t count_ = 0, at_ = 0;
  int master_;

  void look() {
    pollfd files[] = {{master_, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    poll(files, 2, quiet_ > patience_ && from_board_.idle() ? -1 : 0);
    char ignored;
    if (files[1].revents && read(STDIN_FILENO, &ignored, 1) <= 0) ended = true;
    if (files[0].revents & POLLIN) count_ = read(master_, pending_, sizeof pending_), at_ = 0;
    if (count_ < 0) count_ = 0, ended = true;
  }
};

}  // namespace

#endif
