// The staged search: centroids, residuals, codes, vectors.
#include <algorithm>
#include <array>
#include <map>
#include <memory>

#include "../common/prefetch.hpp"
#include "../common/thread_pool.hpp"
#include "residuals.hpp"
#include "stages.hpp"

namespace serotine::search {
namespace {

// Documents whose residuals one item of parallel work scores.
constexpr std::size_t kRefinedPerItem = 128;
// Documents that a probe returns for each document that the residual stage scores.
constexpr std::size_t kProbedPerRefined = 3;
// Documents of the residual stage that are prefetched and not yet scored, and how many documents ahead of those the
// centroid ids are prefetched.
constexpr std::size_t kPending = 4;
constexpr std::size_t kIdsAhead = 4;
// The stamps of a probe hold no more query tokens; longer queries scan instead, with the same documents.
constexpr std::size_t kMostProbingTokens = 4096;

class StagedSearch : Stages {
 public:
  using Stages::Stages;

  std::vector<Hit> run();

 private:
  std::vector<Candidate> score_centroids();
  const CentroidTable& table(const codec::Codebook* codebook);
  void score_residuals(std::vector<Candidate>& candidates);
  void prefetch_ids(const Candidate& candidate) const;

  std::map<const codec::Codebook*, std::unique_ptr<CentroidTable>> tables_;
};

const CentroidTable& StagedSearch::table(const codec::Codebook* codebook) {
  std::unique_ptr<CentroidTable>& cached = tables_[codebook];
  if (!cached) cached = std::make_unique<CentroidTable>(query_, *codebook);
  return *cached;
}

std::vector<Candidate> StagedSearch::score_centroids() {
  const Timer timer(report_.centroids_ms);
  std::vector<Candidate> out;
  std::size_t allowed_in_all = 0;
  for (std::size_t s = 0; s < segments_.size(); ++s) {
    if (segments_[s].codebook != nullptr) allowed_in_all += count_allowed(segments_[s], masks_[s]);
  }
  // The code stage scores them all anyway. In all segments or in none: documents without a score cannot be compared.
  report_.direct = allowed_in_all > 0 && allowed_in_all <= options_.candidates;
  for (std::uint32_t s = 0; s < segments_.size(); ++s) {
    const Segment& segment = segments_[s];
    if (segment.codebook == nullptr) continue;
    const std::uint64_t* mask = masks_[s];
    const std::size_t allowed = count_allowed(segment, mask);
    if (allowed == 0) continue;
    if (report_.direct) {
      for (const std::uint32_t d : allowed_documents(segment, mask)) out.push_back({0.0f, s, d});
      continue;
    }
    const CentroidTable& scores = table(segment.codebook);
    const std::size_t before = out.size();
    std::size_t scored = allowed;
    // Posting lists pay off where they exclude most documents; they would miss the few matches of a selective filter.
    const bool probing = segment.postings != nullptr && query_.tokens() <= kMostProbingTokens &&
                         allowed > options_.refined && allowed * 4 >= segment.documents;
    if (probing) {
      // A segment reads postings in proportion to its documents.
      const auto postings = static_cast<std::uint64_t>(static_cast<double>(options_.postings) *
                                                       static_cast<double>(allowed) / static_cast<double>(allowed_in_all));
      const std::vector<std::uint32_t> probed = scores.probe(segment, mask, postings, options_.refined * kProbedPerRefined);
      if (probed.size() >= std::min(allowed, options_.k)) {
        report_.probed = true;
        scores.scan(segment, s, probed, out);
        scored = probed.size();
      }
    }
    if (out.size() == before) {
      report_.scanned = true;
      scores.scan(segment, s, mask, options_.refined, out);
    }
    report_.by_centroids += scored;
  }
  return out;
}

void StagedSearch::prefetch_ids(const Candidate& candidate) const {
  const codec::Codes& codes = segment_of(candidate).codes;
  const std::int64_t* offsets = segment_of(candidate).offsets + candidate.document;
  prefetch(static_cast<const char*>(codes.ids) + static_cast<std::size_t>(offsets[0]) * codes.id_bytes(),
           static_cast<std::size_t>(offsets[1] - offsets[0]) * codes.id_bytes());
}

void StagedSearch::score_residuals(std::vector<Candidate>& candidates) {
  const Timer timer(report_.residuals_ms);
  sort_by_position(candidates);
  const ResidualScorer scorer(query_);
  std::vector<std::array<ResidualScorer::Pending, kPending>> scratch(num_threads());
  const std::size_t items = (candidates.size() + kRefinedPerItem - 1) / kRefinedPerItem;
  parallel_for(items, scratch.size(), [&](std::size_t item, std::size_t worker) {
    std::array<ResidualScorer::Pending, kPending>& pending = scratch[worker];
    const std::size_t first = item * kRefinedPerItem;
    const std::size_t last = std::min(candidates.size(), first + kRefinedPerItem);
    // A document is scored while the codes of the next ones arrive from memory.
    for (std::size_t i = first; i < last + kPending - 1; ++i) {
      if (i + kIdsAhead < last) prefetch_ids(candidates[i + kIdsAhead]);
      if (i < last) {
        const Candidate& candidate = candidates[i];
        const Segment& segment = segment_of(candidate);
        scorer.choose(*tables_.at(segment.codebook), segment, candidate.document, pending[i % kPending]);
      }
      if (i + 1 >= first + kPending) {
        Candidate& candidate = candidates[i + 1 - kPending];
        const Segment& segment = segment_of(candidate);
        candidate.score =
            scorer.score(*tables_.at(segment.codebook), segment, candidate.document, pending[(i + 1) % kPending]);
      }
    }
  });
  report_.by_residuals += candidates.size();
}

std::vector<Hit> StagedSearch::run() {
  std::vector<Candidate> candidates = score_centroids();
  if (!report_.direct && options_.refined > options_.candidates) {
    keep_best(candidates, options_.refined);
    score_residuals(candidates);
  }
  keep_best(candidates, options_.candidates);
  rescore_codes(candidates);
  keep_best(candidates, std::max(options_.k, options_.rescored));
  rescore_vectors(candidates);
  score_flat(candidates);
  return best_hits(candidates);
}

}  // namespace

std::vector<Hit> staged_search(const Query& query, const std::vector<Segment>& segments,
                               const std::vector<const std::uint64_t*>& masks, const Options& options, Report& report) {
  return StagedSearch(query, segments, masks, options, report).run();
}

}  // namespace serotine::search
