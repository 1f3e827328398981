// AMX (TILE, INT8, BF16): int8 and bf16 dot products in tile registers, 16 document tokens x 32 query tokens at once.
//
// It has not been run on a processor with AMX yet: its loops are tested with emulated tiles (tests/native). It is
// therefore never the default; use("amx") selects it where the processor has it.
#include "amx.hpp"

#include "../common/hardware_tiles.hpp"
#include "avx512.hpp"

namespace serotine::maxsim {
namespace {

struct Int8Tiles : HardwareTiles {
  template <int Sums, int Tokens, int Lanes>
  static void multiply() {
    __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sums), "i"(Tokens), "i"(Lanes));
  }
};

struct Bfloat16Tiles : HardwareTiles {
  template <int Sums, int Tokens, int Lanes>
  static void multiply() {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sums), "i"(Tokens), "i"(Lanes));
  }
};

inline void fold_row(__m512 value, std::int32_t number, float* best, std::int32_t* where) {
  const __m512 top = _mm512_loadu_ps(best);
  if (where != nullptr) {
    const __mmask16 wins = _mm512_cmp_ps_mask(value, top, _CMP_GT_OQ);
    _mm512_mask_storeu_epi32(where, wins, _mm512_set1_epi32(number));
  }
  _mm512_storeu_ps(best, _mm512_max_ps(value, top));
}

void fold_int8(const void* query, const std::int32_t*, std::size_t vectors, std::size_t steps, const void* tokens,
               std::size_t stride_bytes, Ahead, const float* scales, const float* offsets, std::size_t count,
               std::int32_t first, float* best, std::int32_t* where) {
  amx_walk<Int8Tiles>(static_cast<const std::uint8_t*>(query), vectors, steps,
                      static_cast<const std::uint8_t*>(tokens), stride_bytes, count,
                      [&](std::size_t v, const std::uint8_t* sums, std::size_t now, std::size_t done) {
                        for (std::size_t t = 0; t < now; ++t) {
                          const __m512 sum = _mm512_cvtepi32_ps(_mm512_load_si512(sums + t * kTileBytes));
                          const __m512 value = _mm512_mul_ps(sum, _mm512_set1_ps(scales[done + t]));
                          fold_row(offsets == nullptr ? value : Lanes16::plus(value, offsets[done + t]),
                                   first + static_cast<std::int32_t>(done + t), best + v * 16,
                                   where == nullptr ? nullptr : where + v * 16);
                        }
                      });
}

bool fold_bf16(const void* query, std::size_t vectors, std::size_t steps, const void* tokens, std::size_t stride_bytes,
               Ahead, std::size_t count, std::int32_t first, float* best, std::int32_t* where) {
  __m512 check = _mm512_setzero_ps();
  amx_walk<Bfloat16Tiles>(static_cast<const std::uint8_t*>(query), vectors, steps,
                          static_cast<const std::uint8_t*>(tokens), stride_bytes, count,
                          [&](std::size_t v, const std::uint8_t* sums, std::size_t now, std::size_t done) {
                            for (std::size_t t = 0; t < now; ++t) {
                              const __m512 value = _mm512_load_ps(sums + t * kTileBytes);
                              check = _mm512_fmadd_ps(value, _mm512_setzero_ps(), check);
                              fold_row(value, first + static_cast<std::int32_t>(done + t), best + v * 16,
                                       where == nullptr ? nullptr : where + v * 16);
                            }
                          });
  return Lanes16::all_zero(check);
}

}  // namespace

const FloatFold amx_bf16_fold = {fold_bf16, 16};
const Int8Fold amx_int8 = {fold_int8, nullptr, stage_bytes<0>, 16, 4, 1, 0};

}  // namespace serotine::maxsim
