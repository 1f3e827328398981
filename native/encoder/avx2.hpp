// What the AVX2 files share: two registers of eight lanes.
#pragma once

#include <immintrin.h>

#include "pass.hpp"
#include "plain.hpp"

namespace serotine::encoder {
namespace {

struct Avx2Lanes : FloatElements {
  static constexpr int kFloatRows = 2;
  static SEROTINE_INLINE __m256i at(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static SEROTINE_INLINE Floats max(Floats a, Floats b) {
    return Floats::map([](__m256 x, __m256 y) __attribute__((always_inline)) { return _mm256_max_ps(x, y); }, a, b);
  }
  static SEROTINE_INLINE Floats min(Floats a, Floats b) {
    return Floats::map([](__m256 x, __m256 y) __attribute__((always_inline)) { return _mm256_min_ps(x, y); }, a, b);
  }
  static SEROTINE_INLINE float sum(Floats v) {
    const __m256 eight = v.at[0] + v.at[1];
    const __m128 four = _mm256_castps256_ps128(eight) + _mm256_extractf128_ps(eight, 1);
    const __m128 two = four + _mm_movehl_ps(four, four);
    return two[0] + two[1];
  }
  static SEROTINE_INLINE float largest(Floats v) {
    const __m256 eight = _mm256_max_ps(v.at[0], v.at[1]);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return two[0] > two[1] ? two[0] : two[1];
  }
  static SEROTINE_INLINE Floats from_levels(const std::int8_t* p) {
    Ints v;
    v.at[0] = reinterpret_cast<IntRegister>(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
    v.at[1] = reinterpret_cast<IntRegister>(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8))));
    return float_values(v);
  }
  // Sixteen values of at least 0, rounded, as bytes.
  static SEROTINE_INLINE __m128i bytes(Floats v) {
    const Floats bounded = min(v, all(255.0f));
    const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(bounded.at[0]), _mm256_cvtps_epi32(bounded.at[1]));
    const __m256i ordered = _mm256_permute4x64_epi64(words, 0b11011000);
    return _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
  }
  static SEROTINE_INLINE void store_bytes(std::uint8_t* p, Floats v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes(v));
  }
  // Two sums of eight columns.
  static SEROTINE_INLINE Floats columns(__m256i low, __m256i high) {
    Floats v;
    v.at[0] = _mm256_cvtepi32_ps(low);
    v.at[1] = _mm256_cvtepi32_ps(high);
    return v;
  }
};

}  // namespace
}  // namespace serotine::encoder
