// The 8- and 4-lane vector types of AVX2 with FMA, which the AVX-512 files use too, for short queries. Internal linkage
// throughout (see tile.hpp).
#pragma once

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
  static Reg plus(Reg value, float offset) { return _mm256_add_ps(value, _mm256_set1_ps(offset)); }
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

}  // namespace
}  // namespace serotine::maxsim
