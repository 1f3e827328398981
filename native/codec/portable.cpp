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
    decode<Scalar, Scalar, 2>,   decode<Scalar, Scalar, 4>,   decode<Scalar, Scalar, 8>,
    multiply<Scalar, Scalar, 2>, multiply<Scalar, Scalar, 4>, multiply<Scalar, Scalar, 8>, bin,
};

}  // namespace serotine::codec
