// The tile loops every instruction set shares, written over a small vector type `F` (floats) or `I` (int8).
//
// All of it has internal linkage: each instruction-set file compiles its own copy with its own machine flags,
// and the linker must never merge them. For the same reason nothing from the standard library is used.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"

namespace serotine::maxsim {
namespace {

// Asks for the line at `at`: into the first-level cache while a tile leaves room there, else only into the second.
inline void fetch(const char* at, bool near) {
  if (near) {
    __builtin_prefetch(at, 0, 3);
  } else {
    __builtin_prefetch(at, 0, 2);
  }
}

// A tile of rows up to this size shares the first-level cache with the query and with the tile after it.
constexpr std::size_t kNearBytes = 8192;

// T document tokens against V query vectors: T*V accumulators stay in registers.
//
// F provides: Reg, Mask, Index (a register of int32), lanes, Query and Token (element types of the prepared
// query and of the document), group (dimensions a step), zero(), load(), store(), load_query(), broadcast(),
// fma(), madd() (acc + query step x document step), max(new, old) (old where new is NaN), greater(), and
// set_index/load_index/store_index/select.
//
// Each step asks for `ahead_step` bytes of what comes next, starting at `ahead` (see Ahead in kernels.hpp). Past
// the end of the documents that is unowned memory, which a prefetch may address.
template <class F, int T, int V, bool Where>
inline void float_tile(const typename F::Query* query, std::size_t steps, const typename F::Token* tokens,
                       std::size_t stride, const char* ahead, std::size_t ahead_step, std::int32_t first,
                       float* best, std::int32_t* where, typename F::Reg& check) {
  typename F::Reg acc[T][V];
#pragma GCC unroll 24
  for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[t][v] = F::zero();
  }
  const std::size_t vector = steps * F::lanes * F::group;
  const bool near = T * stride * sizeof(typename F::Token) <= kNearBytes;
  for (std::size_t s = 0; s < steps; ++s) {
    fetch(ahead + s * ahead_step, near);
    typename F::Packed q[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) q[v] = F::load_query(query + v * vector + s * F::lanes * F::group);
#pragma GCC unroll 24
    for (int t = 0; t < T; ++t) {
      const typename F::Packed x = F::broadcast(tokens + t * stride + s * F::group);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[t][v] = F::madd(q[v], x, acc[t][v]);
    }
  }
  const typename F::Reg zero = F::zero();
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    typename F::Reg top = F::load(best + v * F::lanes);
    if constexpr (Where) {
      typename F::Index winner = F::load_index(where + v * F::lanes);
#pragma GCC unroll 24
      for (int t = 0; t < T; ++t) {
        const auto wins = F::greater(acc[t][v], top);
        winner = F::select(wins, F::set_index(first + t), winner);
        top = F::max(acc[t][v], top);
        check = F::fma(acc[t][v], zero, check);
      }
      F::store_index(where + v * F::lanes, winner);
    } else {
#pragma GCC unroll 24
      for (int t = 0; t < T; ++t) {
        top = F::max(acc[t][v], top);
        // 0 x finite is 0; 0 x (NaN or infinity) is NaN and stays. One instruction an accumulator buys the
        // non-finite check for the whole input, without a second pass over memory.
        check = F::fma(acc[t][v], zero, check);
      }
    }
    F::store(best + v * F::lanes, top);
  }
}

// Calls tile<count> for a count known only at run time, 1 <= count <= T.
template <class F, int T, int V, bool Where>
inline void float_tile_of(int count, const typename F::Query* query, std::size_t steps,
                          const typename F::Token* tokens, std::size_t stride, const char* ahead,
                          std::size_t ahead_step, std::int32_t first, float* best, std::int32_t* where,
                          typename F::Reg& check) {
  if constexpr (T > 0) {
    if (count == T) {
      float_tile<F, T, V, Where>(query, steps, tokens, stride, ahead, ahead_step, first, best, where, check);
    } else {
      float_tile_of<F, T - 1, V, Where>(count, query, steps, tokens, stride, ahead, ahead_step, first, best,
                                        where, check);
    }
  }
}

