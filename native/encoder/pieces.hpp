// Working memory, handed out piece by piece.
#pragma once

#include "kernels.hpp"

namespace serotine::encoder {
namespace {

// Hands out pieces of one block of memory, each on a cache line of its own. Without memory it only counts.
class Pieces {
 public:
  explicit Pieces(unsigned char* memory) : memory_(memory) {}
  template <class T>
  T* take(std::size_t count) {
    const std::size_t first = used_;
    used_ += Workspace::bytes<T>(count);
    return memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + first);
  }
  std::size_t used() const { return used_; }

 private:
  unsigned char* memory_;
  std::size_t used_ = 0;
};

}  // namespace
}  // namespace serotine::encoder
