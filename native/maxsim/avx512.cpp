// AVX-512 (F, BW, DQ, VL): 12 tokens x 32 query lanes, 24 of the 32 registers hold accumulators.
#include "avx512.hpp"
#include "reached.hpp"

#include "avx2.hpp"

namespace serotine::maxsim {
namespace {

struct Float16Lanes : Lanes16 {
  using Query = float;
  using Token = float;
  using Packed = __m512;
  static constexpr std::size_t group = 1;
  static Packed load_query(const float* p) { return _mm512_load_ps(p); }
  static Packed broadcast(const float* p) { return _mm512_set1_ps(*p); }
  static Reg madd(Packed q, Packed x, Reg acc) { return _mm512_fmadd_ps(q, x, acc); }
};

// int8 without VNNI: both sides widened to int16, vpmaddwd adds two products exactly.
struct Int16Pairs : Lanes16 {
  using Query = std::int16_t;
  using Token = std::int16_t;
  using Packed = __m512i;
  using Sum = __m512i;
  static constexpr std::size_t group = 2;
  static Packed load_query(const std::int16_t* p) { return _mm512_load_si512(p); }
  static Packed broadcast(const std::int16_t* p) {
    std::int32_t pair;
    __builtin_memcpy(&pair, p, 4);
    return _mm512_set1_epi32(pair);
  }
  static Sum load_sum(const std::int32_t* p) { return _mm512_loadu_si512(p); }
  static void dot(Sum& acc, Packed q, Packed x) { acc = _mm512_add_epi32(acc, _mm512_madd_epi16(q, x)); }
  static Reg scaled(Sum sum, float scale) { return _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(scale)); }
};

void widen_f16_512(const std::uint16_t* in, std::size_t count, float* out) {
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    _mm512_storeu_ps(out + i, _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + i))));
  }
  if (i < count) {
    const auto rest = static_cast<__mmask16>((1u << (count - i)) - 1);
    _mm512_mask_storeu_ps(out + i, rest, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(rest, in + i)));
  }
}

__m512 bf16_to_f32(__m256i half) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

void widen_bf16_512(const std::uint16_t* in, std::size_t count, float* out) {
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    _mm512_storeu_ps(out + i, bf16_to_f32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + i))));
  }
  if (i < count) {
    const auto rest = static_cast<__mmask16>((1u << (count - i)) - 1);
    _mm512_mask_storeu_ps(out + i, rest, bf16_to_f32(_mm256_maskz_loadu_epi16(rest, in + i)));
  }
}

}  // namespace

const Kernels avx512_kernels = {
    "avx512",
    {{float_fold<Float16Lanes, 12, 2>, 16}, {float_fold<Float8Lanes, 12, 1>, 8}, {float_fold<Float4Lanes, 12, 1>, 4}},
    {nullptr, 0},
    {int8_fold<Int16Pairs, 10, 2>, int8_dots<Int16Pairs, 10, 2>, stage_int16, 16, 2, 2, 0},
    widen_f16_512,
    widen_bf16_512,
    reached,
};

}  // namespace serotine::maxsim
