// Queries laid across vector lanes, once per call.
#pragma once

#include <cstdint>
#include <vector>

#include "../common/aligned.hpp"
#include "kernels.hpp"
#include "maxsim.hpp"

namespace serotine::maxsim {

// How the products of a call are computed: fp32 (f16 and bf16 documents are widened a block at a time), native
// bf16, or int8.
enum class Path { f32, bf16, i8 };

struct PreparedQuery {
  std::size_t tokens = 0;
  std::size_t vectors = 0;
  std::size_t lanes = 0;
  std::size_t width = 0;         // index into Kernels::f32
  std::size_t data = 0;          // byte offset of [vectors][steps][lanes][group] elements
  std::size_t bias = 0;          // element offset of [vectors * lanes] int32 (Path::i8)
  const float* scales = nullptr;  // [tokens] (Path::i8)
};

class PreparedQueries {
 public:
  PreparedQueries(const Kernels& kernels, const Tokens& tokens, const Ranges& ranges, Dtype documents);

  Path path() const { return path_; }
  std::size_t steps() const { return steps_; }
  std::size_t count() const { return queries_.size(); }
  const PreparedQuery& operator[](std::size_t i) const { return queries_[i]; }
  const void* data(const PreparedQuery& query) const { return data_.data() + query.data; }
  const std::int32_t* bias(const PreparedQuery& query) const { return bias_.data() + query.bias; }
  std::size_t tokens() const { return tokens_; }
  // The first query with a value that is not finite, or -1.
  std::int64_t first_nonfinite() const { return first_nonfinite_; }

 private:
  Path path_;
  std::size_t steps_ = 0;
  std::size_t tokens_ = 0;
  std::int64_t first_nonfinite_ = -1;
  std::vector<PreparedQuery> queries_;
  Aligned<std::uint8_t> data_;
  Aligned<std::int32_t> bias_;
};

}  // namespace serotine::maxsim
