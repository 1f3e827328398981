// XTR (Lee et al. 2023): every query token retrieves its most similar tokens among all documents.
#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <vector>

#include "../common/thread_pool.hpp"
#include "dispatch.hpp"
#include "maxsim.hpp"
#include "prepare.hpp"
#include "retrieval.hpp"
#include "scorer.hpp"
#include "work.hpp"
#include "xtr.hpp"

namespace serotine::maxsim {
namespace {

// One worker's scorer, and what its documents gave so far.
struct Worker {
  Worker(const Kernels& kernels, const PreparedQueries& queries, const Tokens& documents, const Ranges& ranges,
         const PreparedQuery& query, std::size_t k_token)
      : scorer(kernels, queries, documents, ranges),
        retrieval(query.tokens, query.vectors * query.lanes, k_token),
        positions(query.vectors * query.lanes + 1) {}
  Scorer scorer;
  TokenRetrieval retrieval;
  std::vector<std::uint32_t> positions;
  bool finite = true;
};

}  // namespace

bool retrieve(Scorer& scorer, const Kernels& kernels, const PreparedQuery& query, std::size_t document, std::size_t tokens,
              std::uint64_t number, TokenRetrieval& retrieval, std::uint32_t* positions) {
  return scorer.similarities(document, tokens, query, [&](std::size_t token, const float* row) {
    const std::size_t count = kernels.reached(row, retrieval.thresholds(), query.vectors * query.lanes, positions);
    for (std::size_t i = 0; i < count; ++i) {
      retrieval.add(positions[i], {row[positions[i]], static_cast<std::uint32_t>(token), number});
    }
  });
}

Outcome xtr_grid(const Tokens& queries, const Ranges& query_ranges, const Tokens& documents, const Ranges& document_ranges,
                 std::size_t k_token, bool impute, float* scores) {
  const Kernels& table = kernels();
  const PreparedQueries prepared(table, queries, query_ranges, documents.dtype);
  const std::size_t count = document_ranges.count;
  const auto tokens_of = [&](std::size_t d) {
    return static_cast<std::size_t>(document_ranges.end[d] - document_ranges.begin[d]);
  };
  Outcome outcome{prepared.first_nonfinite(), -1};
  for (std::size_t q = 0; q < prepared.count(); ++q) {
    const PreparedQuery& query = prepared[q];
    float* row = scores + q * count;
    if (query.tokens == 0) {
      std::fill_n(row, count, 0.0f);
      continue;
    }
    const double per_token = static_cast<double>(query.tokens * documents.dim);
    const std::vector<std::size_t> starts = cut(count, [&](std::size_t d) {
      return static_cast<double>(tokens_of(d)) * per_token;
    });
    std::vector<std::unique_ptr<Worker>> workers(num_threads());
    std::vector<std::uint8_t> finite(count, 1);
    parallel_for(starts.size() - 1, workers.size(), [&](std::size_t item, std::size_t number) {
      std::unique_ptr<Worker>& worker = workers[number];
      if (!worker) worker = std::make_unique<Worker>(table, prepared, documents, document_ranges, query, k_token);
      for (std::size_t d = starts[item]; d < starts[item + 1]; ++d) {
        finite[d] = retrieve(worker->scorer, table, query, d, tokens_of(d), d, worker->retrieval,
                             worker->positions.data())
                        ? 1
                        : 0;
      }
    });
    const auto bad = std::find(finite.begin(), finite.end(), 0);
    if (bad != finite.end()) {
      const auto document = static_cast<std::int64_t>(bad - finite.begin());
      outcome.bad_document = outcome.bad_document < 0 ? document : std::min(outcome.bad_document, document);
    }
    TokenRetrieval all(query.tokens, query.tokens, k_token);
    for (const std::unique_ptr<Worker>& worker : workers) {
      if (worker) all.merge(worker->retrieval);
    }
    all.finish();
    const RetrievedSums sums = sum_retrieved(all.best(), count, impute);
    for (std::size_t d = 0; d < count; ++d) {
      if (tokens_of(d) == 0) {
        row[d] = -std::numeric_limits<float>::infinity();
      } else if (impute) {
        row[d] = static_cast<float>((sums.missing + sums.sums[d]) / static_cast<double>(query.tokens));
      } else {
        row[d] = static_cast<float>(sums.sums[d] / static_cast<double>(std::max(sums.counts[d], 1u)));
      }
    }
  }
  return outcome;
}

}  // namespace serotine::maxsim
