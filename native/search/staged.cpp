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
// `Options::postings` is for up to so many query tokens; longer queries read more, in proportion.
constexpr std::size_t kTokensPerPostings = 32;
// Documents of the residual stage that are prefetched and not yet scored, and how many documents ahead of those the
// centroid ids are prefetched.
constexpr std::size_t kPending = 4;
constexpr std::size_t kIdsAhead = 4;
// The stamps of a probe hold no more query tokens; longer queries scan instead.
constexpr std::size_t kMostProbingTokens = 4096;

class StagedSearch : Stages {
 public:
  using Stages::Stages;

  std::vector<Hit> run();

 private:
  std::vector<Candidate> score_centroids();
  // Scores every allowed document of a segment.
  void scan(const AllowedSegment& segment, std::size_t allowed, std::vector<Candidate>& out);
  // Scores documents that are in the order of their positions.
  void scan(const std::vector<Candidate>& probed, std::vector<Candidate>& out);
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
  std::size_t documents_in_all = 0;
  for (std::size_t s = 0; s < segments_.size(); ++s) {
    if (segments_[s].codebook == nullptr) continue;
    allowed_in_all += allowed[s] = count_allowed(segments_[s], masks_[s]);
    documents_in_all += segments_[s].documents;
  }
  // The code stage scores them all anyway. In all segments or in none: documents without a score cannot be compared.
  report_.direct = allowed_in_all > 0 && allowed_in_all <= options_.candidates;
  // By codebook: sums over the lists of one are comparable between segments.
  std::map<const codec::Codebook*, std::vector<AllowedSegment>> with_lists;
  for (std::uint32_t s = 0; s < segments_.size(); ++s) {
    const Segment& segment = segments_[s];
    if (allowed[s] == 0) continue;
    if (report_.direct) {
      for (const std::uint32_t d : allowed_documents(segment, masks_[s])) out.push_back({0.0f, s, d});
      continue;
    }
    // Posting lists would miss the few matches of a selective filter.
    if (segment.postings != nullptr && query_.tokens() <= kMostProbingTokens && allowed[s] * 4 >= segment.documents) {
      with_lists[segment.codebook].push_back({&segment, s, masks_[s]});
    } else {
      scan({&segment, s, masks_[s]}, allowed[s], out);
    }
  }
  for (const auto& [codebook, segments] : with_lists) {
    std::size_t allowed_here = 0;
    std::size_t documents_here = 0;
    for (const AllowedSegment& segment : segments) {
      allowed_here += allowed[segment.number];
      documents_here += segment.segment->documents;
    }
    std::vector<Candidate> probed;
    const std::size_t count = options_.refined * kProbedPerRefined;
    if (allowed_here > count && allowed_here >= options_.probed_from) {
      const double share = static_cast<double>(documents_here) / static_cast<double>(documents_in_all);
      const double token_ratio = std::max(static_cast<double>(query_.tokens()) / kTokensPerPostings, 1.0);
      // So many that they are exact as a double.
      const double postings = std::min(static_cast<double>(options_.postings) * share * token_ratio, 0x1p53);
      probed = table(codebook).probe(segments, static_cast<std::uint64_t>(postings), count);
    }
    if (probed.size() < std::min(allowed_here, options_.k)) {
      for (const AllowedSegment& segment : segments) scan(segment, allowed[segment.number], out);
      continue;
    }
    report_.probed = true;
    report_.by_centroids += probed.size();
    sort_by_position(probed);
    scan(probed, out);
  }
  return out;
}

void StagedSearch::scan(const AllowedSegment& segment, std::size_t allowed, std::vector<Candidate>& out) {
  report_.scanned = true;
  report_.by_centroids += allowed;
  table(segment.segment->codebook).scan(*segment.segment, segment.number, segment.mask, options_.refined, out);
}

void StagedSearch::scan(const std::vector<Candidate>& probed, std::vector<Candidate>& out) {
  std::vector<std::uint32_t> documents;
  for (std::size_t first = 0; first < probed.size(); first += documents.size()) {
    documents.clear();
    for (std::size_t i = first; i < probed.size() && probed[i].segment == probed[first].segment; ++i) {
      documents.push_back(probed[i].document);
    }
    const Segment& segment = segment_of(probed[first]);
    table(segment.codebook).scan(segment, probed[first].segment, documents, out);
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
