// The dot-product extension of AArch64 NEON: int8 products four at a time (SDOT).
#include "neon.hpp"

namespace serotine::maxsim {
namespace {

struct Int8Quads : Lanes4 {
  using Query = std::int8_t;
  using Token = std::int8_t;
  using Packed = int8x16_t;
  using Sum = int32x4_t;
  static constexpr std::size_t group = 4;
  static Packed load_query(const std::int8_t* p) { return vld1q_s8(p); }
  static Packed broadcast(const std::int8_t* p) {
    std::int32_t quad;
    __builtin_memcpy(&quad, p, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(quad));
  }
  static Sum load_sum(const std::int32_t* p) { return vld1q_s32(p); }
  static void dot(Sum& acc, Packed q, Packed x) { acc = vdotq_s32(acc, q, x); }
  static Reg scaled(Sum sum, float scale) { return vmulq_n_f32(vcvtq_f32_s32(sum), scale); }
};

}  // namespace

const Int8Fold neon_dotprod_int8 = {int8_fold<Int8Quads, 5, 4>, int8_dots<Int8Quads, 5, 4>, stage_bytes<0>, 4, 4, 1, 0};

}  // namespace serotine::maxsim
