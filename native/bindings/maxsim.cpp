#include "maxsim.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>
#include <utility>

#include "../common/thread_pool.hpp"
#include "arrays.hpp"

using namespace serotine::maxsim;

namespace {

// Any contiguous matrix of 1-, 2- or 4-byte elements; bf16 arrives as uint16, so the dtype is passed separately.
using Matrix = AlignedArray<true, nb::ro, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Floats = In<float, 1>;
using Longs = In<std::int64_t, 1>;
using Bytes = In<std::uint8_t, 1>;
using ScoreTable = Out<float, 2>;
using ScoreRow = Out<float, 1>;
using IndexTable = Out<std::int64_t, 2>;
using Winners = AlignedArray<false, std::int32_t, nb::c_contig, nb::device::cpu>;
using Bad = std::pair<std::int64_t, std::int64_t>;

Tokens tokens_of(const Matrix& matrix, int dtype, const std::optional<Floats>& scales) {
  require(dtype >= 0 && dtype <= 3, "unknown dtype code");
  const auto kind = static_cast<Dtype>(dtype);
  require(matrix.itemsize() == bytes_of(kind), "element size does not match the dtype code");
  Tokens tokens{matrix.data(), kind, matrix.shape(0), matrix.shape(1), nullptr};
  if (kind == Dtype::i8) {
    require(scales.has_value() && scales->shape(0) == tokens.rows, "int8 tokens need one scale a row");
    tokens.scales = scales->data();
  }
  return tokens;
}

Ranges ranges_of(const Longs& begin, const Longs& end, const Tokens& tokens) {
  require(begin.shape(0) == end.shape(0), "begin and end differ in length");
  for (std::size_t i = 0; i < begin.shape(0); ++i) {
    require(begin.data()[i] >= 0 && begin.data()[i] <= end.data()[i] &&
                end.data()[i] <= static_cast<std::int64_t>(tokens.rows),
            "a range reaches outside its matrix");
  }
  return {begin.data(), end.data(), begin.shape(0)};
}

struct Side {
  Tokens tokens;
  Ranges ranges;
};

Side side_of(const Matrix& matrix, int dtype, const std::optional<Floats>& scales, const Longs& begin,
             const Longs& end) {
  const Tokens tokens = tokens_of(matrix, dtype, scales);
  return {tokens, ranges_of(begin, end, tokens)};
}

void require_match(const Side& queries, const Side& documents) {
  require(queries.tokens.dim == documents.tokens.dim, "dimensions differ");
  require((queries.tokens.dtype == Dtype::i8) == (documents.tokens.dtype == Dtype::i8), "int8 meets float");
}

std::int32_t* winners_of(const std::optional<Winners>& where, std::size_t rows, std::size_t& width) {
  if (!where.has_value()) return nullptr;
  require(where->ndim() > 0, "the argmax output must have dimensions");
  const std::size_t last = where->shape(where->ndim() - 1);
  require(where->size() == rows * last, "the argmax output has the wrong size");
  width = last;
  return where->data();
}

Bad grid(const Matrix& queries, int query_dtype, const std::optional<Floats>& query_scales, const Longs& query_begin,
         const Longs& query_end, const Matrix& documents, int document_dtype,
         const std::optional<Floats>& document_scales, const Longs& document_begin, const Longs& document_end,
         const ScoreTable& scores, const std::optional<Winners>& where) {
  const Side q = side_of(queries, query_dtype, query_scales, query_begin, query_end);
  const Side d = side_of(documents, document_dtype, document_scales, document_begin, document_end);
  require_match(q, d);
  require(scores.shape(0) == q.ranges.count && scores.shape(1) == d.ranges.count, "scores has the wrong shape");
  std::size_t width = 0;
  std::int32_t* winners = winners_of(where, q.ranges.count * d.ranges.count, width);
  float* out = scores.data();
  const Released released;
  const Outcome outcome = score_grid(q.tokens, q.ranges, d.tokens, d.ranges, out, winners, width);
  return {outcome.bad_query, outcome.bad_document};
}

// Queries against documents that are separate arrays, read in place.
Bad separate(const Matrix& queries, int query_dtype, const std::optional<Floats>& query_scales,
             const Longs& query_begin, const Longs& query_end, const nb::list& documents, int document_dtype,
             const std::optional<nb::list>& document_scales, const ScoreTable& scores) {
  const Side q = side_of(queries, query_dtype, query_scales, query_begin, query_end);
  std::vector<Matrix> owners;
  std::vector<Floats> scale_owners;
  std::vector<std::int64_t> begin(nb::len(documents), 0);
  std::vector<std::int64_t> end;
  std::vector<const void*> bases;
  std::vector<const float*> scale_bases;
  require(!document_scales.has_value() || nb::len(*document_scales) == begin.size(),
          "document_scales must have one array per document");
  for (std::size_t i = 0; i < begin.size(); ++i) {
    owners.push_back(item_of<Matrix>(documents[i], "documents must be matrices"));
    std::optional<Floats> scales;
    if (document_scales.has_value()) {
      scales = item_of<Floats>((*document_scales)[i], "document_scales must be float32 arrays");
      scale_owners.push_back(*scales);
    }
    const Tokens tokens = tokens_of(owners.back(), document_dtype, scales);
    require(tokens.dim == q.tokens.dim, "dimensions differ");
    bases.push_back(tokens.data);
    scale_bases.push_back(tokens.scales);
    end.push_back(static_cast<std::int64_t>(tokens.rows));
  }
  const Tokens shape{nullptr, static_cast<Dtype>(document_dtype), 0, q.tokens.dim, nullptr};
  const bool scaled = shape.dtype == Dtype::i8;
  const Ranges ranges{begin.data(), end.data(), begin.size(), bases.data(), scaled ? scale_bases.data() : nullptr};
  require((q.tokens.dtype == Dtype::i8) == scaled, "int8 meets float");
  require(scores.shape(0) == q.ranges.count && scores.shape(1) == ranges.count, "scores has the wrong shape");
  float* out = scores.data();
  const Released released;
  const Outcome outcome = score_grid(q.tokens, q.ranges, shape, ranges, out, nullptr, 0);
  return {outcome.bad_query, outcome.bad_document};
}

Bad pairs(const Matrix& queries, int query_dtype, const std::optional<Floats>& query_scales, const Longs& query_begin,
          const Longs& query_end, const Matrix& documents, int document_dtype,
          const std::optional<Floats>& document_scales, const Longs& document_begin, const Longs& document_end,
          const Longs& pair_queries, const Longs& pair_documents, const ScoreRow& scores,
          const std::optional<Winners>& where) {
  const Side q = side_of(queries, query_dtype, query_scales, query_begin, query_end);
  const Side d = side_of(documents, document_dtype, document_scales, document_begin, document_end);
  require_match(q, d);
  const std::size_t count = pair_queries.shape(0);
  require(pair_documents.shape(0) == count && scores.shape(0) == count, "pair arrays differ in length");
  for (std::size_t i = 0; i < count; ++i) {
    require(pair_queries.data()[i] >= 0 && pair_queries.data()[i] < static_cast<std::int64_t>(q.ranges.count) &&
                pair_documents.data()[i] >= 0 &&
                pair_documents.data()[i] < static_cast<std::int64_t>(d.ranges.count),
            "a pair names a query or document that does not exist");
  }
  std::size_t width = 0;
  std::int32_t* winners = winners_of(where, count, width);
  float* out = scores.data();
  const Released released;
  const Outcome outcome = score_pairs(q.tokens, q.ranges, d.tokens, d.ranges, pair_queries.data(),
                                      pair_documents.data(), count, out, winners, width);
  return {outcome.bad_query, outcome.bad_document};
}

Bad best(const Matrix& queries, int query_dtype, const std::optional<Floats>& query_scales, const Longs& query_begin,
         const Longs& query_end, const Matrix& documents, int document_dtype,
         const std::optional<Floats>& document_scales, const Longs& document_begin, const Longs& document_end,
         const std::optional<Bytes>& keep, const ScoreTable& scores, const IndexTable& indices) {
  const Side q = side_of(queries, query_dtype, query_scales, query_begin, query_end);
  const Side d = side_of(documents, document_dtype, document_scales, document_begin, document_end);
  require_match(q, d);
  require(scores.shape(0) == q.ranges.count && indices.shape(0) == q.ranges.count &&
              scores.shape(1) == indices.shape(1),
          "outputs have the wrong shape");
  require(!keep.has_value() || keep->shape(0) == d.ranges.count, "keep has the wrong length");
  const std::uint8_t* mask = keep.has_value() ? keep->data() : nullptr;
  const std::size_t k = scores.shape(1);
  float* out = scores.data();
  std::int64_t* places = indices.data();
  const Released released;
  const Outcome outcome = top_k(q.tokens, q.ranges, d.tokens, d.ranges, mask, k, out, places);
  return {outcome.bad_query, outcome.bad_document};
}

Bad xtr(const Matrix& queries, int query_dtype, const std::optional<Floats>& query_scales, const Longs& query_begin,
        const Longs& query_end, const Matrix& documents, int document_dtype,
        const std::optional<Floats>& document_scales, const Longs& document_begin, const Longs& document_end,
        std::size_t k_token, bool impute, const ScoreTable& scores) {
  const Side q = side_of(queries, query_dtype, query_scales, query_begin, query_end);
  const Side d = side_of(documents, document_dtype, document_scales, document_begin, document_end);
  require_match(q, d);
  require(k_token > 0 && k_token <= (std::size_t{1} << 40), "k_token must be between 1 and 2 to the 40th");
  require(scores.shape(0) == q.ranges.count && scores.shape(1) == d.ranges.count, "scores has the wrong shape");
  float* out = scores.data();
  const Released released;
  const Outcome outcome = xtr_grid(q.tokens, q.ranges, d.tokens, d.ranges, k_token, impute, out);
  return {outcome.bad_query, outcome.bad_document};
}

}  // namespace

