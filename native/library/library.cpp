// The C interface: checks its arguments, calls the core, and lets no exception out.
#include "../include/serotine.h"

#include <algorithm>
#include <cstdint>
#include <new>
#include <vector>

#include "../common/thread_pool.hpp"
#include "dispatch.hpp"
#include "kernels.hpp"
#include "maxsim.hpp"

namespace {

using serotine::maxsim::Dtype;
using serotine::maxsim::Outcome;
using serotine::maxsim::Ranges;
using serotine::maxsim::Tokens;

// int8 products summed in int32 stay exact up to this dimension.
constexpr std::size_t kMaxInt8Dim = 65536;
constexpr std::size_t kMaxThreads = 1024;

template <class Body>
int guarded(const Body& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return SEROTINE_OUT_OF_MEMORY;
  } catch (...) {
    return SEROTINE_INTERNAL;
  }
}

bool aligned(const void* pointer, std::size_t size) { return reinterpret_cast<std::uintptr_t>(pointer) % size == 0; }

int check(const serotine_vectors* vectors) {
  if (vectors == nullptr) return SEROTINE_NULL_POINTER;
  if (vectors->dtype < SEROTINE_FLOAT32 || vectors->dtype > SEROTINE_INT8) return SEROTINE_BAD_DTYPE;
  const bool scaled = vectors->dtype == SEROTINE_INT8;
  if (vectors->dim == 0 || (scaled && vectors->dim > kMaxInt8Dim)) return SEROTINE_BAD_DIM;
  if (vectors->tokens == 0) return SEROTINE_OK;
  if (vectors->values == nullptr || (scaled && vectors->scales == nullptr)) return SEROTINE_NULL_POINTER;
  if (!aligned(vectors->values, serotine::maxsim::bytes_of(static_cast<Dtype>(vectors->dtype)))) {
    return SEROTINE_UNALIGNED;
  }
  if (scaled && !aligned(vectors->scales, sizeof(float))) return SEROTINE_UNALIGNED;
  return SEROTINE_OK;
}

int check_pair(const serotine_vectors* query, const serotine_vectors* documents) {
  if (const int code = check(query); code != SEROTINE_OK) return code;
  if (const int code = check(documents); code != SEROTINE_OK) return code;
  if ((query->dtype == SEROTINE_INT8) != (documents->dtype == SEROTINE_INT8)) return SEROTINE_BAD_DTYPE;
  return query->dim == documents->dim ? SEROTINE_OK : SEROTINE_BAD_DIM;
}

int check_offsets(const std::int64_t* offsets, std::size_t count, std::size_t tokens) {
  if (offsets == nullptr) return SEROTINE_NULL_POINTER;
  std::int64_t last = 0;
  for (std::size_t i = 0; i <= count; ++i) {
    if (offsets[i] < last) return SEROTINE_BAD_OFFSETS;
    last = offsets[i];
  }
  return static_cast<std::uint64_t>(last) <= tokens ? SEROTINE_OK : SEROTINE_BAD_OFFSETS;
}

Tokens tokens_of(const serotine_vectors& vectors) {
  const auto dtype = static_cast<Dtype>(vectors.dtype);
  return {vectors.values, dtype, vectors.tokens, vectors.dim, dtype == Dtype::i8 ? vectors.scales : nullptr};
}

// One query as the core takes it: a matrix and the range of all its rows.
struct Query {
  explicit Query(const serotine_vectors& vectors)
      : tokens(tokens_of(vectors)), end(static_cast<std::int64_t>(vectors.tokens)) {}
  Ranges ranges() const { return {&begin, &end, 1}; }

  Tokens tokens;
  std::int64_t begin = 0;
  std::int64_t end;
};

int code_of(const Outcome& outcome) { return outcome.finite() ? SEROTINE_OK : SEROTINE_NOT_FINITE; }

}  // namespace

int serotine_maxsim(const serotine_vectors* query, const serotine_vectors* document, float* score) {
  return serotine_maxsim_many(query, document, 1, score);
}

int serotine_maxsim_packed(const serotine_vectors* query, const serotine_vectors* documents, const int64_t* offsets,
                           size_t count, float* scores) {
  return guarded([&] {
    if (const int code = check_pair(query, documents); code != SEROTINE_OK) return code;
    if (const int code = check_offsets(offsets, count, documents->tokens); code != SEROTINE_OK) return code;
    if (count == 0) return SEROTINE_OK;
    if (scores == nullptr) return SEROTINE_NULL_POINTER;
    const Query one(*query);
    const Ranges ranges{offsets, offsets + 1, count};
    return code_of(serotine::maxsim::score_grid(one.tokens, one.ranges(), tokens_of(*documents), ranges, scores,
                                                nullptr, 0));
  });
}

