// The code stage's fused loops for AVX-512 VNNI: 12 tokens x 8, 16, 24 or 32 query lanes.
#include "../codec/avx512_bytes.hpp"
#include "../maxsim/avx512_vnni.hpp"
#include "fused.hpp"

namespace serotine::search {

using codec::Bytes32;
using codec::Bytes64;
using maxsim::Int8Quads;

const FusedFolds avx512_vnni_fused128 = {
    fused_fold<Int8Quads, Bytes32, 2, 128>,
    fused_fold<Int8Quads, Bytes64, 4, 128>,
    fused_fold<Int8Quads, Bytes64, 8, 128>,
};

const FusedFolds avx512_vnni_fused = {
    fused_fold<Int8Quads, Bytes32, 2, 0>,
    fused_fold<Int8Quads, Bytes32, 4, 0>,
    fused_fold<Int8Quads, Bytes32, 8, 0>,
};

}  // namespace serotine::search
