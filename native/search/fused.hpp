// Decoding and products in one loop: while a tile of tokens is multiplied, the tokens of the next tile are rebuilt from
// their codes. Decoding keeps other units of the processor busy than products do, so that it costs little, and the rows
// are read again while they are in the first-level cache. Tiles run on over the ends of documents: all but the last are full.
//
// Internal linkage throughout, as in maxsim/tile.hpp: written over its `I` and over codec/rows.hpp's `B`.
#pragma once

#include "../codec/rows.hpp"
#include "../maxsim/tile.hpp"
#include "fused_kernels.hpp"

namespace serotine::search {
namespace {

// Tokens between the prefetch of a token's codes and centroid, and their use.
constexpr std::size_t kFusedAhead = 12;

// Rebuilt tokens, and the documents they belong to.
struct FusedTile {
  std::uint8_t* rows;
  float scales[kRowsPerTile];
  float offsets[kRowsPerTile];
  std::size_t documents[kRowsPerTile];
  std::size_t count;
};

// The number of dimensions: one that the compiler knows, or that of the job where `Dim` is 0.
template <std::size_t Dim>
inline std::size_t fused_dim(const CodedDocuments& job) {
  return Dim == 0 ? job.dim : Dim;
}

// Rebuilds the tokens of the documents, in order. B, Bits, End: see codec/rows.hpp.
template <class B, int Bits, codec::Ends End, std::size_t Dim>
class FusedDecoder {
 public:
  explicit FusedDecoder(const CodedDocuments& job) : job_(job) {
    if (job.count == 0) return;
    token_ = job.documents[0].first;
    end_ = job.documents[0].last;
    prefetch_codes(0);
    prefetch_tokens(0);
    prefetch_codes(1);
  }

  // Rebuilds the next token, if there is one, as the tile's next row. It calls nothing: a call would save every register.
  __attribute__((always_inline)) inline void decode(FusedTile& tile) {
    if (document_ == job_.count) return;
    const std::size_t dim = fused_dim<Dim>(job_);
    const std::size_t bytes = dim * Bits / 8;
    // Past the end of the document, that is the next one in memory.
    prefetch_token(token_ + kFusedAhead < job_.tokens ? token_ + kFusedAhead : token_);
    const std::size_t id = id_of(token_);
    const std::size_t row = tile.count++;
    codec::decode_whole_row<B, Bits, End>(job_.centroids + id * dim, job_.residuals + token_ * bytes,
                                          job_.tables[job_.residual_scales[token_]], dim, bytes, 128,
                                          tile.rows + row * kFusedRowBytes);
    const float scale = job_.scales[id];
    tile.scales[row] = scale;
    tile.offsets[row] = job_.bounds == nullptr ? 0.0f : scale * job_.bounds[job_.errors[token_]];
    tile.documents[row] = document_;
    if (++token_ == end_ && ++document_ < job_.count) {
      token_ = job_.documents[document_].first;
      end_ = job_.documents[document_].last;
    }
  }

  // Prefetches for the documents after the one it is in, once each.
  void prefetch_documents() {
    for (; next_ <= document_ + 1 && next_ < job_.count; ++next_) {
      if (job_.documents[next_].first != job_.documents[next_ - 1].last) prefetch_tokens(next_);
      prefetch_codes(next_ + 1);
    }
  }

 private:
  std::size_t id_of(std::size_t token) const {
    return job_.uint32_ids ? static_cast<const std::uint32_t*>(job_.ids)[token]
                           : static_cast<const std::uint16_t*>(job_.ids)[token];
  }

  void prefetch_codes(std::size_t document) const {
    if (document >= job_.count) return;
    const std::size_t first = job_.documents[document].first;
    codec::prefetch_row(static_cast<const char*>(job_.ids) + first * (job_.uint32_ids ? 4 : 2), 192);
    codec::prefetch_row(job_.residual_scales + first, 128);
    if (job_.bounds != nullptr) codec::prefetch_row(job_.errors + first, 128);
  }

  // The first tokens of a document that decode() has not prefetched before it comes to them.
  void prefetch_tokens(std::size_t document) const {
    const auto [first, last] = job_.documents[document];
    for (std::size_t token = first; token < last && token < first + kFusedAhead; ++token) prefetch_token(token);
  }

  __attribute__((always_inline)) inline void prefetch_token(std::size_t token) const {
    const std::size_t dim = fused_dim<Dim>(job_);
    const std::size_t bytes = dim * Bits / 8;
    codec::prefetch_row(job_.centroids + id_of(token) * dim, dim);
    codec::prefetch_row(job_.residuals + token * bytes, bytes);
  }