// How many tokens the next tile takes. The last two tiles share the rest evenly: a tile of one token would
// wait for the latency of its own additions.
inline int next_tile(std::size_t remaining, int T) {
  if (remaining <= static_cast<std::size_t>(T)) return static_cast<int>(remaining);
  if (remaining < 2 * static_cast<std::size_t>(T)) return static_cast<int>((remaining + 1) / 2);
  return T;
}

template <class F, int T, int V, bool Where>
inline bool float_fold_loop(const typename F::Query* query, std::size_t vectors, std::size_t steps,
                            const typename F::Token* tokens, std::size_t stride, Ahead ahead, std::size_t count,
                            std::int32_t first, float* best, std::int32_t* where) {
  typename F::Reg check = F::zero();
  const std::size_t ahead_step = steps == 0 ? 0 : T * ahead.row_bytes / steps;
  const std::size_t vector = steps * F::lanes * F::group;
  for (std::size_t done = 0; done < count;) {
    const int now = next_tile(count - done, T);
    const typename F::Token* at = tokens + done * stride;
    const std::int32_t number = first + static_cast<std::int32_t>(done);
    const char* next = ahead.at + done * ahead.row_bytes;
    std::size_t v = 0;
    for (; v + V <= vectors; v += V) {
      float_tile_of<F, T, V, Where>(now, query + v * vector, steps, at, stride, next, ahead_step, number,
                                    best + v * F::lanes, Where ? where + v * F::lanes : nullptr, check);
    }
    if constexpr (V > 1) {
      for (; v < vectors; ++v) {
        float_tile_of<F, T, 1, Where>(now, query + v * vector, steps, at, stride, next, ahead_step, number,
                                      best + v * F::lanes, Where ? where + v * F::lanes : nullptr, check);
      }
    }
    done += static_cast<std::size_t>(now);
  }
  return F::all_zero(check);
}

// The entry a Kernels table holds.
template <class F, int T, int V>
bool float_fold(const void* query, std::size_t vectors, std::size_t steps, const void* tokens,
                std::size_t stride_bytes, Ahead ahead, std::size_t count, std::int32_t first, float* best,
                std::int32_t* where) {
  const auto* q = static_cast<const typename F::Query*>(query);
  const auto* x = static_cast<const typename F::Token*>(tokens);
  const std::size_t stride = stride_bytes / sizeof(typename F::Token);
  if (where != nullptr) {
    return float_fold_loop<F, T, V, true>(q, vectors, steps, x, stride, ahead, count, first, best, where);
  }
  return float_fold_loop<F, T, V, false>(q, vectors, steps, x, stride, ahead, count, first, best, nullptr);
}

// The int32 sums of T document tokens against V query vectors, exact. Inlined whatever the compiler thinks, so that they
// stay in registers. I provides what F does, with Sum (a register of int32), load_sum(), dot(), scaled(sum, scale) and
// plus(value, offset).
template <class I, int T, int V>
__attribute__((always_inline)) inline void int8_sums(typename I::Sum (&acc)[T][V], const typename I::Query* query,
                                                     const std::int32_t* bias, std::size_t steps,
                                                     const typename I::Token* tokens, std::size_t stride,
                                                     const char* ahead, std::size_t ahead_step) {
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    const typename I::Sum start = I::load_sum(bias + v * I::lanes);
#pragma GCC unroll 24
    for (int t = 0; t < T; ++t) acc[t][v] = start;
  }
  const std::size_t vector = steps * I::lanes * I::group;
  const bool near = T * stride * sizeof(typename I::Token) <= kNearBytes;
  for (std::size_t s = 0; s < steps; ++s) {
    fetch(ahead + s * ahead_step, near);
    typename I::Packed q[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) q[v] = I::load_query(query + v * vector + s * I::lanes * I::group);
#pragma GCC unroll 24
    for (int t = 0; t < T; ++t) {
      const typename I::Packed x = I::broadcast(tokens + t * stride + s * I::group);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) I::dot(acc[t][v], q[v], x);
    }
  }
}

