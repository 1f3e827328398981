// Several callers share the pool while its size changes, and some of their calls end early; built with ThreadSanitizer.
#include "../../native/common/thread_pool.hpp"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <thread>
#include <vector>

namespace {

struct Interrupted {};

// An exception of an item, on any thread, reaches the caller; calls after it are complete.
long failures_of_exceptions() {
  long wrong = 0;
  for (int call = 0; call < 300; ++call) {
    std::atomic<int> started{0};
    bool caught = false;
    try {
      serotine::parallel_for(1000, 4, [&](std::size_t item, std::size_t) {
        ++started;
        if (item == static_cast<std::size_t>(call % 50)) throw std::runtime_error("an item failed");
      });
    } catch (const std::runtime_error&) {
      caught = true;
    }
    wrong += !caught;
    std::atomic<int> done{0};
    serotine::parallel_for(100, 4, [&](std::size_t, std::size_t) { ++done; });
    wrong += done != 100;
  }
  return wrong;
}

// A check ends calls between items, also those inside items that helpers run.
long failures_of_checks() {
  long wrong = 0;
  const auto slow = [](std::size_t, std::size_t) { std::this_thread::sleep_for(std::chrono::milliseconds(2)); };
  for (const bool nested : {false, true}) {
    const auto start = std::chrono::steady_clock::now();
    bool caught = false;
    try {
      const serotine::Interruptible interruptible([] { throw Interrupted(); });
      serotine::parallel_for(nested ? 8 : 4000, 4, [&](std::size_t item, std::size_t worker) {
        if (nested) {
          serotine::parallel_for(4000, 4, slow);
        } else {
          slow(item, worker);
        }
      });
    } catch (const Interrupted&) {
      caught = true;
    }
    wrong += !caught || std::chrono::steady_clock::now() - start > std::chrono::seconds(1);
  }
  return wrong;
}

}  // namespace

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
  serotine::set_num_threads(4);
  wrong += failures_of_exceptions() + failures_of_checks();
  std::printf("%d passed, %ld failed\n", wrong == 0 ? 1 : 0, wrong.load());
  return wrong == 0 ? 0 : 1;
}
