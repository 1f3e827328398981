// How the work of a call is cut into pieces for threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "../common/thread_pool.hpp"

namespace serotine::maxsim {

// Work (in multiply-adds) below which another thread costs more than it saves.
constexpr double kWorthSharing = 2e6;

// Cuts [0, count) into ranges of roughly equal work; work(i) is the work of item i.
template <class Work>
std::vector<std::size_t> cut(std::size_t count, const Work& work) {
  double total = 0.0;
  for (std::size_t i = 0; i < count; ++i) total += work(i);
  // Sixteen pieces per thread even out documents of different lengths; every piece is worth a thread's time.
  const double piece = std::max(total / (16.0 * static_cast<double>(num_threads())), kWorthSharing);
  std::vector<std::size_t> starts = {0};
  double accumulated = 0.0;
  for (std::size_t i = 0; i < count; ++i) {
    accumulated += work(i);
    if (accumulated >= piece && i + 1 < count) {
      starts.push_back(i + 1);
      accumulated = 0.0;
    }
  }
  starts.push_back(count);
  return starts;
}

}  // namespace serotine::maxsim
