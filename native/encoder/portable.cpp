// Plain code for any processor.
#include "pass.hpp"
#include "plain.hpp"

namespace serotine::encoder {
namespace {

struct Portable : FloatElements {
  static constexpr int kRows = 2;
  static constexpr int kFloatRows = 2;
  struct Sum {
    std::int32_t column[kLanes];
  };
  using Weights = const std::int8_t*;
  using Quad = const std::uint8_t*;
  static Sum start(const std::int32_t*) { return {}; }
  static Weights load_weights(const std::int8_t* p) { return p; }
  static Quad load_quad(const std::uint8_t* p) { return p; }
  static void dot(Sum& acc, Weights w, Quad x) {
    for (std::size_t column = 0; column < kLanes; ++column) {
      for (std::size_t i = 0; i < 4; ++i) acc.column[column] += (x[i] - 128) * w[column * 4 + i];
    }
  }
  static Floats floats(Sum sum) { return from_ints_at(sum.column); }
};

}  // namespace

const Kernels portable_kernels = {"portable", forward<Portable>};

}  // namespace serotine::encoder
