// 32 bytes in an AVX2 register, and 16 in half of one, for the AVX2 and the AVX-512 file. Internal linkage throughout (see rows.hpp).
#pragma once

#include <immintrin.h>

#include "rows.hpp"

namespace serotine::codec {
namespace {

struct Bytes16 {
  using Reg = __m128i;
  static constexpr std::size_t width = 16;
  static Reg load(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
  static void store(void* p, Reg r) { _mm_storeu_si128(static_cast<__m128i*>(p), r); }
  static Reg splat(std::uint8_t byte) { return _mm_set1_epi8(static_cast<char>(byte)); }
  static Reg table(const std::int8_t* p) { return _mm_load_si128(reinterpret_cast<const __m128i*>(p)); }
  static Reg bits_and(Reg a, Reg b) { return _mm_and_si128(a, b); }
  static Reg bits_xor(Reg a, Reg b) { return _mm_xor_si128(a, b); }
  template <int N>
  static Reg shift_right(Reg a) {
    return _mm_srli_epi16(a, N);
  }
  static Reg lookup(Reg values, Reg indices) { return _mm_shuffle_epi8(values, indices); }
  static Reg add(Reg a, Reg b) { return _mm_adds_epi8(a, b); }
  using Sum = __m128i;
  static Sum zero() { return _mm_setzero_si128(); }
  static Sum multiplied(Sum sum, const std::int16_t* row, Reg values) {
    sum = _mm_add_epi32(sum, _mm_madd_epi16(_mm_cvtepi8_epi16(values), load(row)));
    return _mm_add_epi32(sum, _mm_madd_epi16(_mm_cvtepi8_epi16(_mm_srli_si128(values, 8)), load(row + 8)));
  }
  static std::int32_t total(Sum sum) {
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
    return _mm_cvtsi128_si32(sum);
  }
};

struct Bytes32 {
  using Reg = __m256i;
  static constexpr std::size_t width = 32;
  static Reg load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static void store(void* p, Reg r) { _mm256_storeu_si256(static_cast<__m256i*>(p), r); }
  static Reg splat(std::uint8_t byte) { return _mm256_set1_epi8(static_cast<char>(byte)); }
  static Reg table(const std::int8_t* p) {
    return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Reg bits_and(Reg a, Reg b) { return _mm256_and_si256(a, b); }
  static Reg bits_xor(Reg a, Reg b) { return _mm256_xor_si256(a, b); }
  template <int N>
  static Reg shift_right(Reg a) {
    return _mm256_srli_epi16(a, N);
  }
  static Reg lookup(Reg values, Reg indices) { return _mm256_shuffle_epi8(values, indices); }
  static Reg add(Reg a, Reg b) { return _mm256_adds_epi8(a, b); }
  using Sum = __m256i;
  static Sum zero() { return _mm256_setzero_si256(); }
  static Sum multiplied(Sum sum, const std::int16_t* row, Reg values) {
    const __m256i low = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(values));
    const __m256i high = _mm256_cvtepi8_epi16(_mm256_extracti128_si256(values, 1));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(low, load(row)));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(high, load(row + 16)));
  }
  static std::int32_t total(Sum sum) {
    return Bytes16::total(_mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1)));
  }
};

}  // namespace
}  // namespace serotine::codec
