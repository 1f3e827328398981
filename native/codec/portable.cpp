// The codec's row loops for any processor.
#include "rows.hpp"

namespace serotine::codec {
namespace {

struct Scalar {
  static constexpr std::size_t width = 1;
};

}  // namespace

const CodecKernels portable_codec = {decode<Scalar, Scalar, 2>, decode<Scalar, Scalar, 4>, decode<Scalar, Scalar, 8>, bin};

}  // namespace serotine::codec
