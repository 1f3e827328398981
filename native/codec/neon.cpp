// The codec's row loops for NEON.
#include <arm_neon.h>

#include "rows.hpp"

namespace serotine::codec {
namespace {

struct Bytes16 {
  using Reg = uint8x16_t;
  static constexpr std::size_t width = 16;
  static Reg load(const void* p) { return vld1q_u8(static_cast<const std::uint8_t*>(p)); }
  static void store(void* p, Reg r) { vst1q_u8(static_cast<std::uint8_t*>(p), r); }
  static Reg splat(std::uint8_t byte) { return vdupq_n_u8(byte); }
  static Reg table(const std::int8_t* p) { return vreinterpretq_u8_s8(vld1q_s8(p)); }
  static Reg bits_and(Reg a, Reg b) { return vandq_u8(a, b); }
  static Reg bits_xor(Reg a, Reg b) { return veorq_u8(a, b); }
  template <int N>
  static Reg shift_right(Reg a) {
    if constexpr (N == 0) {
      return a;
    } else {
      return vshrq_n_u8(a, N);
    }
  }
  static Reg lookup(Reg values, Reg indices) { return vqtbl1q_u8(values, indices); }
  static Reg add(Reg a, Reg b) {
    return vreinterpretq_u8_s8(vqaddq_s8(vreinterpretq_s8_u8(a), vreinterpretq_s8_u8(b)));
  }
  using Sum = int32x4_t;
  static Sum zero() { return vdupq_n_s32(0); }
  static Sum multiplied(Sum sum, const std::int16_t* row, Reg values) {
    const int16x8_t low = vmovl_s8(vget_low_s8(vreinterpretq_s8_u8(values)));
    const int16x8_t high = vmovl_s8(vget_high_s8(vreinterpretq_s8_u8(values)));
    const int16x8_t first = vld1q_s16(row);
    const int16x8_t second = vld1q_s16(row + 8);
    sum = vmlal_s16(vmlal_high_s16(sum, low, first), vget_low_s16(low), vget_low_s16(first));
    return vmlal_s16(vmlal_high_s16(sum, high, second), vget_low_s16(high), vget_low_s16(second));
  }
  static std::int32_t total(Sum sum) { return vaddvq_s32(sum); }
};

}  // namespace

const CodecKernels neon_codec = {
    decode<2, Bytes16>,   decode<4, Bytes16>,   decode<8, Bytes16>,
    multiply<2, Bytes16>, multiply<4, Bytes16>, multiply<8, Bytes16>, bin,
};

}  // namespace serotine::codec
