// The table of functions that an instruction set fills in: included by every instruction-set
// file, which are compiled with different machine flags, so no inline code with external linkage may be here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace serotine::maxsim {

// The memory read after the rows of this call: while row i is computed, `row_bytes` at `at` + i * `row_bytes` are
// prefetched. The hardware prefetcher does not follow a tile that reads many rows side by side.
struct Ahead {
  const char* at;
  std::size_t row_bytes;
};

// Folds `count` consecutive document tokens into the running maxima of one prepared query.
//   query    [vectors][steps][lanes] elements, as `Layout` says
//   best     [vectors * lanes] running maxima, read and written
//   where    null, or [vectors * lanes] the winning token so far, read and written
//   first    the number of the first of these tokens within its document
// Returns false when a dot product was NaN or infinite.
struct FloatFold {
  bool (*fold)(const void* query, std::size_t vectors, std::size_t steps, const void* tokens,
               std::size_t stride_bytes, Ahead ahead, std::size_t count, std::int32_t first, float* best,
               std::int32_t* where);
  std::size_t lanes;  // query tokens in one vector
};

// The same for int8 tokens staged by `stage`; `bias` [vectors * lanes] is where the int32 sums start. A token's similarities
// are its sums times its scale, plus its offset if `offsets` [count] is given.
struct Int8Fold {
  void (*fold)(const void* query, const std::int32_t* bias, std::size_t vectors, std::size_t steps,
               const void* tokens, std::size_t stride_bytes, Ahead ahead, const float* scales, const float* offsets,
               std::size_t count, std::int32_t first, float* best, std::int32_t* where);
  // The dot products without maxima, rows of vectors * lanes `out_stride` floats apart; null where there is no kernel.
  void (*dots)(const void* query, const std::int32_t* bias, std::size_t vectors, std::size_t steps, const void* tokens,
               std::size_t stride_bytes, const float* scales, std::size_t count, float* out, std::size_t out_stride);
  // Copies `count` rows of `dim` int8 into the form `fold` reads: `group` values a step, `stride_bytes` a row.
  void (*stage)(const std::int8_t* rows, std::size_t count, std::size_t dim, void* staged,
                std::size_t stride_bytes);
  std::size_t lanes;
  std::size_t group;    // dimensions consumed by one step
  std::size_t bytes;    // bytes of one staged value: 1 or 2
  std::int32_t offset;  // what `stage` adds to every value (128 where the document must be unsigned)
};

struct Kernels {
  const char* name;
  // Three vector widths, widest first, so that a short query does not pay for empty lanes; unused ones are null.
  FloatFold f32[3];
  // bf16 queries against bf16 documents without widening, two dimensions a step; null where not native.
  FloatFold bf16;
  Int8Fold i8;
  void (*widen_f16)(const std::uint16_t* in, std::size_t count, float* out);
  void (*widen_bf16)(const std::uint16_t* in, std::size_t count, float* out);
  // Writes the positions whose value is at least its threshold, in increasing order, and returns how many; `positions` has
  // room for one more than `count`.
  std::size_t (*reached)(const float* values, const float* thresholds, std::size_t count, std::uint32_t* positions);
};

// A base instruction set fills a whole table, an extension only what it adds: dispatch.cpp combines them.
extern const Kernels portable_kernels;
#if defined(SEROTINE_X86)
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;
extern const Int8Fold avx512_vnni_int8;
extern const FloatFold avx512_bf16_fold;
#if defined(SEROTINE_AMX)
extern const FloatFold amx_bf16_fold;
extern const Int8Fold amx_int8;
#endif
#endif
#if defined(SEROTINE_ARM)
extern const Kernels neon_kernels;
extern const Int8Fold neon_dotprod_int8;
#endif

}  // namespace serotine::maxsim