// The int8 tile: one multiplication of a sum by its token's scale before the maximum, and one addition where there are
// offsets.
template <class I, int T, int V, bool Where>
inline void int8_tile(const typename I::Query* query, const std::int32_t* bias, std::size_t steps,
                      const typename I::Token* tokens, std::size_t stride, const char* ahead,
                      std::size_t ahead_step, const float* scales, const float* offsets, std::int32_t first, float* best,
                      std::int32_t* where) {
  typename I::Sum acc[T][V];
  int8_sums<I, T, V>(acc, query, bias, steps, tokens, stride, ahead, ahead_step);
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    typename I::Reg top = I::load(best + v * I::lanes);
    if constexpr (Where) {
      typename I::Index winner = I::load_index(where + v * I::lanes);
#pragma GCC unroll 24
      for (int t = 0; t < T; ++t) {
        const typename I::Reg sum = I::scaled(acc[t][v], scales[t]);
        const typename I::Reg value = offsets == nullptr ? sum : I::plus(sum, offsets[t]);
        winner = I::select(I::greater(value, top), I::set_index(first + t), winner);
        top = I::max(value, top);
      }
      I::store_index(where + v * I::lanes, winner);
    } else if (offsets == nullptr) {
#pragma GCC unroll 24
      for (int t = 0; t < T; ++t) top = I::max(I::scaled(acc[t][v], scales[t]), top);
    } else {
#pragma GCC unroll 24
      for (int t = 0; t < T; ++t) top = I::max(I::plus(I::scaled(acc[t][v], scales[t]), offsets[t]), top);
    }
    I::store(best + v * I::lanes, top);
  }
}

template <class I, int T, int V, bool Where>
inline void int8_tile_of(int count, const typename I::Query* query, const std::int32_t* bias,
                         std::size_t steps, const typename I::Token* tokens, std::size_t stride,
                         const char* ahead, std::size_t ahead_step, const float* scales, const float* offsets,
                         std::int32_t first, float* best, std::int32_t* where) {
  if constexpr (T > 0) {
    if (count == T) {
      int8_tile<I, T, V, Where>(query, bias, steps, tokens, stride, ahead, ahead_step, scales, offsets, first, best,
                                where);
    } else {
      int8_tile_of<I, T - 1, V, Where>(count, query, bias, steps, tokens, stride, ahead, ahead_step, scales, offsets,
                                       first, best, where);
    }
  }
}

template <class I, int T, int V, bool Where>
inline void int8_fold_loop(const typename I::Query* query, const std::int32_t* bias, std::size_t vectors,
                           std::size_t steps, const typename I::Token* tokens, std::size_t stride, Ahead ahead,
                           const float* scales, const float* offsets, std::size_t count, std::int32_t first,
                           float* best, std::int32_t* where) {
  const std::size_t vector = steps * I::lanes * I::group;
  const std::size_t ahead_step = steps == 0 ? 0 : T * ahead.row_bytes / steps;
  for (std::size_t done = 0; done < count;) {
    const int now = next_tile(count - done, T);
    const typename I::Token* at = tokens + done * stride;
    const std::int32_t number = first + static_cast<std::int32_t>(done);
    const char* next = ahead.at + done * ahead.row_bytes;
    const float* added = offsets == nullptr ? nullptr : offsets + done;
    std::size_t v = 0;
    for (; v + V <= vectors; v += V) {
      int8_tile_of<I, T, V, Where>(now, query + v * vector, bias + v * I::lanes, steps, at, stride,
                                   next, ahead_step, scales + done, added, number, best + v * I::lanes,
                                   Where ? where + v * I::lanes : nullptr);
    }
    if constexpr (V > 1) {
      for (; v < vectors; ++v) {
        int8_tile_of<I, T, 1, Where>(now, query + v * vector, bias + v * I::lanes, steps, at, stride,
                                     next, ahead_step, scales + done, added, number, best + v * I::lanes,
                                     Where ? where + v * I::lanes : nullptr);
      }
    }
    done += static_cast<std::size_t>(now);
  }
}

template <class I, int T, int V>
void int8_fold(const void* query, const std::int32_t* bias, std::size_t vectors, std::size_t steps,
               const void* tokens, std::size_t stride_bytes, Ahead ahead, const float* scales, const float* offsets,
               std::size_t count, std::int32_t first, float* best, std::int32_t* where) {
  const auto* q = static_cast<const typename I::Query*>(query);
  const auto* x = static_cast<const typename I::Token*>(tokens);
  const std::size_t stride = stride_bytes / sizeof(typename I::Token);
  if (where != nullptr) {
    int8_fold_loop<I, T, V, true>(q, bias, vectors, steps, x, stride, ahead, scales, offsets, count, first, best,
                                  where);
  } else {
    int8_fold_loop<I, T, V, false>(q, bias, vectors, steps, x, stride, ahead, scales, offsets, count, first, best,
                                   nullptr);
  }
}

