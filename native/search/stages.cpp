#include "stages.hpp"

#include <algorithm>

#include "../common/thread_pool.hpp"

namespace serotine::search {
namespace {

// Documents whose codes one item of parallel work scores: many, since the first of an item wait for memory, but so few
// that every worker gets several items.
constexpr std::size_t kLeastPerItem = 16;
constexpr std::size_t kMostPerItem = 128;
constexpr std::size_t kItemsPerWorker = 8;

}  // namespace

std::vector<std::uint32_t> allowed_documents(const Segment& segment, const std::uint64_t* mask) {
  std::vector<std::uint32_t> out;
  for (std::size_t d = 0; d < segment.documents; ++d) {
    if (is_allowed(mask, d)) out.push_back(static_cast<std::uint32_t>(d));
  }
  return out;
}

std::size_t count_allowed(const Segment& segment, const std::uint64_t* mask) {
  if (mask == nullptr) return segment.documents;
  std::size_t count = 0;
  for (std::size_t word = 0; word < (segment.documents + 63) / 64; ++word) {
    count += static_cast<std::size_t>(__builtin_popcountll(mask[word]));
  }
  return count;
}

void sort_by_position(std::vector<Candidate>& candidates) {
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.segment != b.segment ? a.segment < b.segment : a.document < b.document;
  });
}

std::vector<double> Stages::score_codes(const CodeScorer& scorer, const std::vector<Candidate>& candidates) {
  std::vector<double> scores(candidates.size());
  // Candidates are in the order of their segments.
  std::vector<std::uint32_t> documents;
  documents.reserve(candidates.size());
  for (const Candidate& candidate : candidates) documents.push_back(candidate.document);
  std::vector<CodeScorer::Scratch> scratch(num_threads());
  const std::size_t per_item =
      std::clamp(candidates.size() / (scratch.size() * kItemsPerWorker), kLeastPerItem, kMostPerItem);
  const std::size_t items = (candidates.size() + per_item - 1) / per_item;
  parallel_for(items, scratch.size(), [&](std::size_t item, std::size_t worker) {
    const std::size_t last = std::min(candidates.size(), (item + 1) * per_item);
    for (std::size_t first = item * per_item, next = first; first < last; first = next) {
      while (next < last && candidates[next].segment == candidates[first].segment) ++next;
      scorer.score(segment_of(candidates[first]), {documents.data() + first, next - first}, scratch[worker],
                   scores.data() + first);
    }
  });
  report_.by_codes += candidates.size();
  for (const Candidate& candidate : candidates) {
    const std::int64_t* offsets = segment_of(candidate).offsets + candidate.document;
    report_.tokens += static_cast<std::size_t>(offsets[1] - offsets[0]);
  }
  return scores;
}

void Stages::rescore_codes(std::vector<Candidate>& candidates) {
  const Timer timer(report_.codes_ms);
  sort_by_position(candidates);
  const std::vector<double> scores = score_codes(CodeScorer(query_, Bound::none), candidates);
  for (std::size_t i = 0; i < candidates.size(); ++i) candidates[i].score = static_cast<float>(scores[i]);
}

void Stages::rescore_vectors(std::vector<Candidate>& candidates) {
  const Timer timer(report_.vectors_ms);
  sort_by_position(candidates);
  std::vector<std::int64_t> begin;
  std::vector<std::int64_t> end;
  std::vector<float> scores;
  const std::int64_t query_begin = 0;
  const auto query_end = static_cast<std::int64_t>(query_.tokens());
  const maxsim::Tokens query{query_.values(), maxsim::Dtype::f32, query_.tokens(), query_.dim(), nullptr};
  for (std::size_t first = 0; first < candidates.size();) {
    const Segment& segment = segment_of(candidates[first]);
    std::size_t last = first;
    begin.clear();
    end.clear();
    for (; last < candidates.size() && candidates[last].segment == candidates[first].segment; ++last) {
      begin.push_back(segment.offsets[candidates[last].document]);
      end.push_back(segment.offsets[candidates[last].document + 1]);
    }
    if (segment.vectors != nullptr) {
      scores.resize(begin.size());
      const maxsim::Tokens documents{segment.vectors, maxsim::Dtype::f16,
                                     static_cast<std::size_t>(segment.offsets[segment.documents]), query_.dim(), nullptr};
      maxsim::score_grid(query, {&query_begin, &query_end, 1}, documents, {begin.data(), end.data(), begin.size()},
                         scores.data(), nullptr, 0);
      for (std::size_t i = first; i < last; ++i) candidates[i].score = scores[i - first];
      report_.by_vectors += begin.size();
      for (std::size_t i = 0; i < begin.size(); ++i) report_.tokens += static_cast<std::size_t>(end[i] - begin[i]);
    }
    first = last;
  }
}

void Stages::score_flat(std::vector<Candidate>& out) {
  std::vector<Candidate> candidates;
  for (std::uint32_t s = 0; s < segments_.size(); ++s) {
    if (segments_[s].codebook != nullptr) continue;
    for (const std::uint32_t d : allowed_documents(segments_[s], masks_[s])) candidates.push_back({kNoScore, s, d});
  }
  if (candidates.empty()) return;
  report_.flat = true;
  rescore_vectors(candidates);
  out.insert(out.end(), candidates.begin(), candidates.end());
}

std::vector<Hit> Stages::best_hits(const std::vector<Candidate>& candidates) const {
  std::vector<Hit> hits;
  hits.reserve(candidates.size());
  for (const Candidate& c : candidates) hits.push_back({c.score, segment_of(c).numbers[c.document]});
  const auto order = [](const Hit& a, const Hit& b) {
    return a.score != b.score ? a.score > b.score : a.number < b.number;
  };
  const std::size_t k = std::min(options_.k, hits.size());
  std::partial_sort(hits.begin(), hits.begin() + static_cast<std::ptrdiff_t>(k), hits.end(), order);
  hits.resize(k);
  return hits;
}

}  // namespace serotine::search
