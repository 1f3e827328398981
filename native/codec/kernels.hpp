// The table of row loops an instruction set fills in: included by files compiled with different machine flags, so no
// inline code with external linkage may be here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace serotine::codec {

// The values of a token's codes: `low` by the code, or for 8 bits by its low nibble, and `high` by its high nibble.
struct Tables {
  alignas(16) std::int8_t low[16];
  alignas(16) std::int8_t high[16];
};

// Tokens to rebuild and their destination: row i becomes saturate(centroid ids[i] + the values of its codes) ^ flip.
struct Rows {
  const std::int8_t* centroids;
  const std::uint32_t* ids;
  const std::uint8_t* packed;
  const std::uint8_t* residual_scales;
  const Tables* tables;  // by residual scale
  std::size_t count;
  std::size_t dim;
  std::uint8_t flip;
  std::uint8_t* out;
  std::size_t stride;
  // The tokens rebuilt next, whose residuals and first centroids are prefetched meanwhile.
  const std::uint8_t* next_packed;
  const std::int8_t* next_centroids;
  const std::uint32_t* next_ids;
  std::size_t next_count;
};

// How many tokens ahead a centroid is prefetched.
constexpr std::size_t kTokensAhead = 12;

// Pairs of a query row, int16, and a token: pair i is the row at i * row_stride with token tokens[i]. products[i] becomes the dot
// product of the row with the values of the token's codes, without its centroid.
struct Pairs {
  const std::int16_t* rows;
  const std::uint8_t* packed;
  const std::uint8_t* residual_scales;
  const Tables* tables;  // by residual scale
  const std::uint16_t* tokens;
  std::size_t count;
  std::size_t dim;
  std::size_t row_stride;
  std::int32_t* products;
};

struct CodecKernels {
  void (*decode2)(const Rows& rows);
  void (*decode4)(const Rows& rows);
  void (*decode8)(const Rows& rows);
  void (*multiply2)(const Pairs& pairs);
  void (*multiply4)(const Pairs& pairs);
  void (*multiply8)(const Pairs& pairs);
  // codes[d] = how many of the increasing `thresholds` target[d] exceeds.
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
