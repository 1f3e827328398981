// Several callers share the pool while its size changes; built with ThreadSanitizer.
#include "../../native/common/thread_pool.hpp"

#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

int main() {
  constexpr int kCallers = 3, kCalls = 1500;
  constexpr std::size_t kItems = 37;
  serotine::set_num_threads(4);
  std::atomic<long> wrong{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < kCallers; ++c) {
    callers.emplace_back([&] {
      for (int call = 0; call < kCalls; ++call) {
        // Plain ints: an item handed out twice, or read before it is done, is a race ThreadSanitizer sees.
        std::vector<int> hits(kItems, 0);
        serotine::parallel_for(kItems, 4, [&](std::size_t item, std::size_t) { ++hits[item]; });
        for (const int hit : hits) wrong += hit != 1;
        if (call % 500 == 0) serotine::set_num_threads(static_cast<std::size_t>(2 + call / 500));
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  std::printf("%d passed, %ld failed\n", wrong == 0 ? 1 : 0, wrong.load());
  return wrong == 0 ? 0 : 1;
}
