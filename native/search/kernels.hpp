// The loops of the centroid stage an instruction set fills in: included by files compiled with different machine
// flags, so no inline code with external linkage may be here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace serotine::search {

// The input of a scan: table rows of `width` bytes (a multiple of 16) by centroid, and the tokens' centroid ids.
struct Scan {
  const std::uint8_t* table;
  std::size_t width;
  const void* ids;
  bool uint32_ids;
  const std::int64_t* offsets;
};

struct CentroidKernels {
  // sums[i] = the sum over query tokens of the maximum over the tokens of document documents[i] (first + i where
  // `documents` is null) of the table's bytes.
  void (*scan)(const Scan& scan, const std::uint32_t* documents, std::size_t first, std::size_t count,
               std::uint32_t* sums);
  // Of a single document: best[i] = the maximum of the table's bytes for query token i over its tokens, winners[i] = the
  // first token that has it, counted from the document's first, and second[i] = the maximum over the other tokens, 0
  // where there are none; i < width. Tokens after the 65,535th are ignored.
  void (*winners)(const Scan& scan, std::size_t document, std::uint8_t* best, std::uint8_t* second,
                  std::uint16_t* winners);
  // Writes the positions of the words that are at least `least`, in increasing order; returns how many.
  std::size_t (*reaching)(const std::uint32_t* words, std::size_t count, std::uint32_t least, std::uint32_t* positions);
  // Writes the positions of the ids, uint32 or else uint16, whose flag is set (1, otherwise 0), in increasing order; returns
  // how many. `positions` has room for one more than `count`.
  std::size_t (*flagged)(const void* ids, bool uint32_ids, std::size_t count, const std::uint8_t* flags,
                         std::uint32_t* positions);
  // rows[r][i] = clamp(truncate(values[r * stride + i] * gain[i] + bonuses[r] * weight[i] + shift[i]), 0, 255) for
  // i < width, a multiple of 16; best[i] = max(best[i], rows[..][i]).
  void (*quantize)(const float* values, std::size_t stride, const float* bonuses, std::size_t count, const float* gain,
                   const float* weight, const float* shift, std::size_t width, std::uint8_t* rows, std::uint8_t* best);
};

extern const CentroidKernels portable_centroids;
#if defined(SEROTINE_X86)
extern const CentroidKernels avx2_centroids;
extern const CentroidKernels avx512_centroids;
#endif

}  // namespace serotine::search
