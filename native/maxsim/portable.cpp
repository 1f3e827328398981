// Plain C++: runs anywhere, vectorized by the compiler (SSE2 on x86-64, NEON on AArch64).
//
// Multiplication and addition are rounded separately here (no fused operation), so the last bits may differ
// from the other instruction sets.
#include "kernels.hpp"
#include "reached.hpp"
#include "tile.hpp"

namespace serotine::maxsim {
namespace {

constexpr std::size_t kLanes = 8;

struct alignas(32) Floats {
  float at[kLanes];
};
struct alignas(32) Ints {
  std::int32_t at[kLanes];
};

struct Lanes {
  using Reg = Floats;
  using Index = Ints;
  static constexpr std::size_t lanes = kLanes;
  static Reg zero() { return Reg{}; }
  static Reg load(const float* p) {
    Reg r;
    __builtin_memcpy(r.at, p, sizeof(r.at));
    return r;
  }
  static void store(float* p, const Reg& r) { __builtin_memcpy(p, r.at, sizeof(r.at)); }
  static Reg fma(const Reg& a, const Reg& b, const Reg& c) {
    Reg r;
    for (std::size_t i = 0; i < lanes; ++i) r.at[i] = a.at[i] * b.at[i] + c.at[i];
    return r;
  }
  static Reg plus(const Reg& value, float offset) {
    Reg r;
    for (std::size_t i = 0; i < lanes; ++i) r.at[i] = value.at[i] + offset;
    return r;
  }
  static Reg max(const Reg& value, const Reg& top) {
    Reg r;
    for (std::size_t i = 0; i < lanes; ++i) r.at[i] = value.at[i] > top.at[i] ? value.at[i] : top.at[i];
    return r;
  }
  static Ints greater(const Reg& a, const Reg& b) {
    Ints r;
    for (std::size_t i = 0; i < lanes; ++i) r.at[i] = a.at[i] > b.at[i] ? -1 : 0;
    return r;
  }
  static Index set_index(std::int32_t value) {
    Ints r;
    for (std::size_t i = 0; i < lanes; ++i) r.at[i] = value;
    return r;
  }
  static Index load_index(const std::int32_t* p) {
    Ints r;
    __builtin_memcpy(r.at, p, sizeof(r.at));
    return r;
  }
  static void store_index(std::int32_t* p, const Index& r) { __builtin_memcpy(p, r.at, sizeof(r.at)); }
  static Index select(const Ints& mask, const Index& yes, const Index& no) {
    Ints r;
    for (std::size_t i = 0; i < lanes; ++i) r.at[i] = (yes.at[i] & mask.at[i]) | (no.at[i] & ~mask.at[i]);
    return r;
  }
  static bool all_zero(const Reg& r) {
    bool zero = true;
    for (std::size_t i = 0; i < lanes; ++i) zero = zero && r.at[i] == 0.0f;
    return zero;
  }
};

struct Float : Lanes {
  using Query = float;
  using Token = float;
  using Packed = Floats;
  static constexpr std::size_t group = 1;
  static Packed load_query(const float* p) { return load(p); }
  static Packed broadcast(const float* p) {
    Packed r;
    for (std::size_t i = 0; i < lanes; ++i) r.at[i] = *p;
    return r;
  }
  static Reg madd(const Packed& q, const Packed& x, const Reg& acc) { return fma(q, x, acc); }
};

struct PairsOf16 {
  std::int16_t at[2 * kLanes];
};

struct Int16Pairs : Lanes {
  using Query = std::int16_t;
  using Token = std::int16_t;
  using Packed = PairsOf16;
  using Sum = Ints;
  static constexpr std::size_t group = 2;
  static Packed load_query(const std::int16_t* p) {
    Packed r;
    __builtin_memcpy(r.at, p, sizeof(r.at));
    return r;
  }
  static Packed broadcast(const std::int16_t* p) {
    Packed r;
    for (std::size_t i = 0; i < lanes; ++i) {
      r.at[2 * i] = p[0];
      r.at[2 * i + 1] = p[1];
    }
    return r;
  }
  static Sum load_sum(const std::int32_t* p) { return load_index(p); }
  static void dot(Sum& acc, const Packed& q, const Packed& x) {
    for (std::size_t i = 0; i < lanes; ++i) {
      acc.at[i] += static_cast<std::int32_t>(q.at[2 * i]) * x.at[2 * i] +
                   static_cast<std::int32_t>(q.at[2 * i + 1]) * x.at[2 * i + 1];
    }
  }
  static Reg scaled(const Sum& sum, float scale) {
    Reg r;
    for (std::size_t i = 0; i < lanes; ++i) r.at[i] = static_cast<float>(sum.at[i]) * scale;
    return r;
  }
};

float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fu;
  const std::uint32_t mantissa = half & 0x3ffu;
  std::uint32_t bits;
  if (exponent == 0x1f) {
    bits = sign | 0x7f800000u | (mantissa << 13);
  } else if (exponent != 0) {
    bits = sign | ((exponent + 112) << 23) | (mantissa << 13);
  } else {
    // Subnormal or zero: mantissa x 2^-24, exact in fp32.
    const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8f;
    __builtin_memcpy(&bits, &magnitude, 4);
    bits |= sign;
  }
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

void widen_f16(const std::uint16_t* in, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = half_to_float(in[i]);
}

void widen_bf16(const std::uint16_t* in, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(in[i]) << 16;
    __builtin_memcpy(out + i, &bits, 4);
  }
}

}  // namespace

const Kernels portable_kernels = {
    "portable",
    {{float_fold<Float, 4, 1>, kLanes}, {nullptr, 0}, {nullptr, 0}},
    {nullptr, 0},
    {int8_fold<Int16Pairs, 4, 1>, int8_dots<Int16Pairs, 4, 1>, stage_int16, kLanes, 2, 2, 0},
    widen_f16,
    widen_bf16,
    reached,
};

}  // namespace serotine::maxsim
