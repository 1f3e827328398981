// AVX-512 with VNNI: attention in float32.
#include "avx512.hpp"

namespace serotine::encoder {

const Kernels avx512_vnni_kernels = {"avx512_vnni", forward<Avx512>};

}  // namespace serotine::encoder