// The products themselves, where nothing is folded: out[t][v * lanes + lane].
template <class I, int T, int V>
inline void int8_dots_tile(const typename I::Query* query, const std::int32_t* bias, std::size_t steps,
                           const typename I::Token* tokens, std::size_t stride, const float* scales, float* out,
                           std::size_t out_stride) {
  typename I::Sum acc[T][V];
  int8_sums<I, T, V>(acc, query, bias, steps, tokens, stride, reinterpret_cast<const char*>(tokens), 0);
#pragma GCC unroll 24
  for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) I::store(out + t * out_stride + v * I::lanes, I::scaled(acc[t][v], scales[t]));
  }
}

template <class I, int T, int V>
void int8_dots(const void* query, const std::int32_t* bias, std::size_t vectors, std::size_t steps, const void* tokens,
               std::size_t stride_bytes, const float* scales, std::size_t count, float* out, std::size_t out_stride) {
  const auto* q = static_cast<const typename I::Query*>(query);
  const auto* x = static_cast<const typename I::Token*>(tokens);
  const std::size_t stride = stride_bytes / sizeof(typename I::Token);
  const std::size_t vector = steps * I::lanes * I::group;
  std::size_t v = 0;
  for (; v + V <= vectors; v += V) {
    std::size_t t = 0;
    for (; t + T <= count; t += T) {
      int8_dots_tile<I, T, V>(q + v * vector, bias + v * I::lanes, steps, x + t * stride, stride, scales + t,
                              out + t * out_stride + v * I::lanes, out_stride);
    }
    for (; t < count; ++t) {
      int8_dots_tile<I, 1, V>(q + v * vector, bias + v * I::lanes, steps, x + t * stride, stride, scales + t,
                              out + t * out_stride + v * I::lanes, out_stride);
    }
  }
  if constexpr (V > 1) {
    for (; v < vectors; ++v) {
      for (std::size_t t = 0; t < count; ++t) {
        int8_dots_tile<I, 1, 1>(q + v * vector, bias + v * I::lanes, steps, x + t * stride, stride, scales + t,
                                out + t * out_stride + v * I::lanes, out_stride);
      }
    }
  }
}

// Staging for kernels that read int8 pairs widened to int16: rows padded with zeros to the stride.
inline void stage_int16(const std::int8_t* rows, std::size_t count, std::size_t dim, void* staged,
                        std::size_t stride_bytes) {
  auto* out = static_cast<std::int16_t*>(staged);
  const std::size_t stride = stride_bytes / 2;
  if (stride == dim) {
    // No padding: one long run, which the compiler vectorizes without a start and an end for every row.
    for (std::size_t i = 0; i < count * dim; ++i) out[i] = rows[i];
    return;
  }
  for (std::size_t r = 0; r < count; ++r) {
    for (std::size_t d = 0; d < dim; ++d) out[r * stride + d] = rows[r * dim + d];
    for (std::size_t d = dim; d < stride; ++d) out[r * stride + d] = 0;
  }
}

// Staging for kernels that read bytes; Offset 128 turns them unsigned.
template <int Offset>
inline void stage_bytes(const std::int8_t* rows, std::size_t count, std::size_t dim, void* staged,
                        std::size_t stride_bytes) {
  auto* out = static_cast<std::uint8_t*>(staged);
  if (stride_bytes == dim) {
    for (std::size_t i = 0; i < count * dim; ++i) {
      out[i] = static_cast<std::uint8_t>(rows[i]) ^ static_cast<std::uint8_t>(Offset);
    }
    return;
  }
  for (std::size_t r = 0; r < count; ++r) {
    for (std::size_t d = 0; d < dim; ++d) {
      out[r * stride_bytes + d] = static_cast<std::uint8_t>(rows[r * dim + d]) ^ static_cast<std::uint8_t>(Offset);
    }
    for (std::size_t d = dim; d < stride_bytes; ++d) out[r * stride_bytes + d] = Offset;
  }
}

}  // namespace
}  // namespace serotine::maxsim
