// NEON with dot products of bytes.
#include <arm_neon.h>

#include "pass.hpp"
#include "plain.hpp"

namespace serotine::encoder {
namespace {

struct NeonDotprod : FloatElements {
  static constexpr int kRows = 6, kSums = 1;
  static constexpr int kFloatRows = 3;
  struct Sum {
    int32x4_t quarter[4];
  };
  struct Weights {
    int8x16_t quarter[4];
  };
  using Quad = int8x16_t;
  static SEROTINE_INLINE Sum start(const std::int32_t*) {
    const int32x4_t zero = vdupq_n_s32(0);
    return {{zero, zero, zero, zero}};
  }
  static SEROTINE_INLINE Weights load_weights(const std::int8_t* p) {
    return {{vld1q_s8(p), vld1q_s8(p + 16), vld1q_s8(p + 32), vld1q_s8(p + 48)}};
  }
  // Signed: less 128, which is the contract's sum without a correction.
  static SEROTINE_INLINE Quad load_quad(const std::uint8_t* p) {
    std::uint32_t quad;
    __builtin_memcpy(&quad, p, 4);
    return vreinterpretq_s8_u32(vdupq_n_u32(quad ^ 0x80808080u));
  }
  static SEROTINE_INLINE void dot(Sum& acc, Weights w, Quad x) {
    for (int i = 0; i < 4; ++i) acc.quarter[i] = vdotq_s32(acc.quarter[i], w.quarter[i], x);
  }
  static SEROTINE_INLINE Floats floats(Sum sum) {
    std::int32_t column[kLanes];
    for (int i = 0; i < 4; ++i) vst1q_s32(column + 4 * i, sum.quarter[i]);
    return from_ints_at(column);
  }
};

}  // namespace

const Kernels neon_dotprod_kernels = {"neon_dotprod", forward<NeonDotprod>};

}  // namespace serotine::encoder
