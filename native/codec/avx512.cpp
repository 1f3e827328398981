// The codec's row loops for AVX-512 with byte instructions.
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
};

}  // namespace

const CodecKernels avx512_codec = {decode<Bytes64, Bytes32, 2>, decode<Bytes64, Bytes32, 4>, decode<Bytes64, Bytes64, 8>, bin};

}  // namespace serotine::codec
