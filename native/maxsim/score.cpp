#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <vector>

#include "../common/thread_pool.hpp"
#include "dispatch.hpp"
#include "maxsim.hpp"
#include "prepare.hpp"
#include "scorer.hpp"
#include "work.hpp"

namespace serotine::maxsim {
namespace {

void lower(std::atomic<std::int64_t>& lowest, std::int64_t value) {
  std::int64_t current = lowest.load(std::memory_order_relaxed);
  while ((current < 0 || value < current) && !lowest.compare_exchange_weak(current, value, std::memory_order_relaxed)) {
  }
}

// The scorers of one call, created when a worker first needs one.
class Scorers {
 public:
  Scorers(const Kernels& kernels, const PreparedQueries& queries, const Tokens& documents, const Ranges& ranges)
      : kernels_(kernels), queries_(queries), documents_(documents), ranges_(ranges), scorers_(num_threads()) {}
  std::size_t size() const { return scorers_.size(); }
  Scorer& operator[](std::size_t worker) {
    if (!scorers_[worker]) scorers_[worker] = std::make_unique<Scorer>(kernels_, queries_, documents_, ranges_);
    return *scorers_[worker];
  }

 private:
  const Kernels& kernels_;
  const PreparedQueries& queries_;
  const Tokens& documents_;
  const Ranges& ranges_;
  std::vector<std::unique_ptr<Scorer>> scorers_;
};

struct Candidate {
  float score;
  std::int64_t document;
  // Better first: higher score, then lower document.
  bool operator<(const Candidate& other) const {
    return score > other.score || (score == other.score && document < other.document);
  }
};

// Maintains the k best in a heap whose front is the worst of them; k may be 0.
void offer(std::vector<Candidate>& heap, std::size_t k, const Candidate& candidate) {
  if (k == 0) return;
  if (heap.size() < k) {
    heap.push_back(candidate);
    std::push_heap(heap.begin(), heap.end());
  } else if (candidate < heap.front()) {
    std::pop_heap(heap.begin(), heap.end());
    heap.back() = candidate;
    std::push_heap(heap.begin(), heap.end());
  }
}

}  // namespace

std::size_t bytes_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::f32:
      return 4;
    case Dtype::f16:
    case Dtype::bf16:
      return 2;
    case Dtype::i8:
      return 1;
  }
  return 0;
}

Outcome score_grid(const Tokens& queries, const Ranges& query_ranges, const Tokens& documents,
                   const Ranges& document_ranges, float* scores, std::int32_t* where, std::size_t where_width) {
  const Kernels& table = kernels();
  const PreparedQueries prepared(table, queries, query_ranges, documents.dtype);
  const std::size_t per_token = std::max<std::size_t>(prepared.tokens() * documents.dim, 1);
  const std::vector<std::size_t> starts = cut(document_ranges.count, [&](std::size_t d) {
    return static_cast<double>(document_ranges.end[d] - document_ranges.begin[d]) * static_cast<double>(per_token);
  });
  Scorers scorers(table, prepared, documents, document_ranges);
  std::atomic<std::int64_t> nonfinite_document{-1};
  parallel_for(starts.size() - 1, scorers.size(), [&](std::size_t item, std::size_t worker) {
    Scorer& scorer = scorers[worker];
    for (std::size_t d = starts[item]; d < starts[item + 1]; ++d) {
      std::int32_t* winners = where == nullptr ? nullptr : where + d * where_width;
      const bool finite = scorer.score(d, 0, prepared.count(), scores + d, document_ranges.count, winners,
                                       document_ranges.count * where_width, where_width);
      if (!finite) lower(nonfinite_document, static_cast<std::int64_t>(d));
    }
  });
  return {prepared.first_nonfinite(), nonfinite_document.load()};
}

