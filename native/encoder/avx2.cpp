// AVX2: its products of bytes add two in 16 bits, which saturate where one factor has all 8 bits and no sign. So the sign
// of each weight goes to its activation, less 128: at most 127 * 127 * 2, exactly. -128 has no opposite in 8 bits, hence
// the least activation of 1.
#include "avx2.hpp"

namespace serotine::encoder {
namespace {

struct Avx2 : Avx2Lanes {
  static constexpr int kRows = 4, kSums = 1, kLeastByte = 1;
  struct Sum {
    __m256i low, high;
  };
  struct Weights {
    __m256i low, high, low_size, high_size;
  };
  using Quad = __m256i;
  static SEROTINE_INLINE Sum start(const std::int32_t*) { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static SEROTINE_INLINE Weights load_weights(const std::int8_t* p) {
    const __m256i low = at(p), high = at(p + 32);
    return {low, high, _mm256_abs_epi8(low), _mm256_abs_epi8(high)};
  }
  // Activations are stored less 128, which is the contract's sum without a correction.
  static SEROTINE_INLINE void store_bytes(std::uint8_t* p, Floats v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_xor_si128(bytes(v), _mm_set1_epi8(-128)));
  }
  static SEROTINE_INLINE Quad load_quad(const std::uint8_t* p) {
    std::int32_t quad;
    __builtin_memcpy(&quad, p, 4);
    return _mm256_set1_epi32(quad);
  }
  static SEROTINE_INLINE __m256i dot(__m256i acc, __m256i w, __m256i size, __m256i x) {
    const __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(x, w));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static SEROTINE_INLINE void dot(Sum& acc, Weights w, Quad x) {
    acc.low = dot(acc.low, w.low, w.low_size, x);
    acc.high = dot(acc.high, w.high, w.high_size, x);
  }
  static SEROTINE_INLINE Floats floats(Sum sum) { return columns(sum.low, sum.high); }
};

}  // namespace

const Kernels avx2_kernels = {"avx2", forward<Avx2>};

}  // namespace serotine::encoder
