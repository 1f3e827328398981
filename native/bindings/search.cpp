#include "search.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "../common/thread_pool.hpp"
#include "arrays.hpp"
#include "objects.hpp"

using namespace serotine;

CodebookObject::CodebookObject(const In<std::int8_t, 2>& centroids, In<float, 1> scales,
                               std::optional<In<float, 1>> spreads)
    : centroids_(centroids.data(), centroids.data() + centroids.size()),
      scales_(std::move(scales)),
      spreads_(centroids.shape(0), 0.0f),
      mean_(centroids.shape(1), 0.0f) {
  const std::size_t count = centroids.shape(0);
  const std::size_t dim = centroids.shape(1);
  require(count > 0 && dim > 0, "a codebook needs centroids");
  require(scales_.size() == count, "scales must have one scale per centroid");
  if (spreads.has_value()) {
    require(spreads->size() == count, "spreads must have one spread per centroid");
    std::copy_n(spreads->data(), count, spreads_.begin());
  }
  std::vector<double> sum(dim, 0.0);
  double max_reach = 0.0;
  for (std::size_t c = 0; c < count; ++c) {
    const double scale = scales_.data()[c];
    require(std::isfinite(scale) && scale > 0.0, "the scale of a centroid must be positive");
    require(std::isfinite(spreads_[c]) && spreads_[c] >= 0.0f, "the spread of a centroid must be at least 0");
    double square = 0.0;
    for (std::size_t d = 0; d < dim; ++d) {
      const double value = scale * centroids_[c * dim + d];
      sum[d] += value;
      square += value * value;
    }
    max_reach = std::max(max_reach, std::sqrt(square) + spreads_[c]);
  }
  for (std::size_t d = 0; d < dim; ++d) mean_[d] = static_cast<float>(sum[d] / static_cast<double>(count));
  flipped_.resize(centroids_.size());
  for (std::size_t i = 0; i < centroids_.size(); ++i) flipped_[i] = static_cast<std::uint8_t>(centroids_[i] + 128);
  view_ = {centroids_.data(), scales_.data(), mean_.data(),   spreads_.data(), static_cast<float>(max_reach * (1 + 1e-6)),
           count,             dim,            flipped_.data()};
}

SegmentObject::SegmentObject(In<std::int64_t, 1> offsets, In<std::int64_t, 1> numbers,
                       std::optional<In<std::uint16_t, 2>> vectors)
    : offsets_(std::move(offsets)), numbers_(std::move(numbers)), vectors_(std::move(vectors)) {
  const std::size_t documents = numbers_.size();
  require(offsets_.size() == documents + 1 && offsets_.data()[0] == 0,
          "offsets must start at 0 and have one entry more than documents");
  require(documents < 0xffffffffu, "too many documents in one segment");
  require_rising(offsets_, "offsets must not decrease");
  for (std::size_t d = 0; d < documents; ++d) {
    require(d == 0 || numbers_.data()[d - 1] < numbers_.data()[d], "numbers must increase");
  }
  view_.documents = documents;
  view_.offsets = offsets_.data();
  view_.numbers = numbers_.data();
  if (vectors_.has_value()) {
    require(static_cast<std::int64_t>(vectors_->shape(0)) == offsets_.data()[documents],
            "offsets must end at the number of vectors");
    view_.vectors = vectors_->data();
  }
}

std::size_t SegmentObject::dim() const {
  return view_.codebook != nullptr ? view_.codebook->dim : vectors_.has_value() ? vectors_->shape(1) : 0;
}

void SegmentObject::set_codes(nb::object codebook, In<std::uint8_t, 2> ids, In<std::uint8_t, 1> residual_scales,
                           In<std::uint8_t, 1> errors, In<std::uint8_t, 2> residuals, int bits, float max_norm) {
  const codec::Codebook& book = object_of<CodebookObject>(codebook, "codebook must be a Codebook").view();
  const auto tokens = static_cast<std::size_t>(view_.offsets[view_.documents]);
  require(bits == 2 || bits == 4 || bits == 8, "bits must be 2, 4 or 8");
  require_ids(ids);
  require(ids.shape(0) == tokens, "ids must have one row per token");
  require(residual_scales.size() == tokens && errors.size() == tokens && residuals.shape(0) == tokens,
          "residual_scales, errors and residuals must have one row per token");
  require(residuals.shape(1) == codec::row_bytes(book.dim, bits), "residuals have the wrong width");
  require(!vectors_.has_value() || vectors_->shape(1) == book.dim, "dimensions differ");
  require(std::isfinite(max_norm) && max_norm >= 0.0f, "max_norm must be finite and at least 0");
  const codec::Codes codes{ids.data(), ids.shape(1) == 4, residual_scales.data(), errors.data(), residuals.data(), bits};
  for (std::size_t t = 0; t < tokens; ++t) require(codes.id(t) < book.count, "a centroid id is out of range");
  view_.codes = codes;
  view_.max_norm = max_norm;
  view_.codebook = &book;
  // The posting lists belong to the centroids of the previous codes.
  view_.posting_starts = nullptr;
  view_.postings = nullptr;
  codebook_ = std::move(codebook);
  bytes_ = {std::move(residual_scales), std::move(errors)};
  rows_ = {std::move(ids), std::move(residuals)};
}

