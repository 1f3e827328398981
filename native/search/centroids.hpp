// The centroid stage: a table of every centroid's similarity with every query token, one byte each.
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

// Better first: the higher score, then the lower segment and document.
inline bool better(const Candidate& a, const Candidate& b) {
  if (a.score != b.score) return a.score > b.score;
  if (a.segment != b.segment) return a.segment < b.segment;
  return a.document < b.document;
}

// Whether a mask of one bit a document lets one through; no mask lets all through.
inline bool is_allowed(const std::uint64_t* bits, std::size_t document) {
  return bits == nullptr || ((bits[document / 64] >> (document % 64)) & 1) != 0;
}

// Keeps the `count` best, in no order.
void keep_best(std::vector<Candidate>& candidates, std::size_t count);

class CentroidTable {
 public:
  // Centroids scored side by side, which share one row of maxima.
  static constexpr std::size_t kBlock = 64;

  CentroidTable(const Query& query, const codec::Codebook& codebook);
  ~CentroidTable();
  CentroidTable(const CentroidTable&) = delete;
  CentroidTable& operator=(const CentroidTable&) = delete;

  // Similarity of a byte sum: what the bytes were rounded from.
  float similarity(std::uint32_t sum) const { return static_cast<float>(sum) * step_ + base_; }
  std::size_t width() const { return width_; }
  // What the loops over a segment's tokens read.
  Scan scan_of(const Segment& segment) const { return {rows_.data(), width_, segment.codes.ids, segment.codes.uint32_ids, segment.offsets}; }

  // Scores every allowed document of a segment, and gives the `count` best; a few more where they tie.
  void scan(const Segment& segment, std::uint32_t number, const std::uint64_t* allowed, std::size_t count,
            std::vector<Candidate>& out) const;
  // Scores chosen documents of a segment, rising.
  void scan(const Segment& segment, std::uint32_t number, const std::vector<std::uint32_t>& documents,
            std::vector<Candidate>& out) const;
  // The `count` documents that the posting lists of the centroids nearest to the query tokens speak for, read up to
  // about `postings` of them. Returns them rising.
  std::vector<std::uint32_t> probe(const Segment& segment, const std::uint64_t* allowed, std::uint64_t postings,
                                   std::size_t count) const;

 private:
  // A posting list that a query token reads, and what a document gains by being in it.
  struct List {
    const std::uint32_t* at;
    const std::uint32_t* end;
    std::uint32_t token;  // from 1
    std::uint32_t gain;
  };
  std::vector<List> lists(const Segment& segment, std::uint64_t postings) const;

  std::size_t tokens_;
  std::size_t width_;
  std::size_t centroids_;
  float step_ = 0.0f;
  float base_ = 0.0f;
  Aligned<std::uint8_t> rows_;    // [centroids][width]
  Aligned<std::uint8_t> blocks_;  // [blocks of centroids][width], the maxima of each
};

}  // namespace serotine::search
