// The codec's row loops for any processor.
#include "rows.hpp"

namespace serotine::codec {
namespace {

struct Scalar {
  static constexpr std::size_t width = 1;
  using Sum = std::int32_t;
  static Sum zero() { return 0; }
  static std::int32_t total(Sum sum) { return sum; }
};

}  // namespace

const CodecKernels portable_codec = {
    decode<2, Scalar>,   decode<4, Scalar>,   decode<8, Scalar>,
    multiply<2, Scalar>, multiply<4, Scalar>, multiply<8, Scalar>, bin,
};

}  // namespace serotine::codec
