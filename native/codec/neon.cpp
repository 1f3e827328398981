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
};

}  // namespace

const CodecKernels neon_codec = {decode<Bytes16, Bytes16, 2>, decode<Bytes16, Bytes16, 4>, decode<Bytes16, Bytes16, 8>, bin};

}  // namespace serotine::codec
