#include "scorer.hpp"

#include <algorithm>
#include <limits>

#include "finite.hpp"

namespace serotine::maxsim {
namespace {

constexpr float kNoScore = -std::numeric_limits<float>::infinity();

// Tokens staged at a time for many queries: a larger block spreads the staging over all of them.
constexpr std::size_t kBlockForManyQueries = 144;
// How many rows ahead to prefetch when rows are read in place: a full tile.
constexpr std::size_t kRowsAhead = 12;
// Queries whose running maxima are held at a time.
constexpr std::size_t kQueriesPerPass = 64;

}  // namespace

Scorer::Scorer(const Kernels& kernels, const PreparedQueries& queries, const Tokens& documents, const Ranges& ranges)
    : kernels_(kernels), queries_(queries), documents_(documents), ranges_(ranges) {}

Scorer::Block Scorer::stage(std::size_t document, std::size_t first, std::size_t count, std::size_t block_rows) {
  const std::size_t dim = documents_.dim;
  const std::size_t row_bytes = dim * bytes_of(documents_.dtype);
  const std::size_t row = static_cast<std::size_t>(ranges_.begin[document]) + first;
  const void* base = ranges_.bases == nullptr ? documents_.data : ranges_.bases[document];
  const float* scales = ranges_.scale_bases == nullptr ? documents_.scales : ranges_.scale_bases[document];
  const auto* raw = static_cast<const char*>(base) + row * row_bytes;
  Block block{};
  block.count = count;
  block.first = static_cast<std::int32_t>(first);
  block.scales = scales == nullptr ? nullptr : scales + row;
  if (in_place()) {
    block.rows = raw;
    block.stride_bytes = row_bytes;
    block.ahead = {raw + kRowsAhead * row_bytes, row_bytes};
    return block;
  }
  // A constant distance, whatever the size of this block: every row is then prefetched once, across documents too.
  block.ahead = {raw + block_rows * row_bytes, row_bytes};
  if (queries_.path() == Path::i8) {
    const Int8Fold& i8 = kernels_.i8;
    block.stride_bytes = queries_.steps() * i8.group * i8.bytes;
    staged_.resize(std::max(staged_.size(), count * block.stride_bytes));
    i8.stage(reinterpret_cast<const std::int8_t*>(raw), count, dim, staged_.data(), block.stride_bytes);
  } else {
    block.stride_bytes = dim * sizeof(float);
    staged_.resize(std::max(staged_.size(), count * block.stride_bytes));
    const auto widen = documents_.dtype == Dtype::f16 ? kernels_.widen_f16 : kernels_.widen_bf16;
    widen(reinterpret_cast<const std::uint16_t*>(raw), count * dim, reinterpret_cast<float*>(staged_.data()));
  }
  block.rows = staged_.data();
  return block;
}

bool Scorer::fold(const PreparedQuery& query, const Block& block, float* best, std::int32_t* winners) const {
  const void* data = queries_.data(query);
  if (queries_.path() == Path::i8) {
    const bool finite = all_finite(block.scales, block.count);
    kernels_.i8.fold(data, queries_.bias(query), query.vectors, queries_.steps(), block.rows, block.stride_bytes,
                     block.ahead, block.scales, nullptr, block.count, block.first, best, winners);
    return finite;
  }
  const FloatFold& kernel = queries_.path() == Path::bf16 ? kernels_.bf16 : kernels_.f32[query.width];
  return kernel.fold(data, query.vectors, queries_.steps(), block.rows, block.stride_bytes, block.ahead, block.count,
                     block.first, best, winners);
}

bool Scorer::multiply(const PreparedQuery& query, const Block& block, float* rows) const {
  const std::size_t lanes = query.vectors * query.lanes;
  if (lanes == 0) return true;
  bool finite = true;
  if (queries_.path() == Path::i8 && kernels_.i8.dots != nullptr) {
    finite = all_finite(block.scales, block.count);
    kernels_.i8.dots(queries_.data(query), queries_.bias(query), query.vectors, queries_.steps(), block.rows,
                     block.stride_bytes, block.scales, block.count, rows, lanes);
  } else {
    // A running maximum that begins at -infinity and sees one token is that token's similarity.
    std::fill_n(rows, block.count * lanes, kNoScore);
    Block token = block;
    token.count = 1;
    for (std::size_t i = 0; i < block.count; ++i) {
      token.rows = static_cast<const char*>(block.rows) + i * block.stride_bytes;
      token.ahead.at = block.ahead.at + i * block.ahead.row_bytes;
      token.scales = block.scales == nullptr ? nullptr : block.scales + i;
      finite &= fold(query, token, rows + i * lanes, nullptr);
    }
  }
  if (query.scales != nullptr) {
    for (std::size_t i = 0; i < block.count; ++i) {
      for (std::size_t t = 0; t < query.tokens; ++t) rows[i * lanes + t] *= query.scales[t];
    }
  }
  return finite;
}

bool Scorer::score(std::size_t document, std::size_t first, std::size_t last, float* scores,
                   std::size_t score_stride, std::int32_t* where, std::size_t where_stride,
                   std::size_t where_width) {
  bool finite = true;
  const auto tokens = static_cast<std::size_t>(ranges_.end[document] - ranges_.begin[document]);
  for (std::size_t from = first; from < last; from += kQueriesPerPass) {
    const std::size_t to = std::min(last, from + kQueriesPerPass);
    std::size_t lanes = 0;
    for (std::size_t q = from; q < to; ++q) lanes += queries_[q].vectors * queries_[q].lanes;
    best_.assign(lanes, kNoScore);
    if (where != nullptr) where_.assign(lanes, -1);

    // Rows read in place by one query need no blocks: one pass.
    const std::size_t block_rows = to - from > 1 ? kBlockForManyQueries : in_place() ? tokens : kBlockForOneQuery;
    for (std::size_t done = 0; done < tokens; done += block_rows) {
      const Block block = stage(document, done, std::min(block_rows, tokens - done), block_rows);
      std::size_t at = 0;
      for (std::size_t q = from; q < to; ++q) {
        const PreparedQuery& query = queries_[q];
        if (query.vectors > 0) {
          finite &= fold(query, block, best_.data() + at, where == nullptr ? nullptr : where_.data() + at);
        }
        at += query.vectors * query.lanes;
      }
    }

    std::size_t at = 0;
    for (std::size_t q = from; q < to; ++q) {
      const PreparedQuery& query = queries_[q];
      double sum = 0.0;
      for (std::size_t i = 0; i < query.tokens; ++i) {
        const double best = best_[at + i];
        // An empty document must stay -inf: a scale of 0 would make it NaN.
        sum += query.scales == nullptr || tokens == 0 ? best : best * static_cast<double>(query.scales[i]);
      }
      scores[(q - first) * score_stride] = static_cast<float>(sum);
      if (where != nullptr) {
        std::int32_t* out = where + (q - first) * where_stride;
        std::copy_n(where_.data() + at, std::min(query.tokens, where_width), out);
        std::fill(out + std::min(query.tokens, where_width), out + where_width, -1);
      }
      at += query.vectors * query.lanes;
    }
  }
  return finite;
}

}  // namespace serotine::maxsim
