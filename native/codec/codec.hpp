// Residual codes: the public header of the codec, and its manual.
//
// A token vector x is stored as the number of its centroid and a quantized residual. Decoding is integer arithmetic, so
// that every instruction set rebuilds the same bytes:
//
//   y[d] = saturate(centroid[d] + table[code[d]])      x ~ scale * y      table[c] = (level[c] * s + 128) >> 8
//
// where centroid is int8 with one float scale per centroid, and s, the residual scale, is one byte a token. The levels
// of 2 and 4 bits are those of Lloyd and Max for a Gaussian (Max 1960); 8 bits are two nibbles with a table each, evenly spaced. A
// table is 16 bytes, which is one register: decoding 64 dimensions is a shuffle and an addition. The rebuilt vector is
// int8 with a scale: MaxSim over it is the int8 kernel, nothing else.
//
// The error byte bounds ||x - scale * y|| from above: scale * error_bound(byte). Rounding anywhere in the codec is
// inside that norm, because the encoder measures it on what the decoder gives back.
//
// Layout of a residual row, `row_bytes(dim, bits)` = ceil(dim * bits / 8) bytes = n: plane j (8 / bits of them) holds
// the dimensions [j * n, (j + 1) * n), one in every byte, at bit j * bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace serotine::codec {

struct Codebook {
  const std::int8_t* centroids = nullptr;  // [count][dim]
  const float* scales = nullptr;           // [count]
  const float* mean = nullptr;             // [dim], of all rebuilt centroids
  const float* spreads = nullptr;          // [count], the standard deviation of a residual's dimensions
  float max_reach = 0.0f;                  // an upper bound of the norm of a rebuilt centroid plus its spread
  std::size_t count = 0;
  std::size_t dim = 0;
  // The centroids plus 128, unsigned, as the fastest int8 kernels read them; or null.
  const std::uint8_t* flipped = nullptr;
};

// The codes of consecutive tokens.
struct Codes {
  const void* ids = nullptr;  // uint16, or uint32 where `uint32_ids`
  bool uint32_ids = false;
  const std::uint8_t* residual_scales = nullptr;
  const std::uint8_t* errors = nullptr;
  const std::uint8_t* residuals = nullptr;  // [tokens][row_bytes]
  int bits = 4;                             // 2, 4 or 8

  std::size_t id(std::size_t token) const {
    return uint32_ids ? static_cast<const std::uint32_t*>(ids)[token] : static_cast<const std::uint16_t*>(ids)[token];
  }
  std::size_t id_bytes() const { return uint32_ids ? 4 : 2; }
};

inline std::size_t row_bytes(std::size_t dim, int bits) { return (dim * static_cast<std::size_t>(bits) + 7) / 8; }

// Returns the bound of an error byte, in units of the centroid's scale; byte 255 is infinity.
float error_bound(std::uint8_t byte);

// Consecutive tokens of one codebook.
struct Run {
  const Codebook& codebook;
  const Codes& codes;
  std::size_t first;
  std::size_t count;
};

// The values of every residual scale's codes: 256 tables.
struct Tables;
const Tables* scale_tables(int bits);

// Rebuilds tokens as rows of bytes, `stride` apart, and their scales [count]. The bytes are int8 with `flip` 0, and the
// same plus 128, unsigned, with `flip` 128. Meanwhile what the next call needs of `next` is prefetched.
void decode(const Run& run, const Run& next, std::uint8_t flip, std::uint8_t* rows, std::size_t stride, float* scales);

// products[i] = the dot product of query row i, int16 [dim] at rows + i * row_stride, with the rebuilt residual of token
// first + tokens[i]: table[code[d]], without its centroid. A stride of 0 is the same row for all tokens.
void multiply_residuals(const Codes& codes, std::size_t dim, std::size_t first, const std::uint16_t* tokens,
                        std::size_t count, const std::int16_t* rows, std::size_t row_stride, std::int32_t* products);

// Encodes `count` vectors [count][dim] whose centroids are known. ids are int32.
void encode(const Codebook& codebook, const float* vectors, const std::int32_t* ids, std::size_t count, int bits,
            std::uint8_t* residual_scales, std::uint8_t* errors, std::uint8_t* residuals);

// Finds the nearest centroid (Euclidean) of every point, among the list of its group, within the rounding of int8.
//   points      [count][dim]
//   order       the points' numbers, group after group: group g owns order[group_starts[g]..group_starts[g + 1])
//   centroids   [centroid_count][dim]; those of group g are list[list_starts[g]..list_starts[g + 1])
//   ids         [count] out: numbers into `centroids`; ties go to the first in the list
// Points of similar size are compared in int8: of two centroids whose distances differ by less than its rounding, either
// may be returned, and which of them may depend on the points beside it in `order`, which share a scale.
// The result depends on nothing but the input and the instruction set: not on the number of threads.
void nearest(const float* points, std::size_t count, std::size_t dim, const std::int64_t* order,
             const std::int64_t* group_starts, std::size_t groups, const float* centroids, std::size_t centroid_count,
             const std::int64_t* list, const std::int64_t* list_starts, std::int32_t* ids);

// Computes the mean of every cluster's points, summed in point order; clusters without points leave `means` as it is.
// squares: [clusters] out, the sum of squared distances to the mean; sizes: [clusters] out.
void means(const float* points, std::size_t count, std::size_t dim, const std::int32_t* ids, std::size_t clusters,
           float* means, double* squares, std::int64_t* sizes);

}  // namespace serotine::codec
