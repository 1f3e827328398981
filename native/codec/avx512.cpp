// The codec's row loops for AVX-512 with byte instructions.
#include "avx512_bytes.hpp"

namespace serotine::codec {

const CodecKernels avx512_codec = {
    decode<Bytes64, Bytes32, 2>,   decode<Bytes64, Bytes32, 4>,   decode<Bytes64, Bytes64, 8>,
    multiply<Bytes64, Bytes32, 2>, multiply<Bytes64, Bytes32, 4>, multiply<Bytes64, Bytes32, 8>, bin,
};

}  // namespace serotine::codec
