#include "retrieval.hpp"

#include <algorithm>
#include <limits>

namespace serotine::maxsim {
namespace {

// Tokens that are collected before the worst are dropped, at least.
constexpr std::size_t kLeastRoom = 256;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

TokenRetrieval::TokenRetrieval(std::size_t query_tokens, std::size_t lanes, std::size_t k_token)
    : k_token_(k_token), room_(std::max(2 * k_token, kLeastRoom)), best_(query_tokens), thresholds_(lanes, kInfinity) {
  std::fill_n(thresholds_.begin(), query_tokens, -kInfinity);
}

void TokenRetrieval::tighten(std::size_t query_token) {
  std::vector<RetrievedToken>& best = best_[query_token];
  if (best.size() < k_token_) return;
  const auto last = best.begin() + static_cast<std::ptrdiff_t>(k_token_ - 1);
  std::nth_element(best.begin(), last, best.end(), better);
  thresholds_[query_token] = last->similarity;
  best.resize(k_token_);
}

void TokenRetrieval::merge(const TokenRetrieval& other) {
  for (std::size_t t = 0; t < best_.size(); ++t) {
    for (const RetrievedToken& retrieved : other.best_[t]) add(t, retrieved);
  }
}

void TokenRetrieval::finish() {
  for (std::size_t t = 0; t < best_.size(); ++t) tighten(t);
}

RetrievedSums sum_retrieved(const std::vector<std::vector<RetrievedToken>>& best, std::size_t documents, bool impute) {
  RetrievedSums out;
  out.sums.assign(documents, 0.0);
  out.counts.assign(documents, 0);
  std::vector<float> highest(documents, -kInfinity);
  std::vector<std::uint64_t> touched;
  for (const std::vector<RetrievedToken>& retrieved : best) {
    if (retrieved.empty()) continue;
    float last = kInfinity;
    for (const RetrievedToken& token : retrieved) {
      last = std::min(last, token.similarity);
      float& top = highest[token.document];
      if (top == -kInfinity) touched.push_back(token.document);
      top = std::max(top, token.similarity);
    }
    // A document gets one term of every query token, in their order: rounding is the same whatever came first.
    for (const std::uint64_t document : touched) {
      const double similarity = highest[document];
      out.sums[document] += impute ? similarity - static_cast<double>(last) : similarity;
      ++out.counts[document];
      highest[document] = -kInfinity;
    }
    touched.clear();
    if (impute) out.missing += static_cast<double>(last);
  }
  return out;
}

}  // namespace serotine::maxsim
