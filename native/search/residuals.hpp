// The residual stage: between the centroids, which separate documents roughly, and the codes, the most expensive.
//
// A document token's similarity is its centroid's plus its residual's. For each query token the document's best token by
// centroids is taken, and only its residual is read: one row of codes per query token instead of all of them, and no
// centroid. Where its residual takes it below the centroid of the second best token, that centroid counts instead: that
// token's residual is unknown, and as likely to add as to take. It orders documents nearly as well as their codes do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../common/aligned.hpp"
#include "centroids.hpp"
#include "query.hpp"
#include "search.hpp"

namespace serotine::search {

class ResidualScorer {
 public:
  explicit ResidualScorer(const Query& query);

  // A document between `choose` and `score`, and one worker's buffers for it.
  struct Pending {
    Aligned<std::uint8_t> best;
    Aligned<std::uint8_t> second;
    Aligned<std::uint16_t> winners;
    Aligned<std::int32_t> products;
  };

  // Finds the best token for each query token and prefetches its codes.
  void choose(const CentroidTable& table, const Segment& segment, std::size_t document, Pending& pending) const;
  // Returns the score of the tokens in `pending`; -infinity for a document without tokens.
  float score(const CentroidTable& table, const Segment& segment, std::size_t document, Pending& pending) const;

 private:
  const Query& query_;
  Aligned<std::int16_t> rows_;  // [tokens][dim], the query's int8 widened
};

}  // namespace serotine::search
