// AVX2: products of bytes in two halves, because a sum of two would not fit into 16 bits.
#include <immintrin.h>

#include "pass.hpp"
#include "plain.hpp"

namespace serotine::encoder {
namespace {

struct Avx2 : FloatElements {
  static constexpr int kRows = 2;
  static constexpr int kFloatRows = 2;
  struct Sum {
    __m256i low, high;
  };
  struct Weights {
    __m256i low, high;
  };
  struct Quad {
    __m256i even, odd;
  };
  static SEROTINE_INLINE __m256i at(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static SEROTINE_INLINE Sum start(const std::int32_t* sums) {
    return {_mm256_slli_epi32(_mm256_sub_epi32(_mm256_setzero_si256(), at(sums)), 7),
            _mm256_slli_epi32(_mm256_sub_epi32(_mm256_setzero_si256(), at(sums + 8)), 7)};
  }
  static SEROTINE_INLINE Weights load_weights(const std::int8_t* p) { return {at(p), at(p + 32)}; }
  static SEROTINE_INLINE Quad load_quad(const std::uint8_t* p) {
    std::int32_t quad;
    __builtin_memcpy(&quad, p, 4);
    const __m256i x = _mm256_set1_epi32(quad), mask = _mm256_set1_epi16(0x00ff);
    return {_mm256_and_si256(x, mask), _mm256_andnot_si256(mask, x)};
  }
  // One product of at most 255 * 127 in each 16 bits, then sums of two in 32.
  static SEROTINE_INLINE __m256i dot(__m256i acc, __m256i w, Quad x) {
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i even = _mm256_madd_epi16(_mm256_maddubs_epi16(x.even, w), ones);
    const __m256i odd = _mm256_madd_epi16(_mm256_maddubs_epi16(x.odd, w), ones);
    return _mm256_add_epi32(acc, _mm256_add_epi32(even, odd));
  }
  static SEROTINE_INLINE void dot(Sum& acc, Weights w, Quad x) {
    acc.low = dot(acc.low, w.low, x);
    acc.high = dot(acc.high, w.high, x);
  }
  static SEROTINE_INLINE Floats floats(Sum sum) {
    Ints both;
    __builtin_memcpy(&both, &sum, sizeof both);
    return from_ints(both);
  }
};

}  // namespace

const Kernels avx2_kernels = {"avx2", forward<Avx2>};

}  // namespace serotine::encoder
