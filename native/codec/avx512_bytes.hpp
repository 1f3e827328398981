// 64 bytes in an AVX-512 register. Internal linkage throughout (see rows.hpp).
#pragma once

#include "avx2_bytes.hpp"

namespace serotine::codec {
namespace {

struct Bytes64 {
  using Reg = __m512i;
  static constexpr std::size_t width = 64;
  static Reg load(const void* p) { return _mm512_loadu_si512(p); }
  static void store(void* p, Reg r) { _mm512_storeu_si512(p, r); }
  static Reg splat(std::uint8_t byte) { return _mm512_set1_epi8(static_cast<char>(byte)); }
  static Reg table(const std::int8_t* p) {
    return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Reg bits_and(Reg a, Reg b) { return _mm512_and_si512(a, b); }
  static Reg bits_xor(Reg a, Reg b) { return _mm512_xor_si512(a, b); }
  template <int N>
  static Reg shift_right(Reg a) {
    return _mm512_srli_epi16(a, N);
  }
  static Reg lookup(Reg values, Reg indices) { return _mm512_shuffle_epi8(values, indices); }
  static Reg add(Reg a, Reg b) { return _mm512_adds_epi8(a, b); }
  using Sum = __m512i;
  static Sum zero() { return _mm512_setzero_si512(); }
  static Sum multiplied(Sum sum, const std::int16_t* row, Reg values) {
    const __m512i low = _mm512_cvtepi8_epi16(_mm512_castsi512_si256(values));
    const __m512i high = _mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64(values, 1));
    sum = _mm512_add_epi32(sum, _mm512_madd_epi16(low, _mm512_loadu_si512(row)));
    return _mm512_add_epi32(sum, _mm512_madd_epi16(high, _mm512_loadu_si512(row + 32)));
  }
  static std::int32_t total(Sum sum) { return _mm512_reduce_add_epi32(sum); }
};

}  // namespace
}  // namespace serotine::codec
