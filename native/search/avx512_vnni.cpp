// The code stage's fused loops for AVX-512 VNNI: 12 tokens x 8, 16, 24 or 32 query lanes.
#include "../codec/avx512_bytes.hpp"
#include "../maxsim/avx512_vnni.hpp"
#include "fused.hpp"

namespace serotine::search {

using codec::Bytes16;
using codec::Bytes32;
using codec::Bytes64;
using codec::Ends;
using maxsim::Int8Quads;

const FusedFolds avx512_vnni_fused128 = {
    fused_fold<Int8Quads, Bytes32, 2, Ends::whole, 128>,
    fused_fold<Int8Quads, Bytes64, 4, Ends::whole, 128>,
    fused_fold<Int8Quads, Bytes64, 8, Ends::whole, 128>,
};

const FusedFolds avx512_vnni_fused = {
    fused_fold<Int8Quads, Bytes32, 2, Ends::whole, 0>,
    fused_fold<Int8Quads, Bytes32, 4, Ends::whole, 0>,
    fused_fold<Int8Quads, Bytes32, 8, Ends::whole, 0>,
};

const FusedFolds avx512_vnni_fused_narrow = {
    fused_fold<Int8Quads, Bytes16, 2, Ends::overlapping, 0>,
    fused_fold<Int8Quads, Bytes16, 4, Ends::overlapping, 0>,
    fused_fold<Int8Quads, Bytes16, 8, Ends::overlapping, 0>,
};

}  // namespace serotine::search
