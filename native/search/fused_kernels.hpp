// The table of the code stage's fused loops: included by files compiled with different machine flags, so no inline code
// with external linkage may be here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../codec/kernels.hpp"

namespace serotine::search {

// Tokens in a tile of products.
constexpr std::size_t kRowsPerTile = 12;
// Bytes from one rebuilt row to the next, the most dimensions there can be. A constant, so that a tile's rows need one
// address; an odd number of cache lines, so that they spread over the first-level cache.
constexpr std::size_t kFusedRowBytes = 17 * 64;

// The tokens [first, last) of a document, at least one.
struct TokenRange {
  std::size_t first;
  std::size_t last;
};

// Documents of one segment to fold into a query of int8 tokens.
struct CodedDocuments {
  // The query, as maxsim::Int8Fold reads it.
  const void* query;
  const std::int32_t* bias;
  std::size_t vectors;
  bool half;  // whether the last vector's second half has no query tokens
  std::size_t steps;
  // The codebook.
  const std::int8_t* centroids;
  const float* scales;
  std::size_t dim;
  // The segment's codes (see codec.hpp), of so many tokens.
  std::size_t tokens;
  const void* ids;
  bool uint32_ids;
  const std::uint8_t* residual_scales;
  const std::uint8_t* errors;
  const std::uint8_t* residuals;
  const codec::Tables* tables;  // by residual scale
  // What an error byte adds to the similarities of a token, in units of its scale; null adds nothing.
  const float* bounds;
  const TokenRange* documents;
  std::size_t count;
  std::uint8_t* rows;  // room for 2 * kRowsPerTile rows
  float* best;         // [count][vectors * lanes] out: the maxima; -inf in a half without tokens
};

// The folds for codes of 2, 4 and 8 bits.
struct FusedFolds {
  void (*fold2)(const CodedDocuments& documents);
  void (*fold4)(const CodedDocuments& documents);
  void (*fold8)(const CodedDocuments& documents);
};

#if defined(SEROTINE_X86)
// For 128 dimensions, the most common number; for those whose rows of codes are whole registers of 32 bytes; and for other
// rows of at least 16 whole bytes.
extern const FusedFolds avx512_vnni_fused128;
extern const FusedFolds avx512_vnni_fused;
extern const FusedFolds avx512_vnni_fused_narrow;
#endif

}  // namespace serotine::search