void bind_maxsim(nb::module_& module) {
  module.def("score_grid", &grid, nb::arg("queries"), nb::arg("query_dtype"), nb::arg("query_scales").none(),
             nb::arg("query_begin"), nb::arg("query_end"), nb::arg("documents"), nb::arg("document_dtype"),
             nb::arg("document_scales").none(), nb::arg("document_begin"), nb::arg("document_end"),
             nb::arg("scores").noconvert(), nb::arg("where").none());
  module.def("score_separate", &separate, nb::arg("queries"), nb::arg("query_dtype"), nb::arg("query_scales").none(),
             nb::arg("query_begin"), nb::arg("query_end"), nb::arg("documents"), nb::arg("document_dtype"),
             nb::arg("document_scales").none(), nb::arg("scores").noconvert());
  module.def("score_pairs", &pairs, nb::arg("queries"), nb::arg("query_dtype"), nb::arg("query_scales").none(),
             nb::arg("query_begin"), nb::arg("query_end"), nb::arg("documents"), nb::arg("document_dtype"),
             nb::arg("document_scales").none(), nb::arg("document_begin"), nb::arg("document_end"),
             nb::arg("pair_queries"), nb::arg("pair_documents"), nb::arg("scores").noconvert(),
             nb::arg("where").none());
  module.def("top_k", &best, nb::arg("queries"), nb::arg("query_dtype"), nb::arg("query_scales").none(),
             nb::arg("query_begin"), nb::arg("query_end"), nb::arg("documents"), nb::arg("document_dtype"),
             nb::arg("document_scales").none(), nb::arg("document_begin"), nb::arg("document_end"),
             nb::arg("keep").none(), nb::arg("scores").noconvert(), nb::arg("indices").noconvert());
  module.def("xtr_grid", &xtr, nb::arg("queries"), nb::arg("query_dtype"), nb::arg("query_scales").none(),
             nb::arg("query_begin"), nb::arg("query_end"), nb::arg("documents"), nb::arg("document_dtype"),
             nb::arg("document_scales").none(), nb::arg("document_begin"), nb::arg("document_end"), nb::arg("k_token"),
             nb::arg("impute"), nb::arg("scores").noconvert());
  module.def("compiled", &compiled);
  module.def("supported", &supported);
  module.def("current", &current);
  module.def("preferred", &preferred);
  module.def("use", &use, nb::arg("name"));
  module.def("num_threads", &serotine::num_threads);
  module.def("set_num_threads", &serotine::set_num_threads, nb::arg("count"));
}
