// AVX2 with FMA and F16C: 6 tokens x 16 query lanes, 12 of the 16 registers hold accumulators.
#include <immintrin.h>

#include "kernels.hpp"
#include "tile.hpp"

namespace serotine::maxsim {
namespace {

struct Lanes8 {
  using Reg = __m256;
  using Index = __m256i;
  static constexpr std::size_t lanes = 8;
  static Reg zero() { return _mm256_setzero_ps(); }
  static Reg load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Reg r) { _mm256_storeu_ps(p, r); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
  // vmaxps returns its second operand when either is NaN.
  static Reg max(Reg value, Reg top) { return _mm256_max_ps(value, top); }
  static Reg greater(Reg a, Reg b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
  static Index set_index(std::int32_t i) { return _mm256_set1_epi32(i); }
  static Index load_index(const std::int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static void store_index(std::int32_t* p, Index i) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), i); }
  static Index select(Reg mask, Index yes, Index no) { return _mm256_blendv_epi8(no, yes, _mm256_castps_si256(mask)); }
  static bool all_zero(Reg r) { return _mm256_movemask_ps(_mm256_cmp_ps(r, zero(), _CMP_EQ_OQ)) == 0xff; }
};

struct Float8Lanes : Lanes8 {
  using Query = float;
  using Token = float;
  using Packed = __m256;
  static constexpr std::size_t group = 1;
  static Packed load_query(const float* p) { return _mm256_load_ps(p); }
  static Packed broadcast(const float* p) { return _mm256_broadcast_ss(p); }
  static Reg madd(Packed q, Packed x, Reg acc) { return _mm256_fmadd_ps(q, x, acc); }
};

struct Float4Lanes {
  using Reg = __m128;
  using Index = __m128i;
  using Query = float;
  using Token = float;
  using Packed = __m128;
  static constexpr std::size_t lanes = 4;
  static constexpr std::size_t group = 1;
  static Reg zero() { return _mm_setzero_ps(); }
  static Reg load(const float* p) { return _mm_loadu_ps(p); }
  static void store(float* p, Reg r) { _mm_storeu_ps(p, r); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm_fmadd_ps(a, b, c); }
  static Reg max(Reg value, Reg top) { return _mm_max_ps(value, top); }
  static Reg greater(Reg a, Reg b) { return _mm_cmp_ps(a, b, _CMP_GT_OQ); }
  static Index set_index(std::int32_t i) { return _mm_set1_epi32(i); }
  static Index load_index(const std::int32_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static void store_index(std::int32_t* p, Index i) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), i); }
  static Index select(Reg mask, Index yes, Index no) { return _mm_blendv_epi8(no, yes, _mm_castps_si128(mask)); }
  static bool all_zero(Reg r) { return _mm_movemask_ps(_mm_cmp_ps(r, zero(), _CMP_EQ_OQ)) == 0xf; }
  static Packed load_query(const float* p) { return _mm_load_ps(p); }
  static Packed broadcast(const float* p) { return _mm_broadcast_ss(p); }
  static Reg madd(Packed q, Packed x, Reg acc) { return _mm_fmadd_ps(q, x, acc); }
};

// int8: both sides widened to int16, vpmaddwd adds two products exactly.
struct Int16Pairs : Lanes8 {
  using Query = std::int16_t;
  using Token = std::int16_t;
  using Packed = __m256i;
  using Sum = __m256i;
  static constexpr std::size_t group = 2;
  static Packed load_query(const std::int16_t* p) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(p)); }
  static Packed broadcast(const std::int16_t* p) {
    std::int32_t pair;
    __builtin_memcpy(&pair, p, 4);
    return _mm256_set1_epi32(pair);
  }
  static Sum load_sum(const std::int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static void dot(Sum& acc, Packed q, Packed x) { acc = _mm256_add_epi32(acc, _mm256_madd_epi16(q, x)); }
  static Reg scaled(Sum sum, float scale) { return _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(scale)); }
};

inline void widen_f16(const std::uint16_t* in, std::size_t count, float* out) {
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i))));
  }
  for (; i < count; ++i) out[i] = _cvtsh_ss(in[i]);
}

inline void widen_bf16(const std::uint16_t* in, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(in[i]) << 16;
    __builtin_memcpy(out + i, &bits, 4);
  }
}

}  // namespace

const Kernels avx2_kernels = {
    "avx2",
    {{float_fold<Float8Lanes, 6, 2>, 8}, {float_fold<Float4Lanes, 12, 1>, 4}, {nullptr, 0}},
    {nullptr, 0},
    {int8_fold<Int16Pairs, 5, 2>, stage_int16, 8, 2, 2, 0},
    widen_f16,
    widen_bf16,
};

}  // namespace serotine::maxsim
