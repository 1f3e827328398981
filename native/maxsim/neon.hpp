// The NEON vector types, shared by neon.cpp and neon_dotprod.cpp. Internal linkage throughout (see tile.hpp).
#pragma once

#include <arm_neon.h>

#include "kernels.hpp"
#include "tile.hpp"

namespace serotine::maxsim {
namespace {

struct Lanes4 {
  using Reg = float32x4_t;
  using Index = int32x4_t;
  static constexpr std::size_t lanes = 4;
  static Reg zero() { return vdupq_n_f32(0.0f); }
  static Reg load(const float* p) { return vld1q_f32(p); }
  static void store(float* p, Reg r) { vst1q_f32(p, r); }
  static Reg fma(Reg a, Reg b, Reg c) { return vfmaq_f32(c, a, b); }
  static Reg plus(Reg value, float offset) { return vaddq_f32(value, vdupq_n_f32(offset)); }
  // Select on a comparison, not vmaxq: vmaxq returns NaN when either side is NaN.
  static Reg max(Reg value, Reg top) { return vbslq_f32(vcgtq_f32(value, top), value, top); }
  static uint32x4_t greater(Reg a, Reg b) { return vcgtq_f32(a, b); }
  static Index set_index(std::int32_t i) { return vdupq_n_s32(i); }
  static Index load_index(const std::int32_t* p) { return vld1q_s32(p); }
  static void store_index(std::int32_t* p, Index i) { vst1q_s32(p, i); }
  static Index select(uint32x4_t mask, Index yes, Index no) { return vbslq_s32(mask, yes, no); }
  static bool all_zero(Reg r) { return vminvq_u32(vceqq_f32(r, zero())) != 0; }
};

struct Float4Lanes : Lanes4 {
  using Query = float;
  using Token = float;
  using Packed = float32x4_t;
  static constexpr std::size_t group = 1;
  static Packed load_query(const float* p) { return vld1q_f32(p); }
  static Packed broadcast(const float* p) { return vld1q_dup_f32(p); }
  static Reg madd(Packed q, Packed x, Reg acc) { return vfmaq_f32(acc, q, x); }
};

// int8 without the dot-product extension: both sides widened to int16.
struct Int16Pairs : Lanes4 {
  using Query = std::int16_t;
  using Token = std::int16_t;
  using Packed = int16x8_t;
  using Sum = int32x4_t;
  static constexpr std::size_t group = 2;
  static Packed load_query(const std::int16_t* p) { return vld1q_s16(p); }
  static Packed broadcast(const std::int16_t* p) {
    std::int32_t pair;
    __builtin_memcpy(&pair, p, 4);
    return vreinterpretq_s16_s32(vdupq_n_s32(pair));
  }
  static Sum load_sum(const std::int32_t* p) { return vld1q_s32(p); }
  static void dot(Sum& acc, Packed q, Packed x) {
    acc = vaddq_s32(acc, vpaddq_s32(vmull_s16(vget_low_s16(q), vget_low_s16(x)), vmull_high_s16(q, x)));
  }
  static Reg scaled(Sum sum, float scale) { return vmulq_n_f32(vcvtq_f32_s32(sum), scale); }
};

inline void widen_f16_neon(const std::uint16_t* in, std::size_t count, float* out) {
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4) vst1q_f32(out + i, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(in + i))));
  if (i < count) {
    std::uint16_t rest[4] = {};
    float floats[4];
    __builtin_memcpy(rest, in + i, (count - i) * 2);
    vst1q_f32(floats, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(rest))));
    __builtin_memcpy(out + i, floats, (count - i) * 4);
  }
}

inline void widen_bf16_neon(const std::uint16_t* in, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(in[i]) << 16;
    __builtin_memcpy(out + i, &bits, 4);
  }
}

}  // namespace
}  // namespace serotine::maxsim
