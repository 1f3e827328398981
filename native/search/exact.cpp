// The exact search: documents scored in the order of their upper bounds, and the certificate of the result.
#include <algorithm>
#include <functional>

#include "stages.hpp"

namespace serotine::search {
namespace {

// Documents scored between two readings of the threshold.
constexpr std::size_t kBatch = 64;

struct Bounded {
  double upper;
  Candidate candidate;
};

// Order of a heap whose front has the highest bound: of thousands of documents, a few hundred are popped.
bool below(const Bounded& a, const Bounded& b) {
  return a.upper != b.upper ? a.upper < b.upper : better(b.candidate, a.candidate);
}

class ExactSearch : Stages {
 public:
  ExactSearch(const Query& query, const std::vector<Segment>& segments,
              const std::vector<const std::uint64_t*>& masks, const Options& options, Report& report)
      : Stages(query, segments, masks, options, report), upper_(query, Bound::upper) {}

  std::vector<Hit> run();

 private:
  std::vector<Bounded> bound_codes();
  // The k-th best score so far, -infinity while there are fewer.
  double kth_score() const;
  void certify(const std::vector<Hit>& hits);

  const CodeScorer upper_;
  std::vector<Candidate> scored_;
  std::vector<Bounded> heap_;
};

std::vector<Bounded> ExactSearch::bound_codes() {
  const Timer timer(report_.codes_ms);
  std::vector<Candidate> coded;
  for (std::uint32_t s = 0; s < segments_.size(); ++s) {
    if (segments_[s].codebook == nullptr) continue;
    for (const std::uint32_t d : allowed_documents(segments_[s], masks_[s])) coded.push_back({kNoScore, s, d});
  }
  const std::vector<double> bounds = score_codes(upper_, coded);
  std::vector<Bounded> heap;
  heap.reserve(coded.size());
  for (std::size_t i = 0; i < coded.size(); ++i) heap.push_back({bounds[i], coded[i]});
  std::make_heap(heap.begin(), heap.end(), below);
  return heap;
}

double ExactSearch::kth_score() const {
  if (scored_.size() < options_.k) return static_cast<double>(kNoScore);
  std::vector<float> scores(scored_.size());
  std::transform(scored_.begin(), scored_.end(), scores.begin(), [](const Candidate& c) { return c.score; });
  const auto kth = scores.begin() + static_cast<std::ptrdiff_t>(options_.k - 1);
  std::nth_element(scores.begin(), kth, scores.end(), std::greater<>());
  return static_cast<double>(*kth);
}

std::vector<Hit> ExactSearch::run() {
  score_flat(scored_);
  heap_ = bound_codes();
  // Until no remaining bound reaches the k-th score.
  double threshold = kth_score();
  while (!heap_.empty() && (scored_.size() < options_.k || heap_.front().upper >= threshold)) {
    std::vector<Candidate> with_vectors;
    std::vector<Candidate> estimated;
    while (!heap_.empty() && with_vectors.size() + estimated.size() < kBatch) {
      if (scored_.size() >= options_.k && heap_.front().upper < threshold) break;
      const Candidate c = heap_.front().candidate;
      (segment_of(c).vectors != nullptr ? with_vectors : estimated).push_back(c);
      std::pop_heap(heap_.begin(), heap_.end(), below);
      heap_.pop_back();
    }
    rescore_vectors(with_vectors);
    if (!estimated.empty()) rescore_codes(estimated);
    scored_.insert(scored_.end(), with_vectors.begin(), with_vectors.end());
    scored_.insert(scored_.end(), estimated.begin(), estimated.end());
    threshold = kth_score();
  }
  std::vector<Hit> hits = best_hits(scored_);
  certify(hits);
  return hits;
}

void ExactSearch::certify(const std::vector<Hit>& hits) {
  // The highest score that other documents can have: bounds of those not scored, scores of the rest.
  double bound = heap_.empty() ? static_cast<double>(kNoScore) : heap_.front().upper;
  std::vector<std::int64_t> hit_numbers;
  for (const Hit& hit : hits) hit_numbers.push_back(hit.number);
  std::sort(hit_numbers.begin(), hit_numbers.end());
  const auto is_hit = [&](const Candidate& c) {
    return std::binary_search(hit_numbers.begin(), hit_numbers.end(), segment_of(c).numbers[c.document]);
  };
  CodeScorer::Scratch scratch;
  const CodeScorer lower(query_, Bound::lower);
  const auto score_or_bound = [&](const Candidate& c, const CodeScorer& scorer) {
    const Segment& segment = segment_of(c);
    if (segment.vectors != nullptr) return static_cast<double>(c.score);
    double score = 0.0;
    scorer.score(segment, {&c.document, 1}, scratch, &score);
    return score;
  };
  double lowest_hit = std::numeric_limits<double>::infinity();
  std::vector<double> others;
  for (const Candidate& c : scored_) {
    if (is_hit(c)) {
      lowest_hit = std::min(lowest_hit, score_or_bound(c, lower));
    } else {
      others.push_back(score_or_bound(c, upper_));
      bound = std::max(bound, others.back());
    }
  }
  const bool all_have_vectors =
      std::all_of(segments_.begin(), segments_.end(), [](const Segment& segment) { return segment.vectors != nullptr; });
  if (!all_have_vectors) {
    for (const double other : others) report_.undecided += other > lowest_hit ? 1 : 0;
    for (const Bounded& bounded : heap_) report_.undecided += bounded.upper > lowest_hit ? 1 : 0;
  }
  report_.bound = static_cast<float>(bound);
}

}  // namespace

std::vector<Hit> exact_search(const Query& query, const std::vector<Segment>& segments,
                              const std::vector<const std::uint64_t*>& masks, const Options& options, Report& report) {
  return ExactSearch(query, segments, masks, options, report).run();
}

}  // namespace serotine::search
