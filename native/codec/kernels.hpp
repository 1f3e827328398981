// The table of row loops an instruction set fills in: included by files compiled with different machine flags, so no
// inline code with external linkage may be here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace serotine::codec {

// What a token's codes stand for: `low` by the code, or for 8 bits by its low nibble, and `high` by its high nibble.
struct Tables {
  alignas(16) std::int8_t low[16];
  alignas(16) std::int8_t high[16];
};

// Tokens to rebuild, and where: row i gets saturate(centroid ids[i] + what its codes stand for) ^ flip.
struct Rows {
  const std::int8_t* centroids;
  const std::uint32_t* ids;
  const std::uint8_t* packed;
  const std::uint8_t* steps;
  const Tables* tables;  // of every step
  std::size_t count;
  std::size_t dim;
  std::uint8_t flip;
  std::uint8_t* out;
  std::size_t stride;
  const std::uint8_t* ahead;  // residuals to ask memory for meanwhile
};

struct CodecKernels {
  void (*decode2)(const Rows& rows);
  void (*decode4)(const Rows& rows);
  void (*decode8)(const Rows& rows);
  // codes[d] = how many of the rising `thresholds` target[d] exceeds.
  void (*bin)(const float* target, std::size_t dim, const float* thresholds, std::size_t count, std::uint8_t* codes);
};

extern const CodecKernels portable_codec;
#if defined(SEROTINE_X86)
extern const CodecKernels avx2_codec;
extern const CodecKernels avx512_codec;
#endif
#if defined(SEROTINE_ARM)
extern const CodecKernels neon_codec;
#endif

}  // namespace serotine::codec
