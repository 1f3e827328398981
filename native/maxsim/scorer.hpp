// One thread's workspace: scores one document at a time against prepared queries.
#pragma once

#include <cstdint>

#include "../common/aligned.hpp"
#include "kernels.hpp"
#include "maxsim.hpp"
#include "prepare.hpp"

namespace serotine::maxsim {

class Scorer {
 public:
  Scorer(const Kernels& kernels, const PreparedQueries& queries, const Tokens& documents, const Ranges& ranges);

  // Scores one document against the queries [first, last). The score of query q goes to
  // scores[(q - first) * score_stride]; its winners, if `where` is given, to where + (q - first) * where_stride,
  // where_width of them. Returns false when a product was not finite.
  bool score(std::size_t document, std::size_t first, std::size_t last, float* scores, std::size_t score_stride,
             std::int32_t* where, std::size_t where_stride, std::size_t where_width);

  // Calls take(token, row) for every token of a document, in order: row[i] is its similarity with token i of the query.
  // Returns false when a product was not finite.
  template <class Take>
  bool similarities(std::size_t document, std::size_t tokens, const PreparedQuery& query, const Take& take);

 private:
  // Tokens staged at a time for one query: a block should stay in the first-level cache beside it.
  static constexpr std::size_t kBlockForOneQuery = 24;
  // Rows ready to be folded, and the memory to prefetch meanwhile.
  struct Block {
    const void* rows;
    std::size_t stride_bytes;
    Ahead ahead;
    const float* scales;
    std::size_t count;
    std::int32_t first;
  };
  // Prepares rows [first, first + count) of a document; blocks hold `block_rows` rows but for the last.
  Block stage(std::size_t document, std::size_t first, std::size_t count, std::size_t block_rows);
  bool fold(const PreparedQuery& query, const Block& block, float* best, std::int32_t* winners) const;
  // Similarities of one block's tokens, rows of vectors * lanes.
  bool multiply(const PreparedQuery& query, const Block& block, float* rows) const;

  // Whether the kernels read document rows where they are, without staging.
  bool in_place() const {
    return queries_.path() == Path::bf16 || (queries_.path() == Path::f32 && documents_.dtype == Dtype::f32);
  }

  const Kernels& kernels_;
  const PreparedQueries& queries_;
  const Tokens& documents_;
  const Ranges& ranges_;
  Aligned<std::uint8_t> staged_;
  Aligned<float> best_;
  Aligned<std::int32_t> where_;
  Aligned<float> rows_;
};

template <class Take>
bool Scorer::similarities(std::size_t document, std::size_t tokens, const PreparedQuery& query, const Take& take) {
  const std::size_t lanes = query.vectors * query.lanes;
  rows_.resize(kBlockForOneQuery * lanes);
  bool finite = true;
  for (std::size_t done = 0; done < tokens; done += kBlockForOneQuery) {
    const std::size_t count = tokens - done < kBlockForOneQuery ? tokens - done : kBlockForOneQuery;
    finite &= multiply(query, stage(document, done, count, kBlockForOneQuery), rows_.data());
    for (std::size_t i = 0; i < count; ++i) take(done + i, rows_.data() + i * lanes);
  }
  return finite;
}

}  // namespace serotine::maxsim
