#include "search.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <map>
#include <memory>

#include "../common/prefetch.hpp"
#include "../common/thread_pool.hpp"
#include "centroids.hpp"
#include "codes.hpp"
#include "query.hpp"
#include "residuals.hpp"

namespace serotine::search {
namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();
// Candidates one item of parallel work scores.
constexpr std::size_t kDocumentsAnItem = 16;
constexpr std::size_t kRefinedAnItem = 128;
// Documents an exact search scores before it looks at the threshold again.
constexpr std::size_t kExactAtOnce = 64;
// A probe keeps this many documents for each that the residual stage scores.
constexpr std::size_t kProbedPerRefined = 3;
// How many documents the residual stage has asked memory for and not yet scored; and how many documents before that their
// tokens' ids are asked for.
constexpr std::size_t kPending = 4;
constexpr std::size_t kIdsAhead = 4;
// Above this many query tokens the probe's stamps would not fit; nothing is lost by scanning.
constexpr std::size_t kMostProbingTokens = 4096;

using Clock = std::chrono::steady_clock;

class Timer {
 public:
  explicit Timer(double& total) : total_(total), start_(Clock::now()) {}
  ~Timer() { total_ += std::chrono::duration<double, std::milli>(Clock::now() - start_).count(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  double& total_;
  Clock::time_point start_;
};

std::vector<std::uint32_t> allowed_documents(const Part& part, const std::uint64_t* bits) {
  std::vector<std::uint32_t> out;
  for (std::size_t d = 0; d < part.documents; ++d) {
    if (lets_through(bits, d)) out.push_back(static_cast<std::uint32_t>(d));
  }
  return out;
}

std::size_t count_allowed(const Part& part, const std::uint64_t* bits) {
  if (bits == nullptr) return part.documents;
  std::size_t count = 0;
  for (std::size_t word = 0; word < (part.documents + 63) / 64; ++word) count += static_cast<std::size_t>(__builtin_popcountll(bits[word]));
  return count;
}

// In the order of the files: what is asked from memory then moves one way.
void sort_by_place(std::vector<Candidate>& candidates) {
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.part != b.part ? a.part < b.part : a.document < b.document;
  });
}

class Searcher {
 public:
  Searcher(const Query& query, const std::vector<Part>& parts, const std::vector<const std::uint64_t*>& allowed,
           const Options& options, Report& report)
      : query_(query), parts_(parts), allowed_(allowed), options_(options), report_(report) {}

  std::vector<Found> staged();
  std::vector<Found> exact();

 private:
  std::vector<Candidate> by_centroids();
  const CentroidTable& table(const codec::Codebook* codebook);
  void refine(std::vector<Candidate>& candidates);
  void ask_for_ids(const Candidate& candidate) const;
  void rescore_codes(std::vector<Candidate>& candidates);
  void rescore_vectors(std::vector<Candidate>& candidates);
  void flat(std::vector<Candidate>& out);
  std::vector<Found> best(std::vector<Candidate>& candidates) const;
  std::vector<double> score_codes(const CodeScorer& scorer, const std::vector<Candidate>& candidates);

  const Query& query_;
  const std::vector<Part>& parts_;
  const std::vector<const std::uint64_t*>& allowed_;
  const Options& options_;
  Report& report_;
  std::map<const codec::Codebook*, std::unique_ptr<CentroidTable>> tables_;
};

const CentroidTable& Searcher::table(const codec::Codebook* codebook) {
  std::unique_ptr<CentroidTable>& made = tables_[codebook];
  if (!made) made = std::make_unique<CentroidTable>(query_, *codebook);
  return *made;
}

std::vector<Candidate> Searcher::by_centroids() {
  const Timer timer(report_.centroids_ms);
  std::vector<Candidate> out;
  std::size_t everywhere = 0;
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    if (parts_[p].codebook != nullptr) everywhere += count_allowed(parts_[p], allowed_[p]);
  }
  // The next stage takes them all anyway. Of all parts or of none: a document without a score could not be compared.
  report_.direct = everywhere > 0 && everywhere <= options_.candidates;
  for (std::uint32_t p = 0; p < parts_.size(); ++p) {
    const Part& part = parts_[p];
    if (part.codebook == nullptr) continue;
    const std::uint64_t* bits = allowed_[p];
    const std::size_t there = count_allowed(part, bits);
    if (there == 0) continue;
    if (report_.direct) {
      for (const std::uint32_t d : allowed_documents(part, bits)) out.push_back({0.0f, p, d});
      continue;
    }
    const CentroidTable& scores = table(part.codebook);
    const std::size_t before = out.size();
    std::size_t looked_at = there;
    // Lists are worth reading where they leave most documents out; of a filter's few matches they would find none.
    const bool probing = part.postings != nullptr && query_.tokens() <= kMostProbingTokens &&
                         there > options_.refined && there * 4 >= part.documents;
    if (probing) {
      // A part's share of the reading is its share of the documents.
      const auto postings = static_cast<std::uint64_t>(static_cast<double>(options_.postings) * static_cast<double>(there) /
                                                       static_cast<double>(everywhere));
      const std::vector<std::uint32_t> found =
          scores.probe(part, bits, postings, options_.refined * kProbedPerRefined);
      if (found.size() >= std::min(there, options_.k)) {
        report_.probed = true;
        scores.scan(part, p, found, out);
        looked_at = found.size();
      }
    }
    if (out.size() == before) {
      report_.scanned = true;
      scores.scan(part, p, bits, options_.refined, out);
    }
    report_.by_centroids += looked_at;
  }
  return out;
}