  const CodedDocuments& job_;
  std::size_t document_ = 0;
  std::size_t token_ = 0;
  std::size_t end_ = 0;
  std::size_t next_ = 1;
};

// Folds a tile into its documents' maxima of V query vectors and, if H is 1, of the first half of one more; meanwhile
// decodes the next tile, if `decoder` is given.
//
// A function of its own, whatever the compiler thinks: its sums need all registers.
template <class I, int V, int H, std::size_t Dim, class Decoder>
__attribute__((noinline)) void fused_tile(const CodedDocuments& job, const FusedTile& tile, std::size_t first_vector, Decoder* decoder,
                FusedTile* next) {
  using Half = typename I::Half;
  constexpr int T = kRowsPerTile;
  const std::size_t steps = Dim == 0 ? job.steps : Dim / I::group;
  const std::size_t vector = steps * I::lanes * I::group;
  const auto* query = static_cast<const typename I::Query*>(job.query) + first_vector * vector;
  const std::int32_t* bias = job.bias + first_vector * I::lanes;
  const std::uint8_t* rows = tile.rows;
  // An array of no sums is no C++.
  typename I::Sum acc[T][V + (V == 0)];
  typename Half::Sum half[T];
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    const typename I::Sum start = I::load_sum(bias + v * I::lanes);
#pragma GCC unroll 24
    for (int t = 0; t < T; ++t) acc[t][v] = start;
  }
  if constexpr (H == 1) {
    const typename Half::Sum start = Half::load_sum(bias + V * I::lanes);
#pragma GCC unroll 24
    for (int t = 0; t < T; ++t) half[t] = start;
  }
  const auto step = [&](std::size_t s) __attribute__((always_inline)) {
    typename I::Packed q[V + (V == 0)];
    typename Half::Packed q_half;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) q[v] = I::load_query(query + v * vector + s * I::lanes * I::group);
    if constexpr (H == 1) q_half = Half::load_query(query + V * vector + s * I::lanes * I::group);
#pragma GCC unroll 24
    for (int t = 0; t < T; ++t) {
      const typename I::Packed x = I::broadcast(rows + t * kFusedRowBytes + s * I::group);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) I::dot(acc[t][v], q[v], x);
      if constexpr (H == 1) Half::dot(half[t], q_half, I::first_half(x));
    }
  };
  // One place in the program for the products: with two, the compiler keeps sums in memory.
  std::size_t s = 0;
  for (std::size_t r = 1; r <= T; ++r) {
    if (decoder != nullptr) decoder->decode(*next);
    for (const std::size_t end = r * steps / T; s < end; ++s) step(s);
  }

  const std::size_t lanes = job.vectors * I::lanes;
  float* best = job.best + first_vector * I::lanes;
  if (tile.count == T && tile.documents[0] == tile.documents[T - 1]) {
    float* at = best + tile.documents[0] * lanes;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      typename I::Reg top = I::load(at + v * I::lanes);
#pragma GCC unroll 24
      for (int t = 0; t < T; ++t) {
        top = I::max(I::plus(I::scaled(acc[t][v], tile.scales[t]), tile.offsets[t]), top);
      }
      I::store(at + v * I::lanes, top);
    }
    if constexpr (H == 1) {
      typename Half::Reg top = Half::load(at + V * I::lanes);
#pragma GCC unroll 24
      for (int t = 0; t < T; ++t) {
        top = Half::max(Half::plus(Half::scaled(half[t], tile.scales[t]), tile.offsets[t]), top);
      }
      Half::store(at + V * I::lanes, top);
    }
    return;
  }
  constexpr std::size_t width = V * I::lanes + H * Half::lanes;
  float values[T][width];
#pragma GCC unroll 24
  for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      I::store(values[t] + v * I::lanes, I::plus(I::scaled(acc[t][v], tile.scales[t]), tile.offsets[t]));
    }
    if constexpr (H == 1) {
      Half::store(values[t] + V * I::lanes, Half::plus(Half::scaled(half[t], tile.scales[t]), tile.offsets[t]));
    }
  }
  for (std::size_t t = 0; t < tile.count; ++t) {
    float* at = best + tile.documents[t] * lanes;
    for (int v = 0; v < V; ++v) {
      I::store(at + v * I::lanes, I::max(I::load(values[t] + v * I::lanes), I::load(at + v * I::lanes)));
    }
    if constexpr (H == 1) {
      Half::store(at + V * I::lanes, Half::max(Half::load(values[t] + V * I::lanes), Half::load(at + V * I::lanes)));
    }
  }
}

// Folds a tile into the maxima of the query's vectors from `first` on, at most two of them; returns their number.
template <class I, std::size_t Dim, class Decoder>
std::size_t fold_vectors(const CodedDocuments& job, const FusedTile& tile, std::size_t first, Decoder* decoder,
                         FusedTile* next) {
  const std::size_t left = job.vectors - first;
  if (left == 1 && job.half) {
    fused_tile<I, 0, 1, Dim>(job, tile, first, decoder, next);
  } else if (left == 1) {
    fused_tile<I, 1, 0, Dim>(job, tile, first, decoder, next);
  } else if (left == 2 && job.half) {
    fused_tile<I, 1, 1, Dim>(job, tile, first, decoder, next);
  } else {
    fused_tile<I, 2, 0, Dim>(job, tile, first, decoder, next);
  }
  return left == 1 ? 1 : 2;
}

template <class I, class B, int Bits, codec::Ends End, std::size_t Dim>
void fused_fold(const CodedDocuments& job) {
  using Decoder = FusedDecoder<B, Bits, End, Dim>;
  const std::size_t lanes = job.vectors * I::lanes;
  for (std::size_t i = 0; i < job.count * lanes; ++i) job.best[i] = -__builtin_inff();
  Decoder decoder(job);
  FusedTile tiles[2] = {};
  tiles[0].rows = job.rows;
  tiles[1].rows = job.rows + kRowsPerTile * kFusedRowBytes;
  for (std::size_t r = 0; r < kRowsPerTile; ++r) decoder.decode(tiles[0]);
  for (std::size_t now = 0; tiles[now].count > 0; now ^= 1) {
    FusedTile& tile = tiles[now];
    FusedTile& next = tiles[now ^ 1];
    next.count = 0;
    decoder.prefetch_documents();
    std::size_t v = fold_vectors<I, Dim>(job, tile, 0, &decoder, &next);
    while (v < job.vectors) v += fold_vectors<I, Dim, Decoder>(job, tile, v, nullptr, nullptr);
  }
}

}  // namespace
}  // namespace serotine::search
