// AVX-512 VNNI: int8 dot products four at a time.
#include "avx512_vnni.hpp"

namespace serotine::maxsim {

const Int8Fold avx512_vnni_int8 = {int8_fold<Int8Quads, 12, 2>, int8_dots<Int8Quads, 12, 2>, stage_bytes<128>, 16, 4, 1, 128};

}  // namespace serotine::maxsim
