// A simulated SDR SDRAM that checks every rule of its data sheet: the rules of model.py again, for compiled simulations.
//
//   SdramChip chip(numbers);            // chip_numbers() of hw/memory/bench.py: size, times, clock, CAS latency
//   std::memcpy(chip.data.data(), image, size);                    // byte 0 of memory word 0 lies at byte 0
//   every edge of the clock, with the pins as they were in front of it:
//     if (chip.step(pins)) dq_i = chip.driven;                      // what the input registers sample on the next edge
//   chip.messages                       // the first breach of every rule; chip.violations: all of them
#ifndef TRITFORGE_SDRAM_CHIP_H
#define TRITFORGE_SDRAM_CHIP_H

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <vector>

class SdramChip {
 public:
  struct Pins {
    unsigned command = 7;  // RAS, CAS, WE, low when asserted, RAS the highest bit
    unsigned ba = 0, a = 0, dqm = 0;
    uint32_t dq = 0;
    bool dq_oe = false, cke = true;
  };
  struct Numbers {  // as Python gives them
    double data_bits, banks, rows, columns, rcd, rp, ras, rc, rrd, wr, rfc, mrd, refresh, power_up, init_refreshes,
        longest_open, period, cas;  // times in ns, mrd in clocks
  };

  std::vector<uint8_t> data;
  uint32_t driven = 0;
  uint64_t violations = 0, edge = 0, commands[8] = {};
  std::vector<std::string> messages;

  explicit SdramChip(const Numbers &numbers)
      : data(size_t(numbers.banks * numbers.rows * numbers.columns) * size_t(numbers.data_bits / 8)),
        n_(numbers),
        bytes_(unsigned(numbers.data_bits / 8)),
        banks_(size_t(numbers.banks)) {}

  // One edge; whether the chip drives its data pins until the next one.
  bool step(const Pins &pins) {
    const int64_t now = int64_t(edge);
    for (size_t i = 0; i < banks_.size(); ++i)
      if (banks_[i].closing >= 0 && banks_[i].closing <= now) {
        close(banks_[i], banks_[i].closing);
        banks_[i].closing = -1;
      }
    if (!pins.cke && double(now) * n_.period >= n_.power_up) broken("cke", "clock enable is low");
    command(pins, now);
    beat(pins, now);
    if (pins.dq_oe && (shown(now) || shown(now - 1))) broken("contention", "data are driven while the chip drives");
    if (refresh_from_ && double(now - refresh_from_) * n_.period > double(refreshes_ + 2) * n_.refresh) {
      broken("refresh", "a refresh is late by more than an interval");
      ++refreshes_;
    }
    const bool drives = shown(now + 1);
    if (drives) driven = queue_[slot(now + 1)].value & ~bits(mask_);
    mask_ = pins.dqm;
    ++edge;
    return drives;
  }

 private:
  enum { kMode, kRefresh, kPrecharge, kActivate, kWrite, kRead, kStop, kNothing };
  static constexpr int64_t kLongAgo = -(int64_t(1) << 40);
  static constexpr double kSlack = 1e-6;
  struct Bank {
    int64_t row = -1, activated = kLongAgo, closed = kLongAgo, written = kLongAgo, closing = -1;
  };
  struct Beat {
    int64_t edge = -1;
    uint32_t value = 0;
  };

  Numbers n_;
  unsigned bytes_;
  std::vector<Bank> banks_;
  unsigned burst_ = 0, mask_ = 0;
  int64_t cas_ = 0;
  bool precharged_ = false;
  int64_t refreshed_ = kLongAgo, moded_ = kLongAgo, activated_ = kLongAgo, refresh_from_ = 0, refreshes_ = 0;
  Beat queue_[32];
  bool working_ = false, writes_ = false;
  unsigned at_bank_ = 0, done_ = 0;
  int64_t at_row_ = 0, at_column_ = 0;
  std::set<std::string> seen_;

  static size_t slot(int64_t edge) { return size_t(edge) & 31; }
  bool shown(int64_t edge) const { return edge >= 0 && queue_[slot(edge)].edge == edge; }
  uint32_t bits(unsigned mask) const {
    uint32_t all = 0;
    for (unsigned i = 0; i < bytes_; ++i)
      if (mask >> i & 1) all |= uint32_t(0xFF) << 8 * i;
    return all;
  }
  int64_t clocks(double ns) const { return int64_t(std::ceil(ns / n_.period - kSlack)); }

  void broken(const std::string &rule, const std::string &what) {
    ++violations;
    if (seen_.insert(rule).second) messages.push_back(rule + ": " + what + " (edge " + std::to_string(edge) + ")");
  }
  void apart(const char *rule, int64_t since, double ns, const char *name) {
    const int64_t passed = int64_t(edge) - since;
    if (double(passed) * n_.period < ns - kSlack)
      broken(rule, std::string(name) + " after " + std::to_string(passed) + " clocks");
  }

