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
// Probing pays off where it returns at most one in so many documents: those are scored by all their tokens as well.
constexpr std::size_t kLeastPerProbed = 2;
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
  // Scores every allowed document of a segment.
  void scan(const SegmentPart& part, std::size_t allowed, std::vector<Candidate>& out);
  // Scores documents that are in the order of their positions.
  void scan(const std::vector<Candidate>& found, std::vector<Candidate>& out);
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
  std::vector<std::size_t> allowed(segments_.size(), 0);
  std::size_t allowed_in_all = 0;
  for (std::size_t s = 0; s < segments_.size(); ++s) {
    if (segments_[s].codebook != nullptr) allowed_in_all += allowed[s] = count_allowed(segments_[s], masks_[s]);
  }
  // The code stage scores them all anyway. In all segments or in none: documents without a score cannot be compared.
  report_.direct = allowed_in_all > 0 && allowed_in_all <= options_.candidates;
  // Segments of one codebook are probed as one: their sums compare.
  std::map<const codec::Codebook*, std::vector<SegmentPart>> probed;
  for (std::uint32_t s = 0; s < segments_.size(); ++s) {
    const Segment& segment = segments_[s];
    if (allowed[s] == 0) continue;
    if (report_.direct) {
      for (const std::uint32_t d : allowed_documents(segment, masks_[s])) out.push_back({0.0f, s, d});
      continue;
    }
    // Posting lists would miss the few matches of a selective filter.
    if (segment.postings != nullptr && query_.tokens() <= kMostProbingTokens && allowed[s] * 4 >= segment.documents) {
      probed[segment.codebook].push_back({&segment, s, masks_[s]});
    } else {
      scan({&segment, s, masks_[s]}, allowed[s], out);
    }
  }
  for (const auto& [codebook, parts] : probed) {
    std::size_t here = 0;
    for (const SegmentPart& part : parts) here += allowed[part.number];
    const std::size_t wanted = options_.refined * kProbedPerRefined;
    std::vector<Candidate> found;
    if (here > wanted * kLeastPerProbed) {
      // In proportion to their documents.
      const auto postings = static_cast<std::uint64_t>(static_cast<double>(options_.postings) * static_cast<double>(here) /
                                                       static_cast<double>(allowed_in_all));
      found = table(codebook).probe(parts, postings, wanted);
    }
    if (found.size() < std::min(here, options_.k)) {
      for (const SegmentPart& part : parts) scan(part, allowed[part.number], out);
      continue;
    }
    report_.probed = true;
    report_.by_centroids += found.size();
    sort_by_position(found);
    scan(found, out);
  }
  return out;
}

void StagedSearch::scan(const SegmentPart& part, std::size_t allowed, std::vector<Candidate>& out) {
  report_.scanned = true;
  report_.by_centroids += allowed;
  table(part.segment->codebook).scan(*part.segment, part.number, part.mask, options_.refined, out);
}

void StagedSearch::scan(const std::vector<Candidate>& found, std::vector<Candidate>& out) {
  std::vector<std::uint32_t> documents;
  for (std::size_t first = 0; first < found.size(); first += documents.size()) {
    documents.clear();
    for (std::size_t i = first; i < found.size() && found[i].segment == found[first].segment; ++i) {
      documents.push_back(found[i].document);
    }
    const Segment& segment = segment_of(found[first]);
    table(segment.codebook).scan(segment, found[first].segment, documents, out);
  }
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