Outcome score_pairs(const Tokens& queries, const Ranges& query_ranges, const Tokens& documents,
                    const Ranges& document_ranges, const std::int64_t* pair_queries,
                    const std::int64_t* pair_documents, std::size_t pairs, float* scores, std::int32_t* where,
                    std::size_t where_width) {
  const Kernels& table = kernels();
  const PreparedQueries prepared(table, queries, query_ranges, documents.dtype);
  const std::vector<std::size_t> starts = cut(pairs, [&](std::size_t p) {
    const auto d = static_cast<std::size_t>(pair_documents[p]);
    const auto q = static_cast<std::size_t>(pair_queries[p]);
    return static_cast<double>(document_ranges.end[d] - document_ranges.begin[d]) *
           static_cast<double>(prepared[q].tokens * documents.dim);
  });
  Scorers scorers(table, prepared, documents, document_ranges);
  std::atomic<std::int64_t> nonfinite_document{-1};
  parallel_for(starts.size() - 1, scorers.size(), [&](std::size_t item, std::size_t worker) {
    Scorer& scorer = scorers[worker];
    for (std::size_t p = starts[item]; p < starts[item + 1]; ++p) {
      const auto d = static_cast<std::size_t>(pair_documents[p]);
      const auto q = static_cast<std::size_t>(pair_queries[p]);
      std::int32_t* winners = where == nullptr ? nullptr : where + p * where_width;
      const bool finite = scorer.score(d, q, q + 1, scores + p, 1, winners, where_width, where_width);
      if (!finite) lower(nonfinite_document, static_cast<std::int64_t>(d));
    }
  });
  return {prepared.first_nonfinite(), nonfinite_document.load()};
}

Outcome top_k(const Tokens& queries, const Ranges& query_ranges, const Tokens& documents,
              const Ranges& document_ranges, const std::uint8_t* keep, std::size_t k, float* scores,
              std::int64_t* indices) {
  const Kernels& table = kernels();
  const PreparedQueries prepared(table, queries, query_ranges, documents.dtype);
  const std::size_t count = prepared.count();
  const std::size_t per_token = std::max<std::size_t>(prepared.tokens() * documents.dim, 1);
  const std::vector<std::size_t> starts = cut(document_ranges.count, [&](std::size_t d) {
    if (keep != nullptr && keep[d] == 0) return 0.0;
    return static_cast<double>(document_ranges.end[d] - document_ranges.begin[d]) * static_cast<double>(per_token);
  });
  Scorers scorers(table, prepared, documents, document_ranges);
  std::vector<std::vector<std::vector<Candidate>>> heaps(scorers.size());
  std::atomic<std::int64_t> nonfinite_document{-1};
  parallel_for(starts.size() - 1, scorers.size(), [&](std::size_t item, std::size_t worker) {
    Scorer& scorer = scorers[worker];
    auto& worker_heaps = heaps[worker];
    if (worker_heaps.empty()) worker_heaps.resize(count);
    std::vector<float> row(count);
    for (std::size_t d = starts[item]; d < starts[item + 1]; ++d) {
      if (keep != nullptr && keep[d] == 0) continue;
      const bool finite = scorer.score(d, 0, count, row.data(), 1, nullptr, 0, 0);
      if (!finite) lower(nonfinite_document, static_cast<std::int64_t>(d));
      for (std::size_t q = 0; q < count; ++q) {
        // NaN (only possible with non-finite input) would break the order: it ranks last.
        const float score = row[q] == row[q] ? row[q] : -std::numeric_limits<float>::infinity();
        offer(worker_heaps[q], k, {score, static_cast<std::int64_t>(d)});
      }
    }
  });
  for (std::size_t q = 0; q < count; ++q) {
    std::vector<Candidate> merged;
    for (const auto& worker_heaps : heaps) {
      if (!worker_heaps.empty()) merged.insert(merged.end(), worker_heaps[q].begin(), worker_heaps[q].end());
    }
    std::sort(merged.begin(), merged.end());
    for (std::size_t i = 0; i < k; ++i) {
      scores[q * k + i] = i < merged.size() ? merged[i].score : -std::numeric_limits<float>::infinity();
      indices[q * k + i] = i < merged.size() ? merged[i].document : -1;
    }
  }
  return {prepared.first_nonfinite(), nonfinite_document.load()};
}

}  // namespace serotine::maxsim