  void command(const Pins &pins, int64_t now) {
    static const char *const names[] = {"MODE", "REFRESH", "PRECHARGE", "ACTIVATE", "WRITE", "READ", "STOP", "NOTHING"};
    const unsigned which = pins.command;
    if (which == kNothing) return;
    ++commands[which];
    const char *name = names[which];
    if (double(now) * n_.period < n_.power_up) broken("power up", std::string(name) + " too early after power up");
    apart("tMRD", moded_, n_.mrd * n_.period, name);
    apart("tRFC", refreshed_, n_.rfc, name);
    switch (which) {
      case kActivate: activate(pins, now); break;
      case kRead: column(pins, now, false); break;
      case kWrite: column(pins, now, true); break;
      case kPrecharge: precharge(pins, now); break;
      case kRefresh:
        idle("REFRESH");
        refreshed_ = now;
        ++refreshes_;
        break;
      case kMode: mode(pins, now); break;
      default: broken("illegal command", "burst stop, which is not modelled");
    }
  }

  void activate(const Pins &pins, int64_t now) {
    Bank &bank = banks_[pins.ba];
    if (!burst_ || double(commands[kRefresh]) < n_.init_refreshes)
      broken("initialisation", "ACTIVATE before the refreshes and the mode register");
    if (!refresh_from_) refresh_from_ = now, refreshes_ = 0;
    if (bank.row >= 0) broken("illegal command", "ACTIVATE of an open bank");
    apart("tRC", bank.activated, n_.rc, "ACTIVATE");
    apart("tRP", bank.closed, n_.rp, "ACTIVATE");
    apart("tRRD", activated_, n_.rrd, "ACTIVATE");
    if (double(pins.a) >= n_.rows) broken("address", "row beyond the chip");
    bank.row = int64_t(pins.a) % int64_t(n_.rows);
    bank.activated = activated_ = now;
  }

  void column(const Pins &pins, int64_t now, bool writes) {
    const char *name = writes ? "WRITE" : "READ";
    Bank &bank = banks_[pins.ba];
    if (bank.row < 0) return broken("illegal command", std::string(name) + " of a closed bank");
    if (bank.closing >= 0) broken("illegal command", std::string(name) + " of a bank that closes behind its last burst");
    apart("tRCD", bank.activated, n_.rcd, name);
    const unsigned column = pins.a & 1023;
    if (double(column) >= n_.columns) broken("address", "column beyond the chip");
    stop(now);
    working_ = true, writes_ = writes, at_bank_ = pins.ba, done_ = 0;
    at_row_ = bank.row, at_column_ = int64_t(column) % int64_t(n_.columns);
    if (pins.a & 1024) {
      const int64_t ends = now + burst_ + (writes ? clocks(n_.wr) - 1 : 0), open = bank.activated + clocks(n_.ras);
      bank.closing = ends > open ? ends : open;
    }
  }

  void stop(int64_t now) {  // a new burst ends the one at work: its beats from a CAS latency on stay away
    if (working_ && !writes_)
      for (Beat &beat : queue_)
        if (beat.edge >= now + cas_) beat.edge = -1;
    working_ = false;
  }

  void beat(const Pins &pins, int64_t now) {
    if (!working_) {
      if (pins.dq_oe) broken("data", "data are driven, but no write is at work");
      return;
    }
    const int64_t begin = at_column_ / burst_ * burst_, column = begin + (at_column_ + done_) % burst_;
    uint8_t *const at =
        &data[size_t((at_row_ * int64_t(n_.banks) + at_bank_) * int64_t(n_.columns) + column) * bytes_];
    if (writes_) {
      const bool all_masked = bits(pins.dqm) == bits(0xF);
      if (!pins.dq_oe && !all_masked) broken("data", "a written beat is not driven");
      for (unsigned i = 0; pins.dq_oe && i < bytes_; ++i)
        if (!(pins.dqm >> i & 1)) at[i] = uint8_t(pins.dq >> 8 * i);
      banks_[at_bank_].written = now;
    } else {
      Beat &out = queue_[slot(now + cas_)];
      out.edge = now + cas_, out.value = 0;
      for (unsigned i = 0; i < bytes_; ++i) out.value |= uint32_t(at[i]) << 8 * i;
    }
    working_ = ++done_ != burst_;
  }

  void precharge(const Pins &pins, int64_t now) {
    const bool every = pins.a & 1024;
    precharged_ |= every;
    for (unsigned i = 0; i < banks_.size(); ++i) {
      Bank &bank = banks_[i];
      if ((!every && i != pins.ba) || bank.row < 0) continue;
      apart("tRAS", bank.activated, n_.ras, "PRECHARGE");
      apart("tWR", bank.written, n_.wr, "PRECHARGE");
      if (working_ && at_bank_ == i) {
        broken("burst", "PRECHARGE within a burst");
        working_ = false;
      }
      close(bank, now);
    }
  }

  void close(Bank &bank, int64_t at) {
    if (double(at - bank.activated) * n_.period > n_.longest_open) broken("tRAS max", "a row was open too long");
    bank.row = -1;
    bank.closed = at;
  }

  void idle(const char *name) {
    for (const Bank &bank : banks_) {
      if (bank.row >= 0) broken("illegal command", std::string(name) + " while a row is open");
      apart("tRP", bank.closed, n_.rp, name);
    }
    if (!precharged_) broken("initialisation", std::string(name) + " before all banks were precharged");
  }

  void mode(const Pins &pins, int64_t now) {
    idle("MODE");
    const unsigned length = pins.a & 7, cas = pins.a >> 4 & 7;
    if (length > 3 || (pins.a & ~0x77u) || pins.ba || double(cas) != n_.cas) broken("mode", "another mode than asked for");
    burst_ = 1u << (length > 3 ? 3 : length);
    cas_ = cas;
    moded_ = now;
  }
};

#endif
