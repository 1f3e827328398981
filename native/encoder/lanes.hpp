// What is computed with sixteen floats at a time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "encoder.hpp"
#include "lane_types.hpp"

namespace serotine::encoder {
namespace {

// What an instruction set replaces where its own instructions are better.
struct GenericLanes {
  static SEROTINE_INLINE Floats max(Floats a, Floats b) { return larger_values(a, b); }
  static SEROTINE_INLINE Floats min(Floats a, Floats b) { return smaller_values(a, b); }
  // The value nearest to x between -bound and bound.
  template <class Isa>
  static SEROTINE_INLINE Floats between(Floats x, float bound) {
    return Isa::max(Isa::min(x, all(bound)), all(-bound));
  }
  static SEROTINE_INLINE Floats abs(Floats a) { return from_bits(bits(a) & 0x7fffffff); }
  static SEROTINE_INLINE Floats from_ints_at(const std::int32_t* p) { return float_values(load_ints(p)); }
  static SEROTINE_INLINE Floats from_levels(const std::int8_t* p) {
    float lane[kLanes];
    for (std::size_t i = 0; i < kLanes; ++i) lane[i] = p[i];
    return load(lane);
  }
  // Rounds values of at least 0 to the nearest byte; what rounds above 255 becomes 255.
  static SEROTINE_INLINE void store_bytes(std::uint8_t* p, Floats v) {
    // Adding 1.5 * 2^23 leaves the rounded value in the low bits.
    float lane[kLanes];
    store(lane, from_bits(bits(min(v, all(255.0f)) + 12582912.0f) & 0xff));
    for (std::size_t i = 0; i < kLanes; ++i) {
      std::int32_t rounded;
      __builtin_memcpy(&rounded, lane + i, sizeof rounded);
      p[i] = static_cast<std::uint8_t>(rounded);
    }
  }
  static SEROTINE_INLINE float sum(Floats v) {
    float lane[kLanes];
    store(lane, v);
    for (std::size_t width = kLanes / 2; width > 0; width /= 2) {
      for (std::size_t i = 0; i < width; ++i) lane[i] += lane[i + width];
    }
    return lane[0];
  }
  static SEROTINE_INLINE float largest(Floats v) {
    float lane[kLanes];
    store(lane, v);
    for (std::size_t width = kLanes / 2; width > 0; width /= 2) {
      for (std::size_t i = 0; i < width; ++i) lane[i] = lane[i] > lane[i + width] ? lane[i] : lane[i + width];
    }
    return lane[0];
  }
};

// 2 to the power of x <= 0, relative error below 1e-4 (a cubic on [-0.5, 0.5], scaled by the exponent's bits).
template <class Isa>
SEROTINE_INLINE Floats exp2_negative(Floats x) {
  x = Isa::max(x, all(-125.0f));
  const Floats shifted = x + 12582912.0f;
  const Floats f = x - (shifted - 12582912.0f);
  const Floats p =
      fma(fma(fma(f, all(0.05517166392f), all(0.2426111369f)), f, all(0.6932609877f)), f, all(0.9999280727f));
  return from_bits(bits(p) + (bits(shifted) << 23));
}

// x * Phi(x): Phi - 1/2 is odd, an even polynomial times x on [-4, 4], constant beyond. Absolute error below 2e-4.
template <class Isa>
SEROTINE_INLINE Floats gelu(Floats x) {
  const Floats a = Isa::template between<Isa>(x, 4.0f);
  const Floats u = a * a;
  Floats p = all(2.27809633e-08f);
  p = fma(p, u, all(-1.59857838e-06f));
  p = fma(p, u, all(4.79550527e-05f));
  p = fma(p, u, all(-0.000814011034f));
  p = fma(p, u, all(0.00877236715f));
  p = fma(p, u, all(-0.0645730649f));
  p = fma(p, u, all(0.397883317f));
  return x * fma(a, p, all(0.5f));
}

// The tanh form: x * sigmoid(2 z), z = sqrt(2 / pi) (x + 0.044715 x^3), through 2^-|y| so that nothing overflows.
template <class Isa>
SEROTINE_INLINE Floats gelu_tanh(Floats x) {
  const Floats y = x * fma(x * x, all(0.1029432396f), all(2.302208198f));  // 2 z log2(e)
  const Floats e = exp2_negative<Isa>(-Isa::abs(y));
  const Floats positive = 1.0f / (1.0f + e);
  return x * where_positive(y, positive, 1.0f - positive);
}

template <class Isa>
SEROTINE_INLINE Floats sigmoid(Floats x) {
  const Floats e = exp2_negative<Isa>(Isa::abs(x) * -1.4426950409f);
  const Floats positive = 1.0f / (1.0f + e);
  return where_positive(x, positive, 1.0f - positive);
}

template <class Isa>
SEROTINE_INLINE Floats activate(Activation activation, Floats x) {
  switch (activation) {
    case Activation::identity: return x;
    case Activation::relu: return Isa::max(x, Floats{});
    case Activation::gelu: return gelu<Isa>(x);
    case Activation::gelu_tanh: return gelu_tanh<Isa>(x);
    case Activation::silu: return x * sigmoid<Isa>(x);
    case Activation::tanh: return 2.0f * sigmoid<Isa>(2.0f * x) - 1.0f;
  }
  return x;
}

}  // namespace
}  // namespace serotine::encoder
