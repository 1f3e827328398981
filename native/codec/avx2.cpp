// The codec's row loops for AVX2.
#include "avx2_bytes.hpp"

namespace serotine::codec {

const CodecKernels avx2_codec = {
    decode<2, Bytes32, Bytes16>,   decode<4, Bytes32, Bytes16>,   decode<8, Bytes32, Bytes16>,
    multiply<2, Bytes32, Bytes16>, multiply<4, Bytes32, Bytes16>, multiply<8, Bytes32, Bytes16>, bin,
};

}  // namespace serotine::codec
