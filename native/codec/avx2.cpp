// The codec's row loops for AVX2.
#include "avx2_bytes.hpp"

namespace serotine::codec {

const CodecKernels avx2_codec = {
    decode<Bytes32, Bytes32, 2>,   decode<Bytes32, Bytes32, 4>,   decode<Bytes32, Bytes32, 8>,
    multiply<Bytes32, Bytes32, 2>, multiply<Bytes32, Bytes32, 4>, multiply<Bytes32, Bytes32, 8>, bin,
};

}  // namespace serotine::codec