void SegmentObject::set_postings(In<std::uint64_t, 1> starts, In<std::uint32_t, 1> documents) {
  require(view_.codebook != nullptr, "postings need codes; call set_codes first");
  require(starts.size() == view_.codebook->count + 1 && starts.data()[0] == 0,
          "starts must begin at 0 and have one entry more than centroids");
  require_rising(starts, "posting starts must not decrease");
  require(starts.data()[starts.size() - 1] == documents.size(), "posting starts must end at the number of postings");
  const std::uint32_t* list = documents.data();
  for (std::size_t c = 0; c < view_.codebook->count; ++c) {
    for (std::uint64_t i = starts.data()[c]; i < starts.data()[c + 1]; ++i) {
      require(list[i] < view_.documents, "a posting is out of range");
      // Probing reads a list forwards, one block of documents at a time: a decreasing list would leave the block.
      require(i == starts.data()[c] || list[i - 1] < list[i], "a posting list must increase");
    }
  }
  view_.posting_starts = starts.data();
  view_.postings = documents.data();
  posting_starts_ = std::move(starts);
  postings_ = std::move(documents);
}

namespace {

using Mask = In<std::uint64_t, 1>;

nb::object make_postings(const In<std::uint8_t, 2>& ids, const In<std::int64_t, 1>& offsets,
                         const Out<std::uint64_t, 1>& starts) {
  require_ids(ids);
  require(offsets.size() >= 1 && offsets.data()[0] == 0 &&
              offsets.data()[offsets.size() - 1] == static_cast<std::int64_t>(ids.shape(0)),
          "offsets must run from 0 to the end");
  require_rising(offsets, "offsets must not decrease");
  require(starts.size() >= 2, "starts must have one entry more than centroids");
  codec::Codes codes;
  codes.ids = ids.data();
  codes.uint32_ids = ids.shape(1) == 4;
  for (std::size_t t = 0; t < ids.shape(0); ++t) require(codes.id(t) + 1 < starts.size(), "a centroid id is out of range");
  auto postings = std::make_unique<std::vector<std::uint32_t>>();
  {
    const Released released;
    *postings = search::postings(codes, starts.size() - 1, offsets.data(), offsets.size() - 1, starts.data());
  }
  std::vector<std::uint32_t>* raw = postings.release();
  const nb::capsule owner(raw, [](void* p) noexcept { delete static_cast<std::vector<std::uint32_t>*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, std::uint32_t, nb::ndim<1>>(raw->data(), {raw->size()}, owner));
}

// The hits and the report of one query.
struct Result {
  std::vector<float> scores;
  std::vector<std::int64_t> numbers;
  search::Report report;
};

void make_options(search::Options* self, std::size_t k, std::size_t refined, std::size_t candidates,
                  std::size_t rescored, std::uint64_t postings, bool exact, std::size_t k_token,
                  std::size_t probed_from) {
  require(k > 0, "k must be at least 1");
  require(k_token <= (std::size_t{1} << 40), "k_token must be at most 2 to the 40th");
  require(!exact || k_token == 0, "an exact search has no k_token");
  // No stage passes on fewer documents than the next one scores.
  const std::size_t by_codes = std::max(candidates, k);
  new (self) search::Options{k, std::max(refined, by_codes), by_codes, std::max(rescored, k), postings, exact, k_token,
                             probed_from};
}

std::vector<Result> search_segments(const In<float, 2>& queries, const In<std::int64_t, 1>& offsets,
                                    const nb::list& segments, const nb::list& masks, const search::Options& options) {
  const std::size_t dim = queries.shape(1);
  require(offsets.size() >= 1 && offsets.data()[0] == 0 &&
              offsets.data()[offsets.size() - 1] == static_cast<std::int64_t>(queries.shape(0)),
          "query offsets must run from 0 to the end");
  require_rising(offsets, "query offsets must not decrease");
  require(nb::len(segments) == nb::len(masks), "masks must have one mask or None per segment");
  std::vector<search::Segment> views;
  std::vector<const std::uint64_t*> mask_views;
  std::vector<Mask> owners;
  for (std::size_t s = 0; s < nb::len(segments); ++s) {
    const auto& segment = object_of<SegmentObject>(segments[s], "segments must be Segment objects");
    require(segment.dim() > 0, "a segment has neither vectors nor codes");
    require(segment.dim() == dim, "dimensions differ");
    views.push_back(segment.view());
    if (masks[s].is_none()) {
      mask_views.push_back(nullptr);
      continue;
    }
    owners.push_back(item_of<Mask>(masks[s], "masks must be uint64 arrays or None"));
    require(owners.back().size() == (views.back().documents + 63) / 64, "a mask has the wrong length");
    mask_views.push_back(owners.back().data());
  }
  const std::size_t count = offsets.size() - 1;
  std::vector<Result> results(count);
  const Released released;
  const auto run = [&](std::size_t q, std::size_t) {
    const auto first = static_cast<std::size_t>(offsets.data()[q]);
    Result& result = results[q];
    const std::vector<search::Hit> hits =
        search::search(queries.data() + first * dim, static_cast<std::size_t>(offsets.data()[q + 1]) - first, dim, views,
                       mask_views, options, result.report);
    for (const search::Hit& hit : hits) {
      result.scores.push_back(hit.score);
      result.numbers.push_back(hit.number);
    }
  };
  // A single query shares its own work among the threads; several are distributed whole.
  if (count == 1) {
    run(0, 0);
  } else {
    parallel_for(count, num_threads(), run);
  }
  return results;
}

void residual_scores(const In<float, 2>& query, const SegmentObject& segment, const Out<float, 1>& scores) {
  const search::Segment& view = segment.view();
  require(view.codebook != nullptr, "the segment has no codes");
  require(query.shape(1) == view.codebook->dim, "dimensions differ");
  require(scores.size() == view.documents, "scores must have one score per document");
  const Released released;
  const std::vector<float> out = search::residual_scores(query.data(), query.shape(0), query.shape(1), view);
  std::copy(out.begin(), out.end(), scores.data());
}

}  // namespace

void bind_search(nb::module_& module) {
  nb::class_<SegmentObject>(module, "Segment")
      .def(nb::init<In<std::int64_t, 1>, In<std::int64_t, 1>, std::optional<In<std::uint16_t, 2>>>(), nb::arg("offsets"),
           nb::arg("numbers"), nb::arg("vectors").none())
      .def("set_codes", &SegmentObject::set_codes, nb::arg("codebook"), nb::arg("ids"), nb::arg("residual_scales"),
           nb::arg("errors"), nb::arg("residuals"), nb::arg("bits"), nb::arg("max_norm"))
      .def("set_postings", &SegmentObject::set_postings, nb::arg("starts"), nb::arg("documents"));
  module.def("make_postings", &make_postings, nb::arg("ids"), nb::arg("offsets"), nb::arg("starts").noconvert());
  module.def("residual_scores", &residual_scores, nb::arg("query"), nb::arg("segment"), nb::arg("scores").noconvert());
  nb::class_<search::Options>(module, "SearchOptions")
      .def("__init__", &make_options, nb::kw_only(), nb::arg("k"), nb::arg("refined"), nb::arg("candidates"),
           nb::arg("rescored"), nb::arg("postings"), nb::arg("exact"), nb::arg("k_token") = 0,
           nb::arg("probed_from") = 0)
      .def_ro("k", &search::Options::k)
      .def_ro("refined", &search::Options::refined)
      .def_ro("candidates", &search::Options::candidates)
      .def_ro("rescored", &search::Options::rescored)
      .def_ro("postings", &search::Options::postings)
      .def_ro("probed_from", &search::Options::probed_from)
      .def_ro("exact", &search::Options::exact)
      .def_ro("k_token", &search::Options::k_token);
  nb::class_<search::Report>(module, "SearchReport")
      .def_ro("scanned", &search::Report::scanned)
      .def_ro("probed", &search::Report::probed)
      .def_ro("direct", &search::Report::direct)
      .def_ro("flat", &search::Report::flat)
      .def_ro("by_centroids", &search::Report::by_centroids)
      .def_ro("by_residuals", &search::Report::by_residuals)
      .def_ro("by_codes", &search::Report::by_codes)
      .def_ro("by_vectors", &search::Report::by_vectors)
      .def_ro("tokens", &search::Report::tokens)
      .def_ro("centroids_ms", &search::Report::centroids_ms)
      .def_ro("residuals_ms", &search::Report::residuals_ms)
      .def_ro("codes_ms", &search::Report::codes_ms)
      .def_ro("vectors_ms", &search::Report::vectors_ms)
      .def_ro("bound", &search::Report::bound)
      .def_ro("undecided", &search::Report::undecided);
  nb::class_<Result>(module, "SearchResult")
      .def_ro("scores", &Result::scores)
      .def_ro("numbers", &Result::numbers)
      .def_ro("report", &Result::report);
  module.def("search", &search_segments, nb::arg("queries"), nb::arg("offsets"), nb::arg("segments"), nb::arg("masks"),
             nb::arg("options"));
}
