// Ports of any width of a Verilated model, as bytes; the lowest byte first.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "verilated.h"

template <typename Port> void put(Port &port, const std::vector<uint8_t> &bytes) {
  uint64_t value = 0;
  std::memcpy(&value, bytes.data(), bytes.size() < 8 ? bytes.size() : 8);
  port = static_cast<Port>(value);
}
template <std::size_t words> void put(VlWide<words> &port, const std::vector<uint8_t> &bytes) {
  std::memcpy(port.data(), bytes.data(), bytes.size() < 4 * words ? bytes.size() : 4 * words);
}
template <typename Port> bool equal(const Port &port, const uint8_t *bytes, size_t size) {
  const uint64_t value = port;
  return !std::memcmp(&value, bytes, size);
}
template <std::size_t words> bool equal(const VlWide<words> &port, const uint8_t *bytes, size_t size) {
  return !std::memcmp(port.data(), bytes, size);
}

inline void set_bits(std::vector<uint8_t> &bytes, size_t low, uint64_t value, size_t count) {
  for (size_t i = 0; i < count; ++i)
    if (value >> i & 1) bytes[(low + i) / 8] |= uint8_t(1u << (low + i) % 8);
}