int serotine_maxsim_many(const serotine_vectors* query, const serotine_vectors* documents, size_t count,
                         float* scores) {
  return guarded([&] {
    if (const int code = check(query); code != SEROTINE_OK) return code;
    if (count == 0) return SEROTINE_OK;
    if (documents == nullptr || scores == nullptr) return SEROTINE_NULL_POINTER;
    for (std::size_t i = 0; i < count; ++i) {
      if (const int code = check_pair(query, documents + i); code != SEROTINE_OK) return code;
      if (documents[i].dtype != documents[0].dtype) return SEROTINE_BAD_DTYPE;
    }
    std::vector<std::int64_t> begin(count, 0);
    std::vector<std::int64_t> end(count);
    std::vector<const void*> bases(count);
    std::vector<const float*> scale_bases(count);
    for (std::size_t i = 0; i < count; ++i) {
      end[i] = static_cast<std::int64_t>(documents[i].tokens);
      bases[i] = documents[i].values;
      scale_bases[i] = documents[i].scales;
    }
    const Query one(*query);
    const Tokens shape{nullptr, static_cast<Dtype>(documents[0].dtype), 0, query->dim, nullptr};
    const bool scaled = shape.dtype == Dtype::i8;
    const Ranges ranges{begin.data(), end.data(), count, bases.data(), scaled ? scale_bases.data() : nullptr};
    return code_of(serotine::maxsim::score_grid(one.tokens, one.ranges(), shape, ranges, scores, nullptr, 0));
  });
}

int serotine_top_k(const serotine_vectors* query, const serotine_vectors* documents, const int64_t* offsets,
                   size_t count, const uint8_t* keep, size_t k, float* scores, int64_t* numbers, size_t* found) {
  return guarded([&] {
    if (const int code = check_pair(query, documents); code != SEROTINE_OK) return code;
    if (const int code = check_offsets(offsets, count, documents->tokens); code != SEROTINE_OK) return code;
    if (k == 0) return SEROTINE_BAD_K;
    if (scores == nullptr || numbers == nullptr || found == nullptr) return SEROTINE_NULL_POINTER;
    std::size_t available = count;
    if (keep != nullptr) {
      available = count - static_cast<std::size_t>(std::count(keep, keep + count, std::uint8_t{0}));
    }
    *found = std::min(k, available);
    if (*found == 0) return SEROTINE_OK;
    const Query one(*query);
    const Ranges ranges{offsets, offsets + 1, count};
    return code_of(serotine::maxsim::top_k(one.tokens, one.ranges(), tokens_of(*documents), ranges, keep, *found,
                                           scores, numbers));
  });
}

uint32_t serotine_abi_version(void) { return SEROTINE_ABI_VERSION; }

const char* serotine_version(void) { return SEROTINE_VERSION; }

const char* serotine_instruction_set(void) {
  const char* name = "";
  guarded([&] {
    name = serotine::maxsim::kernels().name;
    return SEROTINE_OK;
  });
  return name;
}

int serotine_set_instruction_set(const char* name) {
  return guarded([&] {
    if (name == nullptr) return SEROTINE_NULL_POINTER;
    return serotine::maxsim::use(name) ? SEROTINE_OK : SEROTINE_BAD_INSTRUCTION_SET;
  });
}

size_t serotine_threads(void) {
  std::size_t count = 1;
  guarded([&] {
    count = serotine::num_threads();
    return SEROTINE_OK;
  });
  return count;
}

int serotine_set_threads(size_t count) {
  return guarded([&] {
    if (count < 1 || count > kMaxThreads) return SEROTINE_BAD_THREADS;
    serotine::set_num_threads(count);
    return SEROTINE_OK;
  });
}

const char* serotine_message(int code) {
  switch (code) {
    case SEROTINE_OK:
      return "ok";
    case SEROTINE_NULL_POINTER:
      return "a pointer is null that must not be";
    case SEROTINE_BAD_DTYPE:
      return "dtype: unknown, or int8 with floats";
    case SEROTINE_BAD_DIM:
      return "dim: must be at least 1, at most 65536 for int8, and the query's";
    case SEROTINE_BAD_OFFSETS:
      return "offsets: must not decrease, and must be between 0 and the number of tokens";
    case SEROTINE_UNALIGNED:
      return "values and scales must be at a multiple of their size in memory";
    case SEROTINE_NOT_FINITE:
      return "query or documents contain NaN, infinity or values whose dot product overflows float32";
    case SEROTINE_OUT_OF_MEMORY:
      return "out of memory";
    case SEROTINE_BAD_INSTRUCTION_SET:
      return "this library does not have the instruction set, or this processor cannot run it";
    case SEROTINE_BAD_THREADS:
      return "threads: must be between 1 and 1024";
    case SEROTINE_BAD_K:
      return "k: must be at least 1";
    case SEROTINE_INTERNAL:
      return "internal error";
    default:
      return "unknown code";
  }
}
