// The stages that staged and exact searches share, for one query over several segments.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "centroids.hpp"
#include "codes.hpp"
#include "query.hpp"
#include "search.hpp"

namespace serotine::search {

constexpr float kNoScore = -std::numeric_limits<float>::infinity();

// Adds the wall time of its scope, in milliseconds.
class Timer {
 public:
  explicit Timer(double& total) : total_(total), start_(Clock::now()) {}
  ~Timer() { total_ += std::chrono::duration<double, std::milli>(Clock::now() - start_).count(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  double& total_;
  Clock::time_point start_;
};

std::vector<std::uint32_t> allowed_documents(const Segment& segment, const std::uint64_t* mask);
std::size_t count_allowed(const Segment& segment, const std::uint64_t* mask);

// Sorts by segment and document, so that memory is read in one direction.
void sort_by_position(std::vector<Candidate>& candidates);

class Stages {
 public:
  Stages(const Query& query, const std::vector<Segment>& segments, const std::vector<const std::uint64_t*>& masks,
         const Options& options, Report& report)
      : query_(query), segments_(segments), masks_(masks), options_(options), report_(report) {}

 protected:
  std::vector<double> score_codes(const CodeScorer& scorer, const std::vector<Candidate>& candidates);
  void rescore_codes(std::vector<Candidate>& candidates);
  // Leaves the scores of segments without vectors as they are.
  void rescore_vectors(std::vector<Candidate>& candidates);
  // Appends every allowed document of the segments without codes, scored over its vectors.
  void score_flat(std::vector<Candidate>& out);
  std::vector<Hit> best_hits(const std::vector<Candidate>& candidates) const;

  const Segment& segment_of(const Candidate& candidate) const { return segments_[candidate.segment]; }

  const Query& query_;
  const std::vector<Segment>& segments_;
  const std::vector<const std::uint64_t*>& masks_;
  const Options& options_;
  Report& report_;
};

std::vector<Hit> staged_search(const Query& query, const std::vector<Segment>& segments,
                               const std::vector<const std::uint64_t*>& masks, const Options& options, Report& report);
std::vector<Hit> exact_search(const Query& query, const std::vector<Segment>& segments,
                              const std::vector<const std::uint64_t*>& masks, const Options& options, Report& report);
std::vector<Hit> xtr_search(const Query& query, const std::vector<Segment>& segments,
                            const std::vector<const std::uint64_t*>& masks, const Options& options, Report& report);

}  // namespace serotine::search
