#include "thread_pool.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "platform.hpp"

namespace serotine {
namespace {

constexpr auto kCheckEvery = std::chrono::milliseconds(50);

// Thrown in a thread that helps a call which has ended early.
struct Ended {};

// What ends the work of this thread early: its own check, or the end of the call that it helps.
struct Interruption {
  void (*check)() = nullptr;
  std::chrono::steady_clock::time_point next;
  const std::atomic<bool>* ended = nullptr;

  void poll() {
    if (ended != nullptr && ended->load(std::memory_order_relaxed)) throw Ended();
    if (check == nullptr) return;
    const auto now = std::chrono::steady_clock::now();
    if (now < next) return;
    next = now + kCheckEvery;
    check();
  }
};

thread_local Interruption interruption;
// Whether this thread runs an item of the pool: calls inside one run on its thread alone.
thread_local bool is_inside = false;

class Pool {
 public:
  std::size_t size() const { return size_.load(std::memory_order_relaxed); }

  void resize(std::size_t count) {
    const std::lock_guard<std::mutex> turn(turn_);
    size_.store(std::max<std::size_t>(count, 1), std::memory_order_relaxed);
    if (threads_.size() + 1 > size()) stop();
  }

  void run(std::size_t items, std::size_t workers, const std::function<void(std::size_t, std::size_t)>& body) {
    std::unique_lock<std::mutex> turn(turn_, std::defer_lock);
    if (items <= 1 || workers <= 1 || size() <= 1 || is_inside || !turn.try_lock()) {
      for (std::size_t i = 0; i < items; ++i) {
        interruption.poll();
        body(i, 0);
      }
      return;
    }
    start();
    ended_.store(false, std::memory_order_relaxed);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      body_ = &body;
      items_ = items;
      next_.store(0, std::memory_order_relaxed);
      helpers_needed_ = std::min({threads_.size(), items - 1, workers - 1});
      helpers_joined_ = 0;
      helpers_busy_ = 0;
      ++generation_;
    }
    wake_.notify_all();
    is_inside = true;
    work(body, 0);
    is_inside = false;
    {
      // Helpers that have not joined yet will find no work; wait only for those that have.
      const std::lock_guard<std::mutex> lock(mutex_);
      helpers_needed_ = 0;
    }
    spin_until([this] { return helpers_busy_.load(std::memory_order_acquire) == 0; });
    std::unique_lock<std::mutex> lock(mutex_);
    while (!idle_.wait_for(lock, kCheckEvery, [this] { return helpers_busy_ == 0; })) {
      lock.unlock();
      try {
        interruption.poll();
      } catch (...) {
        end(std::current_exception());
      }
      lock.lock();
    }
    body_ = nullptr;
    const std::exception_ptr error = std::exchange(error_, nullptr);
    lock.unlock();
    turn.unlock();
    if (error != nullptr) std::rethrow_exception(error);
  }

  ~Pool() { stop(); }

 private:
  void work(const std::function<void(std::size_t, std::size_t)>& body, std::size_t worker) {
    try {
      while (!ended_.load(std::memory_order_relaxed)) {
        const std::size_t item = next_.fetch_add(1, std::memory_order_relaxed);
        if (item >= items_) return;
        interruption.poll();
        body(item, worker);
      }
    } catch (...) {
      end(std::current_exception());
    }
  }

  void end(std::exception_ptr error) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (error_ == nullptr) error_ = std::move(error);
    ended_.store(true, std::memory_order_relaxed);
  }

  // Waking a sleeping thread takes tens of microseconds, as long as a small call: threads spin first, so that calls in
  // quick succession wake nobody. Bounded, so that an idle process soon stops using the processor.
  template <class Condition>
  static void spin_until(const Condition& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(100);
    while (!condition() && std::chrono::steady_clock::now() < end) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
  }

  void start() {
    while (threads_.size() + 1 < size()) {
      threads_.emplace_back([this] { help(); });
    }
  }

  void stop() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    stopping_ = false;
  }

  void help() {
    interruption.ended = &ended_;
    is_inside = true;
    std::uint64_t last_generation = 0;
    for (;;) {
      spin_until([&] { return generation_.load(std::memory_order_acquire) != last_generation; });
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || (generation_ != last_generation && body_ != nullptr); });
      if (stopping_) return;
      last_generation = generation_;
      if (helpers_joined_ >= helpers_needed_) continue;
      const std::size_t worker = ++helpers_joined_;
      ++helpers_busy_;
      const auto* body = body_;
      lock.unlock();
      work(*body, worker);
      lock.lock();
      if (--helpers_busy_ == 0) idle_.notify_one();
    }
  }

  static std::size_t default_size() {
    const std::size_t allowed = allowed_processors();
    return allowed > 0 ? allowed : std::max(std::thread::hardware_concurrency(), 1u);
  }

  std::mutex turn_;  // held by the caller that uses the pool
  std::atomic<std::size_t> size_{default_size()};
  std::vector<std::thread> threads_;

  std::mutex mutex_;  // guards all below but next_; the other atomics are also read without it, to spin on
  std::condition_variable wake_;
  std::condition_variable idle_;
  const std::function<void(std::size_t, std::size_t)>* body_ = nullptr;
  std::size_t items_ = 0;
  std::atomic<std::size_t> next_{0};
  std::size_t helpers_needed_ = 0;
  std::size_t helpers_joined_ = 0;
  std::atomic<std::size_t> helpers_busy_{0};
  std::atomic<std::uint64_t> generation_{0};
  bool stopping_ = false;
  std::atomic<bool> ended_{false};
  std::exception_ptr error_;
};

std::atomic<Pool*> the_pool{nullptr};

Pool& pool() {
  Pool* existing = the_pool.load(std::memory_order_acquire);
  if (existing != nullptr) return *existing;
  // Never destroyed: worker threads may outlive static destruction order at exit.
  auto* created = new Pool();
  if (!the_pool.compare_exchange_strong(existing, created)) {
    delete created;
    return *existing;
  }
  after_fork([] {
    // The child has none of the parent's threads, and a mutex may have been held: start a new pool of the same size.
    Pool* parent = the_pool.load();
    auto* fresh = new Pool();
    if (parent != nullptr) fresh->resize(parent->size());
    the_pool.store(fresh);
  });
  return *created;
}

}  // namespace

Interruptible::Interruptible(void (*check)()) : outer_(interruption.check) {
  interruption.check = check;
  interruption.next = std::chrono::steady_clock::now() + kCheckEvery;
}

Interruptible::~Interruptible() { interruption.check = outer_; }

std::size_t num_threads() { return pool().size(); }

void set_num_threads(std::size_t count) { pool().resize(count); }

void parallel_for(std::size_t items, std::size_t workers,
                  const std::function<void(std::size_t, std::size_t)>& body) {
  pool().run(items, workers, body);
}

}  // namespace serotine
