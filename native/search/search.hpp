// Staged search over residual codes: the public header, and its manual.
//
// The documents of a segment are ranked in up to four stages, each a better and costlier estimate of MaxSim:
//
//   centroids   every token counts as its centroid, plus the spread of the centroid's tokens, since the best of many is
//               above it: one byte a query token, read from a table of all centroids.
//               Either every document is scanned, or only those on the posting lists of the centroids nearest to the
//               query tokens (probing) and then those again with all their tokens. Segments of one codebook are probed
//               as one, so that it makes no difference how many they are.
//   residuals   the best of these get what the residuals of their best tokens add, one token a query token, but count
//               at least as the centroids of the second best.
//   codes       the best of these are rebuilt from their codes and scored by the int8 kernel.
//   vectors     the best of these are scored over their float16 vectors, where the segment stores them.
//
// An exact search replaces the first two stages by an upper bound for every document: ||q|| * error_bound is added to
// every token's similarity inside the int8 kernel. Documents are then scored over their vectors in the order of their bounds, until no remaining bound reaches the k-th score.
//
// A search by XTR (Lee et al. 2023, arXiv 2304.01982) has every query token retrieve its `k_token` most similar tokens:
// those of the nearest centroids are read, by their residuals too, and a document scores the sum over query tokens of its
// best retrieved similarity, or of the last retrieved token's where it has none. Documents without a retrieved token are
// not ranked. Segments without codes are read whole, over their vectors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../codec/codec.hpp"

namespace serotine::search {

// One segment's documents. Document i owns the tokens [offsets[i], offsets[i + 1]).
struct Segment {
  std::size_t documents = 0;
  const std::int64_t* offsets = nullptr;
  const std::int64_t* numbers = nullptr;   // [documents], increasing: hits name documents by them, and ties break by them
  const std::uint16_t* vectors = nullptr;  // float16 [tokens][dim], or null where they are not stored
  // Residual codes, or a null codebook where there are none.
  const codec::Codebook* codebook = nullptr;
  codec::Codes codes;
  float max_norm = 0.0f;  // an upper bound of the norm of any rebuilt vector
  // Documents by centroid: [posting_starts[c], posting_starts[c + 1]) of `postings`, or null.
  const std::uint64_t* posting_starts = nullptr;
  const std::uint32_t* postings = nullptr;
};

struct Options {
  std::size_t k = 10;
  std::size_t refined = 2048;    // documents scored over the residuals of their best tokens
  std::size_t candidates = 512;  // documents scored over their codes
  std::size_t rescored = 64;     // documents scored over their vectors
  std::uint64_t postings = 1u << 20;  // about how many postings are read; of more than 32 query tokens, in proportion
  bool exact = false;
  std::size_t k_token = 0;  // above 0: a search by XTR, which each query token begins with so many tokens
  std::size_t probed_from = 0;  // segments of one codebook with fewer allowed documents are scanned
};

struct Hit {
  float score;
  std::int64_t number;
};

// Which stages ran, how many documents each scored, and its wall time in milliseconds.
struct Report {
  bool scanned = false;
  bool probed = false;
  bool direct = false;  // so few documents were allowed that all of them became candidates
  bool flat = false;    // a segment without codes was scored whole
  std::size_t by_centroids = 0;
  std::size_t by_residuals = 0;
  std::size_t by_codes = 0;
  std::size_t by_vectors = 0;
  std::size_t tokens = 0;  // document tokens scored by the int8 or the float kernel
  double centroids_ms = 0.0;
  double residuals_ms = 0.0;
  double codes_ms = 0.0;
  double vectors_ms = 0.0;
  // Exact searches: no document outside the hits can score above `bound`; `undecided` documents could still belong
  // among the hits, because their vectors are not stored and their bounds are too wide.
  float bound = 0.0f;
  std::size_t undecided = 0;
};

// Returns the k best documents of one query, [tokens][dim] float32, best first; ties go to the lower number.
// `masks` holds, for every segment, one bit a document (set: allowed), or null for all documents.
std::vector<Hit> search(const float* query, std::size_t tokens, std::size_t dim, const std::vector<Segment>& segments,
                        const std::vector<const std::uint64_t*>& masks, const Options& options, Report& report);

// Returns the residual stage's score of every document of a segment that has codes.
std::vector<float> residual_scores(const float* query, std::size_t tokens, std::size_t dim, const Segment& segment);

// Returns the posting lists of a segment's centroid ids: every (centroid, document) pair once. `starts` has
// codebook.count + 1 entries.
std::vector<std::uint32_t> postings(const codec::Codes& codes, std::size_t centroids, const std::int64_t* offsets,
                                    std::size_t documents, std::uint64_t* starts);

}  // namespace serotine::search
