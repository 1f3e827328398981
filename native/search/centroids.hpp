// The centroid stage: a table of every centroid's similarity with every query token, plus its spread, one byte each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../codec/codec.hpp"
#include "../common/aligned.hpp"
#include "kernels.hpp"
#include "query.hpp"
#include "search.hpp"

namespace serotine::search {

const CentroidKernels& centroid_kernels();

struct Candidate {
  float score;
  std::uint32_t segment;
  std::uint32_t document;
};

// Whether `a` ranks before `b`: by the higher score, then by the lower segment and document.
inline bool better(const Candidate& a, const Candidate& b) {
  if (a.score != b.score) return a.score > b.score;
  if (a.segment != b.segment) return a.segment < b.segment;
  return a.document < b.document;
}

// Whether a mask of one bit a document allows a document; no mask allows all.
inline bool is_allowed(const std::uint64_t* mask, std::size_t document) {
  return mask == nullptr || ((mask[document / 64] >> (document % 64)) & 1) != 0;
}

// A segment, its place in the search, and which of its documents are allowed.
struct AllowedSegment {
  const Segment* segment;
  std::uint32_t number;
  const std::uint64_t* mask;
};

// Drops all but the `count` best, in no particular order.
void keep_best(std::vector<Candidate>& candidates, std::size_t count);

class CentroidTable {
 public:
  // Centroids scored side by side, which share one row of maxima.
  static constexpr std::size_t kBlock = 64;

  CentroidTable(const Query& query, const codec::Codebook& codebook);
  ~CentroidTable();
  CentroidTable(const CentroidTable&) = delete;
  CentroidTable& operator=(const CentroidTable&) = delete;

  // The similarity that a sum of bytes was rounded from.
  float similarity(std::uint32_t sum) const { return similarity(static_cast<float>(sum)); }
  float similarity(float sum) const { return sum * unit_ + base_; }
  float bytes_per_similarity() const { return 1.0f / unit_; }
  // What a centroid's spread adds to its byte for each query token, times this.
  const std::vector<float>& spread_weights() const { return spread_weights_; }
  std::size_t width() const { return width_; }
  // The input of the loops over a segment's tokens.
  Scan scan_of(const Segment& segment) const {
    return {rows_.data(), width_, segment.codes.ids, segment.codes.uint32_ids, segment.offsets};
  }

  // Scores every allowed document of a segment and appends the `count` best; a few more where they tie.
  void scan(const Segment& segment, std::uint32_t number, const std::uint64_t* mask, std::size_t count,
            std::vector<Candidate>& out) const;
  // Scores the given documents of a segment, in increasing order.
  void scan(const Segment& segment, std::uint32_t number, const std::vector<std::uint32_t>& documents,
            std::vector<Candidate>& out) const;
  // The posting lists of a centroid that a query token reads, and the gain of every document in them.
  struct List {
    std::uint32_t centroid;
    std::uint32_t token;  // from 1
    std::uint32_t gain;
  };
  // Reads about `postings` postings of segments of this codebook, of the centroids nearest to the query tokens, and
  // returns the `count` documents of all with the highest sums, or a few more where they tie, in no particular order.
  std::vector<Candidate> probe(const std::vector<AllowedSegment>& segments, std::uint64_t postings, std::size_t count) const;

 private:
  std::vector<List> lists(const std::vector<AllowedSegment>& segments, std::uint64_t postings) const;

  std::size_t tokens_;
  std::size_t width_;
  std::size_t centroids_;
  float unit_ = 0.0f;
  float base_ = 0.0f;
  std::vector<float> spread_weights_;
  Aligned<std::uint8_t> rows_;    // [centroids][width]
  Aligned<std::uint8_t> blocks_;  // [blocks of centroids][width], the maxima of each block
};

}  // namespace serotine::search
