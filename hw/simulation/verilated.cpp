// Plays GEMMs on the Verilated core: requests on standard input, answers on standard output, see hw/verilated.py.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "Vtritforge_core.h"
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

// Everything of one stream: its bytes, the size of a beat, and the pattern of bits by edge, 1 beyond its end.
struct Stream {
  Bytes data, offers;
  size_t beat = 0, at = 0, edge = 0;
  bool left() const { return at < data.size(); }
  bool offered() { const bool bit = edge >= offers.size() || offers[edge]; ++edge; return bit; }
};

bool read_exactly(void *target, size_t size) { return std::fread(target, 1, size, stdin) == size; }

bool read_bytes(Bytes &target) {
  uint32_t size = 0;
  if (!read_exactly(&size, sizeof size)) return false;
  target.resize(size);
  return read_exactly(target.data(), size);
}

void tick(Vtritforge_core &core) {
  core.clk = 1;
  core.eval();
  core.clk = 0;
  core.eval();
}

// Plays one GEMM; false when it does not end within `limit` edges.
bool play(Vtritforge_core &core, const Bytes &descriptor, Stream &weights, Stream &vectors, Stream &results, uint64_t limit) {
  put(core.descriptor___05Fpayload, descriptor.data(), descriptor.size());
  core.descriptor___05Fvalid = 1;
  core.eval();
  tick(core);
  core.descriptor___05Fvalid = 0;
  bool weight_held = false, vector_held = false;
  for (uint64_t edge = 0; results.left(); ++edge) {
    if (edge == limit) return false;
    const bool weight_offered = weights.offered(), vector_offered = vectors.offered();
    weight_held = weights.left() && (weight_held || weight_offered);
    vector_held = vectors.left() && (vector_held || vector_offered);
    if (weight_held) put(core.weights___05Fpayload, &weights.data[weights.at], weights.beat);
    if (vector_held) put(core.activations___05Fpayload, &vectors.data[vectors.at], vectors.beat);
    core.weights___05Fvalid = weight_held;
    core.activations___05Fvalid = vector_held;
    core.results___05Fready = results.offered();
    core.eval();
    if (weight_held && core.weights___05Fready) weights.at += weights.beat, weight_held = false;
    if (vector_held && core.activations___05Fready) vectors.at += vectors.beat, vector_held = false;
    if (core.results___05Fvalid && core.results___05Fready) {
      get(core.results___05Fpayload, &results.data[results.at], results.beat);
      results.at += results.beat;
    }
    tick(core);
  }
  core.weights___05Fvalid = core.activations___05Fvalid = core.results___05Fready = 0;
  core.eval();
  return true;
}

}  // namespace

int main() {
  Vtritforge_core core;
  core.rst = 1;
  core.clk = 0;
  core.eval();
  tick(core);
  core.rst = 0;
  uint32_t sizes[4];  // bytes of a weight word, of a vector and of a result beat; result beats
  while (read_exactly(sizes, sizeof sizes)) {
    Bytes descriptor;
    Stream weights, vectors, results;
    weights.beat = sizes[0], vectors.beat = sizes[1], results.beat = sizes[2];
    results.data.resize(size_t(sizes[2]) * sizes[3]);
    if (!read_bytes(descriptor) || !read_bytes(weights.data) || !read_bytes(vectors.data)) return 1;
    if (!read_bytes(weights.offers) || !read_bytes(vectors.offers) || !read_bytes(results.offers)) return 1;
    const uint64_t beats = weights.data.size() / weights.beat + vectors.data.size() / vectors.beat + sizes[3];
    const uint64_t patterns = weights.offers.size() + vectors.offers.size() + results.offers.size();
    if (!play(core, descriptor, weights, vectors, results, 1000 + 4 * beats + patterns)) return 2;
    const uint64_t counters[6] = {core.counters___05Fcycles, core.counters___05Fideal, core.counters___05Ffill_drain,
                                  core.counters___05Fweight_stall, core.counters___05Finput_stall, core.counters___05Foutput_stall};
    std::fwrite(results.data.data(), 1, results.data.size(), stdout);
    std::fwrite(counters, 1, sizeof counters, stdout);
    std::fflush(stdout);
  }
  core.final();
  return 0;
}
