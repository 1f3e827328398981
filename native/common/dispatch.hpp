// The choice between instruction sets at run time.
#pragma once

#include <atomic>
#include <string>
#include <utility>
#include <vector>

namespace serotine {

template <class Kernels>
struct Candidate {
  const Kernels* table;
  bool runs_here;
  bool by_default = true;
};

// The tables of one library. Candidates are listed slowest first, and the first runs everywhere.
template <class Kernels>
class Dispatch {
 public:
  explicit Dispatch(std::vector<Candidate<Kernels>> candidates)
      : candidates_(std::move(candidates)), fastest_(candidates_.front().table) {
    for (const Candidate<Kernels>& candidate : candidates_) {
      if (candidate.runs_here && candidate.by_default) fastest_ = candidate.table;
    }
    chosen_.store(fastest_, std::memory_order_relaxed);
  }

  // The table in use: the fastest this processor runs, unless use() chose another.
  const Kernels& kernels() const { return *chosen_.load(std::memory_order_relaxed); }
  std::string preferred() const { return fastest_->name; }

  std::vector<std::string> compiled() const {
    std::vector<std::string> names;
    for (const Candidate<Kernels>& candidate : candidates_) names.emplace_back(candidate.table->name);
    return names;
  }

  std::vector<std::string> supported() const {
    std::vector<std::string> names;
    for (const Candidate<Kernels>& candidate : candidates_) {
      if (candidate.runs_here) names.emplace_back(candidate.table->name);
    }
    return names;
  }

  // Returns false for a name that does not run here.
  bool use(const std::string& name) {
    for (const Candidate<Kernels>& candidate : candidates_) {
      if (candidate.runs_here && name == candidate.table->name) {
        chosen_.store(candidate.table, std::memory_order_relaxed);
        return true;
      }
    }
    return false;
  }

 private:
  std::vector<Candidate<Kernels>> candidates_;
  const Kernels* fastest_;
  std::atomic<const Kernels*> chosen_{nullptr};
};

}  // namespace serotine