void Searcher::ask_for_ids(const Candidate& candidate) const {
  const codec::Codes& codes = parts_[candidate.part].codes;
  const std::int64_t* offsets = parts_[candidate.part].offsets + candidate.document;
  const std::size_t size = codes.wide ? 4 : 2;
  ask(static_cast<const char*>(codes.ids) + static_cast<std::size_t>(offsets[0]) * size,
      static_cast<std::size_t>(offsets[1] - offsets[0]) * size);
}

void Searcher::refine(std::vector<Candidate>& candidates) {
  const Timer timer(report_.residuals_ms);
  sort_by_place(candidates);
  const ResidualScorer scorer(query_);
  std::vector<std::array<ResidualScorer::Pending, kPending>> scratch(num_threads());
  const std::size_t items = (candidates.size() + kRefinedAnItem - 1) / kRefinedAnItem;
  parallel_for(items, scratch.size(), [&](std::size_t item, std::size_t worker) {
    std::array<ResidualScorer::Pending, kPending>& pending = scratch[worker];
    const std::size_t first = item * kRefinedAnItem;
    const std::size_t last = std::min(candidates.size(), first + kRefinedAnItem);
    // While some documents' codes come from memory, one that has come is scored.
    for (std::size_t i = first; i < last + kPending - 1; ++i) {
      if (i + kIdsAhead < last) ask_for_ids(candidates[i + kIdsAhead]);
      if (i < last) {
        const Candidate& one = candidates[i];
        const Part& part = parts_[one.part];
        scorer.choose(*tables_.at(part.codebook), part, one.document, pending[i % kPending]);
      }
      if (i + 1 >= first + kPending) {
        Candidate& one = candidates[i + 1 - kPending];
        const Part& part = parts_[one.part];
        one.score = scorer.score(*tables_.at(part.codebook), part, one.document, pending[(i + 1) % kPending]);
      }
    }
  });
  report_.by_residuals += candidates.size();
}

std::vector<double> Searcher::score_codes(const CodeScorer& scorer, const std::vector<Candidate>& candidates) {
  std::vector<double> scores(candidates.size());
  std::vector<CodeScorer::Scratch> scratch(num_threads());
  const std::size_t items = (candidates.size() + kDocumentsAnItem - 1) / kDocumentsAnItem;
  parallel_for(items, scratch.size(), [&](std::size_t item, std::size_t worker) {
    const std::size_t last = std::min(candidates.size(), (item + 1) * kDocumentsAnItem);
    for (std::size_t i = item * kDocumentsAnItem; i < last; ++i) {
      const Candidate& one = candidates[i];
      const Candidate& next = candidates[std::min(i + 1, candidates.size() - 1)];
      scores[i] = scorer.score(parts_[one.part], one.document, parts_[next.part], next.document, scratch[worker]);
    }
  });
  report_.by_codes += candidates.size();
  for (const Candidate& candidate : candidates) {
    const std::int64_t* offsets = parts_[candidate.part].offsets + candidate.document;
    report_.tokens += static_cast<std::size_t>(offsets[1] - offsets[0]);
  }
  return scores;
}

void Searcher::rescore_codes(std::vector<Candidate>& candidates) {
  const Timer timer(report_.codes_ms);
  sort_by_place(candidates);
  const std::vector<double> scores = score_codes(CodeScorer(query_, Bound::none), candidates);
  for (std::size_t i = 0; i < candidates.size(); ++i) candidates[i].score = static_cast<float>(scores[i]);
}

