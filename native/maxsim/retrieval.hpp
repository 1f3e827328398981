// XTR's retrieval: the k_token most similar document tokens of every query token, and the scores that they give.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace serotine::maxsim {

struct RetrievedToken {
  float similarity;
  std::uint32_t token;  // within its document
  std::uint64_t document;
};

// Whether `a` is retrieved before `b`: by the higher similarity, then by the lower document and token.
inline bool better(const RetrievedToken& a, const RetrievedToken& b) {
  if (a.similarity != b.similarity) return a.similarity > b.similarity;
  if (a.document != b.document) return a.document < b.document;
  return a.token < b.token;
}

// The best tokens among those added so far; one worker's, until they are merged.
class TokenRetrieval {
 public:
  // `lanes` is at least `query_tokens`: the length of the rows compared with `thresholds`.
  TokenRetrieval(std::size_t query_tokens, std::size_t lanes, std::size_t k_token);

  // [lanes]: lower similarities are not among the best; infinity beyond the query's tokens.
  const float* thresholds() const { return thresholds_.data(); }
  void add(std::size_t query_token, const RetrievedToken& retrieved) {
    std::vector<RetrievedToken>& best = best_[query_token];
    if (retrieved.similarity < thresholds_[query_token]) return;
    best.push_back(retrieved);
    if (best.size() >= room_) tighten(query_token);
  }
  void merge(const TokenRetrieval& other);
  // Drops all but the k_token best of every query token.
  void finish();
  // After `finish`, in no particular order.
  const std::vector<std::vector<RetrievedToken>>& best() const { return best_; }

 private:
  void tighten(std::size_t query_token);

  std::size_t k_token_;
  std::size_t room_;
  std::vector<std::vector<RetrievedToken>> best_;
  std::vector<float> thresholds_;
};

// The sums over query tokens of the best retrieved similarities of every document.
struct RetrievedSums {
  std::vector<double> sums;           // [documents], of the similarities, less what `missing` has of them if imputed
  std::vector<std::uint32_t> counts;  // [documents], query tokens that retrieved one of its tokens
  double missing = 0.0;               // if imputed: the sum of the similarities of the last retrieved tokens
};
// The result does not depend on the order of the retrieved tokens.
RetrievedSums sum_retrieved(const std::vector<std::vector<RetrievedToken>>& best, std::size_t documents, bool impute);

}  // namespace serotine::maxsim
