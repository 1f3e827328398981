// Memory aligned to a cache line, so that vector loads never straddle two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace serotine {

constexpr std::size_t kHugePage = std::size_t{1} << 21;
constexpr std::size_t kMostBytes = std::size_t{1} << 62;
constexpr std::size_t kLargeBytes = std::size_t{1} << 18;

template <class T>
struct AlignedAllocator {
  using value_type = T;
  static constexpr std::align_val_t alignment{64};
  AlignedAllocator() = default;
  template <class U>
  explicit AlignedAllocator(const AlignedAllocator<U>&) {}
  T* allocate(std::size_t count) {
    if (count > kMostBytes / sizeof(T)) throw std::bad_array_new_length();
    const std::size_t bytes = count * sizeof(T);
    if (bytes < kLargeBytes) return static_cast<T*>(::operator new(bytes, alignment));
    // Random reads of a large table miss the TLB on small pages.
    void* memory = ::operator new((bytes + kHugePage - 1) / kHugePage * kHugePage, std::align_val_t{kHugePage});
#if defined(__linux__)
    madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t count) {
    ::operator delete(memory, count * sizeof(T) < kLargeBytes ? alignment : std::align_val_t{kHugePage});
  }
  // Growing leaves new elements uninitialized: use assign() for zeros.
  template <class U>
  void construct(U* at) {
    ::new (static_cast<void*>(at)) U;
  }
  template <class U, class... Arguments>
  void construct(U* at, Arguments&&... arguments) {
    ::new (static_cast<void*>(at)) U(std::forward<Arguments>(arguments)...);
  }
  bool operator==(const AlignedAllocator&) const { return true; }
};

template <class T>
using Aligned = std::vector<T, AlignedAllocator<T>>;

}  // namespace serotine
