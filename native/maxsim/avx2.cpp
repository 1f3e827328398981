// AVX2 with FMA and F16C: 6 tokens x 16 query lanes, 12 of the 16 registers hold accumulators.
#include "avx2.hpp"
#include "reached.hpp"

namespace serotine::maxsim {
namespace {

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
    {int8_fold<Int16Pairs, 5, 2>, int8_dots<Int16Pairs, 5, 2>, stage_int16, 8, 2, 2, 0},
    widen_f16,
    widen_bf16,
    reached,
};

}  // namespace serotine::maxsim
