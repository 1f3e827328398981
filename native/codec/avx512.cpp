// The codec's row loops for AVX-512 with byte instructions.
#include "avx512_bytes.hpp"

namespace serotine::codec {

const CodecKernels avx512_codec = {
    decode<2, Bytes64, Bytes32, Bytes16>,
    decode<4, Bytes64, Bytes32, Bytes16>,
    decode<8, Bytes64, Bytes32, Bytes16>,
    multiply<2, Bytes64, Bytes32, Bytes16>,
    multiply<4, Bytes64, Bytes32, Bytes16>,
    multiply<8, Bytes64, Bytes32, Bytes16>,
    bin,
};

}  // namespace serotine::codec
