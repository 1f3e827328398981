// NEON with products of 8-bit matrices: 2 rows of 8 activations with 8 levels of 2 columns at a time.
#include <arm_neon.h>

#include "pass.hpp"
#include "plain.hpp"

namespace serotine::encoder {
namespace {

struct NeonI8mm : FloatElements {
  static constexpr int kRows = 6, kSums = 1;
  static constexpr int kFloatRows = 3;
  static constexpr bool kMultipliesMatrices = true;

  // 8 activations of two rows, less 128, which is the contract's sum without a correction.
  static SEROTINE_INLINE int8x16_t load_pair(const std::uint8_t* first, const std::uint8_t* second) {
    return vreinterpretq_s8_u8(veorq_u8(vcombine_u8(vld1_u8(first), vld1_u8(second)), vdupq_n_u8(0x80)));
  }
  // Two of four columns, at `zipped` 0 or 1, with the levels of two steps side by side.
  template <int Zipped>
  static SEROTINE_INLINE int8x16_t zip(int8x16_t step, int8x16_t next) {
    const int32x4_t a = vreinterpretq_s32_s8(step), b = vreinterpretq_s32_s8(next);
    return vreinterpretq_s8_s32(Zipped == 0 ? vzip1q_s32(a, b) : vzip2q_s32(a, b));
  }

  template <int T>
  static SEROTINE_INLINE void tile_sums(Product&, TileInput in, Floats (&tile)[T][2]) {
    // The last of an odd number of rows is its own partner.
    constexpr int pairs = (T + 1) / 2;
    for (std::size_t block = 0; block < 2; ++block) {
      const std::int8_t* weights = in.weights + block * 64;
      // Of each pair and two columns: first row, first column; first row, second column; second row likewise.
      int32x4_t acc[pairs][8];
#pragma GCC unroll 4
      for (int p = 0; p < pairs; ++p) {
#pragma GCC unroll 8
        for (int c = 0; c < 8; ++c) acc[p][c] = vdupq_n_s32(0);
      }
      for (std::size_t i = 0; i < in.inputs; i += 8) {
        __builtin_prefetch(in.ahead, 0, 3);
        __builtin_prefetch(in.ahead + in.ahead_step, 0, 3);
        in.ahead += 2 * in.ahead_step;
        int8x16_t x[pairs];
#pragma GCC unroll 4
        for (int p = 0; p < pairs; ++p) {
          const std::uint8_t* first = in.rows + static_cast<std::size_t>(2 * p) * in.inputs + i;
          x[p] = load_pair(first, 2 * p + 1 < T ? first + in.inputs : first);
        }
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c) {
          const int8x16_t step = vld1q_s8(weights + 16 * c), next = vld1q_s8(weights + 128 + 16 * c);
          const int8x16_t low = zip<0>(step, next), high = zip<1>(step, next);
#pragma GCC unroll 4
          for (int p = 0; p < pairs; ++p) {
            acc[p][2 * c] = vmmlaq_s32(acc[p][2 * c], x[p], low);
            acc[p][2 * c + 1] = vmmlaq_s32(acc[p][2 * c + 1], x[p], high);
          }
        }
        weights += 256;
      }
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) {
        std::int32_t column[kLanes];
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c) {
          const int32x4_t a = acc[t / 2][2 * c], b = acc[t / 2][2 * c + 1];
          const int32x4_t four = t % 2 == 0 ? vcombine_s32(vget_low_s32(a), vget_low_s32(b)) : vcombine_s32(vget_high_s32(a), vget_high_s32(b));
          vst1q_s32(column + 4 * c, four);
        }
        tile[t][block] = from_ints_at(column);
      }
    }
  }
};

}  // namespace

const Kernels neon_i8mm_kernels = {"neon_i8mm", forward<NeonI8mm>};

}  // namespace serotine::encoder
