// One persistent pool of worker threads for the whole process.
//
// The calling thread always works too. While one caller uses the pool, any other caller runs its work alone on
// its own thread: a server with many request threads is never oversubscribed. A forked child starts with a
// fresh pool.
#pragma once

#include <cstddef>
#include <functional>

namespace serotine {

// Threads used by parallel_for, the caller included; at least 1.
std::size_t num_threads();
void set_num_threads(std::size_t count);

// While one exists, parallel_for calls of this thread call `check` about every 50 ms, between items and while they wait
// for other threads; it may throw to end them early.
class Interruptible {
 public:
  explicit Interruptible(void (*check)());
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

 private:
  void (*outer_)();
};

// Calls body(item, worker) for every item in [0, items), on at most `workers` threads numbered from 0. Items are
// handed out in order, one at a time. The first exception, of `body` or of a check, ends the call: no further items are
// handed out, and it is rethrown once those in progress are done.
void parallel_for(std::size_t items, std::size_t workers,
                  const std::function<void(std::size_t item, std::size_t worker)>& body);

}  // namespace serotine
