// AVX-512 with VNNI and BF16.
#include "avx512_bf16.hpp"

namespace serotine::encoder {

const Kernels avx512_bf16_kernels = {"avx512_bf16", forward<Avx512Bf16>};

}  // namespace serotine::encoder