void Searcher::rescore_vectors(std::vector<Candidate>& candidates) {
  const Timer timer(report_.vectors_ms);
  sort_by_place(candidates);
  std::vector<std::int64_t> begin;
  std::vector<std::int64_t> end;
  std::vector<float> scores;
  const std::int64_t query_begin = 0;
  const auto query_end = static_cast<std::int64_t>(query_.tokens());
  const maxsim::Tokens query{query_.values(), maxsim::Dtype::f32, query_.tokens(), query_.dim(), nullptr};
  for (std::size_t first = 0; first < candidates.size();) {
    const Part& part = parts_[candidates[first].part];
    std::size_t last = first;
    begin.clear();
    end.clear();
    for (; last < candidates.size() && candidates[last].part == candidates[first].part; ++last) {
      begin.push_back(part.offsets[candidates[last].document]);
      end.push_back(part.offsets[candidates[last].document + 1]);
    }
    if (part.vectors != nullptr) {
      scores.resize(begin.size());
      const maxsim::Tokens documents{part.vectors, maxsim::Dtype::f16,
                                     static_cast<std::size_t>(part.offsets[part.documents]), query_.dim(), nullptr};
      maxsim::score_grid(query, {&query_begin, &query_end, 1}, documents, {begin.data(), end.data(), begin.size()},
                         scores.data(), nullptr, 0);
      for (std::size_t i = first; i < last; ++i) candidates[i].score = scores[i - first];
      report_.by_vectors += begin.size();
      for (std::size_t i = 0; i < begin.size(); ++i) report_.tokens += static_cast<std::size_t>(end[i] - begin[i]);
    }
    first = last;
  }
}

void Searcher::flat(std::vector<Candidate>& out) {
  std::vector<Candidate> all;
  for (std::uint32_t p = 0; p < parts_.size(); ++p) {
    if (parts_[p].codebook != nullptr) continue;
    for (const std::uint32_t d : allowed_documents(parts_[p], allowed_[p])) all.push_back({kNothing, p, d});
  }
  if (all.empty()) return;
  report_.flat = true;
  rescore_vectors(all);
  out.insert(out.end(), all.begin(), all.end());
}

std::vector<Found> Searcher::best(std::vector<Candidate>& candidates) const {
  std::vector<Found> out;
  out.reserve(candidates.size());
  for (const Candidate& c : candidates) out.push_back({c.score, parts_[c.part].numbers[c.document]});
  const auto order = [](const Found& a, const Found& b) {
    return a.score != b.score ? a.score > b.score : a.number < b.number;
  };
  const std::size_t k = std::min(options_.k, out.size());
  std::partial_sort(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(k), out.end(), order);
  out.resize(k);
  return out;
}

std::vector<Found> Searcher::staged() {
  std::vector<Candidate> candidates = by_centroids();
  if (!report_.direct && options_.refined > options_.candidates) {
    keep_best(candidates, options_.refined);
    refine(candidates);
  }
  keep_best(candidates, options_.candidates);
  rescore_codes(candidates);
  keep_best(candidates, std::max(options_.k, options_.rescored));
  rescore_vectors(candidates);
  flat(candidates);
  return best(candidates);
}

std::vector<Found> Searcher::exact() {
  struct Bounded {
    double upper;
    Candidate candidate;
  };
  // A heap, the highest bound first: of thousands, a few hundred are looked at.
  const auto below = [](const Bounded& a, const Bounded& b) {
    return a.upper != b.upper ? a.upper < b.upper : better(b.candidate, a.candidate);
  };
  std::vector<Bounded> all;
  std::vector<Candidate> done;
  flat(done);
  const CodeScorer upper(query_, Bound::upper);
  {
    const Timer timer(report_.codes_ms);
    std::vector<Candidate> coded;
    for (std::uint32_t p = 0; p < parts_.size(); ++p) {
      if (parts_[p].codebook == nullptr) continue;
      for (const std::uint32_t d : allowed_documents(parts_[p], allowed_[p])) coded.push_back({kNothing, p, d});
    }
    const std::vector<double> bounds = score_codes(upper, coded);
    all.reserve(coded.size());
    for (std::size_t i = 0; i < coded.size(); ++i) all.push_back({bounds[i], coded[i]});
    std::make_heap(all.begin(), all.end(), below);
  }

  // Scores in the order of the bounds, until no bound left reaches the k-th score.
  const auto kth = [&] {
    if (done.size() < options_.k) return static_cast<double>(kNothing);
    std::vector<float> scores(done.size());
    std::transform(done.begin(), done.end(), scores.begin(), [](const Candidate& c) { return c.score; });
    const auto place = scores.begin() + static_cast<std::ptrdiff_t>(options_.k - 1);
    std::nth_element(scores.begin(), place, scores.end(), std::greater<>());
    return static_cast<double>(*place);
  };
  double threshold = kth();
  while (!all.empty() && (done.size() < options_.k || all.front().upper >= threshold)) {
    std::vector<Candidate> batch;
    std::vector<Candidate> estimated;
    while (!all.empty() && batch.size() + estimated.size() < kExactAtOnce) {
      if (done.size() >= options_.k && all.front().upper < threshold) break;
      const Candidate c = all.front().candidate;
      (parts_[c.part].vectors != nullptr ? batch : estimated).push_back(c);
      std::pop_heap(all.begin(), all.end(), below);
      all.pop_back();
    }
    rescore_vectors(batch);
    if (!estimated.empty()) rescore_codes(estimated);
    done.insert(done.end(), batch.begin(), batch.end());
    done.insert(done.end(), estimated.begin(), estimated.end());
    threshold = kth();
  }

  std::vector<Found> answer = best(done);
  // What the others can have at most: the bound of those not looked at, and the scores of those that were.
  double bound = all.empty() ? static_cast<double>(kNothing) : all.front().upper;
  std::vector<std::int64_t> chosen;
  for (const Found& found : answer) chosen.push_back(found.number);
  std::sort(chosen.begin(), chosen.end());
  const auto is_chosen = [&](const Candidate& c) {
    return std::binary_search(chosen.begin(), chosen.end(), parts_[c.part].numbers[c.document]);
  };
  CodeScorer::Scratch scratch;
  const CodeScorer lower(query_, Bound::lower);
  double least = std::numeric_limits<double>::infinity();
  std::vector<double> others;
  for (const Candidate& c : done) {
    const Part& part = parts_[c.part];
    const bool known = part.vectors != nullptr;
    if (is_chosen(c)) {
      least = std::min(least, known ? static_cast<double>(c.score) : lower.score(part, c.document, part, c.document, scratch));
    } else {
      others.push_back(known ? static_cast<double>(c.score) : upper.score(part, c.document, part, c.document, scratch));
      bound = std::max(bound, others.back());
    }
  }
  bool all_known = true;
  for (const Part& part : parts_) all_known = all_known && part.vectors != nullptr;
  if (!all_known) {
    for (const double other : others) report_.undecided += other > least ? 1 : 0;
    for (const Bounded& one : all) report_.undecided += one.upper > least ? 1 : 0;
  }
  report_.bound = static_cast<float>(bound);
  return answer;
}

}  // namespace

std::vector<Found> search(const float* query, std::size_t tokens, std::size_t dim, const std::vector<Part>& parts,
                          const std::vector<const std::uint64_t*>& allowed, const Options& options, Report& report) {
  const Query prepared(query, tokens, dim);
  Searcher searcher(prepared, parts, allowed, options, report);
  return options.exact ? searcher.exact() : searcher.staged();
}

std::vector<float> residual_scores(const float* query, std::size_t tokens, std::size_t dim, const Part& part) {
  const Query prepared(query, tokens, dim);
  const CentroidTable table(prepared, *part.codebook);
  const ResidualScorer scorer(prepared);
  ResidualScorer::Pending pending;
  std::vector<float> out(part.documents);
  for (std::size_t d = 0; d < part.documents; ++d) {
    scorer.choose(table, part, d, pending);
    out[d] = scorer.score(table, part, d, pending);
  }
  return out;
}

std::vector<std::uint32_t> postings(const codec::Codes& codes, std::size_t centroids, const std::int64_t* offsets,
                                    std::size_t documents, std::uint64_t* starts) {
  // The last document that each centroid was seen in, so that a pair is counted once.
  std::vector<std::uint32_t> seen(centroids, 0xffffffffu);
  std::vector<std::uint64_t> counts(centroids + 1, 0);
  for (std::size_t d = 0; d < documents; ++d) {
    for (std::int64_t t = offsets[d]; t < offsets[d + 1]; ++t) {
      const std::size_t id = codes.id(static_cast<std::size_t>(t));
      if (seen[id] == d) continue;
      seen[id] = static_cast<std::uint32_t>(d);
      ++counts[id + 1];
    }
  }
  for (std::size_t c = 0; c < centroids; ++c) counts[c + 1] += counts[c];
  std::copy(counts.begin(), counts.end(), starts);
  std::vector<std::uint32_t> out(counts[centroids]);
  std::fill(seen.begin(), seen.end(), 0xffffffffu);
  std::vector<std::uint64_t> next(counts.begin(), counts.end() - 1);
  for (std::size_t d = 0; d < documents; ++d) {
    for (std::int64_t t = offsets[d]; t < offsets[d + 1]; ++t) {
      const std::size_t id = codes.id(static_cast<std::size_t>(t));
      if (seen[id] == d) continue;
      seen[id] = static_cast<std::uint32_t>(d);
      out[next[id]++] = static_cast<std::uint32_t>(d);
    }
  }
  return out;
}

}  // namespace serotine::search
