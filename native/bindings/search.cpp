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

CodebookObject::CodebookObject(const In<std::int8_t, 2>& centroids, In<float, 1> scales)
    : centroids_(centroids.data(), centroids.data() + centroids.size()),
      scales_(std::move(scales)),
      mean_(centroids.shape(1), 0.0f) {
  const std::size_t count = centroids.shape(0);
  const std::size_t dim = centroids.shape(1);
  require(count > 0 && dim > 0, "a codebook needs centroids");
  require(scales_.size() == count, "one scale a centroid");
  std::vector<double> sum(dim, 0.0);
  double longest = 0.0;
  for (std::size_t c = 0; c < count; ++c) {
    const double scale = scales_.data()[c];
    require(std::isfinite(scale) && scale > 0.0, "a centroid's scale is not positive");
    double square = 0.0;
    for (std::size_t d = 0; d < dim; ++d) {
      const double value = scale * centroids_[c * dim + d];
      sum[d] += value;
      square += value * value;
    }
    longest = std::max(longest, std::sqrt(square));
  }
  for (std::size_t d = 0; d < dim; ++d) mean_[d] = static_cast<float>(sum[d] / static_cast<double>(count));
  flipped_.resize(centroids_.size());
  for (std::size_t i = 0; i < centroids_.size(); ++i) flipped_[i] = static_cast<std::uint8_t>(centroids_[i] + 128);
  view_ = {centroids_.data(), scales_.data(), mean_.data(), static_cast<float>(longest * (1 + 1e-6)), count, dim, flipped_.data()};
}

PartObject::PartObject(In<std::int64_t, 1> offsets, In<std::int64_t, 1> numbers,
                       std::optional<In<std::uint16_t, 2>> vectors)
    : offsets_(std::move(offsets)), numbers_(std::move(numbers)), vectors_(std::move(vectors)) {
  const std::size_t documents = numbers_.size();
  require(offsets_.size() == documents + 1 && offsets_.data()[0] == 0, "one offset more than documents, from 0");
  require(documents < 0xffffffffu, "too many documents in one part");
  require_rising(offsets_, "offsets fall");
  for (std::size_t d = 0; d < documents; ++d) {
    require(d == 0 || numbers_.data()[d - 1] < numbers_.data()[d], "numbers do not rise");
  }
  view_.documents = documents;
  view_.offsets = offsets_.data();
  view_.numbers = numbers_.data();
  if (vectors_.has_value()) {
    require(static_cast<std::int64_t>(vectors_->shape(0)) == offsets_.data()[documents], "offsets do not end at the last row");
    view_.vectors = vectors_->data();
  }
}

std::size_t PartObject::dim() const {
  return view_.codebook != nullptr ? view_.codebook->dim : vectors_.has_value() ? vectors_->shape(1) : 0;
}

void PartObject::set_codes(nb::object codebook, In<std::uint8_t, 2> ids, In<std::uint8_t, 1> steps,
                           In<std::uint8_t, 1> errors, In<std::uint8_t, 2> residuals, int bits, float longest) {
  const codec::Codebook& book = nb::cast<const CodebookObject&>(codebook).view();
  const auto tokens = static_cast<std::size_t>(view_.offsets[view_.documents]);
  require(bits == 2 || bits == 4 || bits == 8, "bits must be 2, 4 or 8");
  require(ids.shape(0) == tokens && (ids.shape(1) == 2 || ids.shape(1) == 4), "ids need 2 or 4 bytes a token");
  require(steps.size() == tokens && errors.size() == tokens && residuals.shape(0) == tokens, "one code a token");
  require(residuals.shape(1) == codec::row_bytes(book.dim, bits), "residuals have the wrong width");
  require(!vectors_.has_value() || vectors_->shape(1) == book.dim, "dimensions differ");
  require(std::isfinite(longest) && longest >= 0.0f, "the longest norm is not a number of at least 0");
  const codec::Codes codes{ids.data(), ids.shape(1) == 4, steps.data(), errors.data(), residuals.data(), bits};
  for (std::size_t t = 0; t < tokens; ++t) require(codes.id(t) < book.count, "a centroid id is out of range");
  view_.codes = codes;
  view_.longest = longest;
  view_.codebook = &book;
  // Lists name centroids: those of other codes mean nothing.
  view_.posting_starts = nullptr;
  view_.postings = nullptr;
  codebook_ = std::move(codebook);
  bytes_ = {std::move(steps), std::move(errors)};
  rows_ = {std::move(ids), std::move(residuals)};
}

void PartObject::set_postings(In<std::uint64_t, 1> starts, In<std::uint32_t, 1> documents) {
  require(view_.codebook != nullptr, "postings belong to codes");
  require(starts.size() == view_.codebook->count + 1 && starts.data()[0] == 0, "one list a centroid");
  require_rising(starts, "posting starts fall");
  require(starts.data()[starts.size() - 1] == documents.size(), "postings do not end at the last document");
  const std::uint32_t* list = documents.data();
  for (std::size_t c = 0; c < view_.codebook->count; ++c) {
    for (std::uint64_t i = starts.data()[c]; i < starts.data()[c + 1]; ++i) {
      require(list[i] < view_.documents, "a posting is out of range");
      // Probing reads a list forwards, a block of documents at a time: one that falls would lead out of the block.
      require(i == starts.data()[c] || list[i - 1] < list[i], "a posting list does not rise");
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
  require(ids.shape(1) == 2 || ids.shape(1) == 4, "ids need 2 or 4 bytes a token");
  require(offsets.size() >= 1 && offsets.data()[0] == 0 &&
              offsets.data()[offsets.size() - 1] == static_cast<std::int64_t>(ids.shape(0)),
          "offsets must run from 0 to the end");
  require_rising(offsets, "offsets fall");
  require(starts.size() >= 2, "no centroids");
  codec::Codes codes;
  codes.ids = ids.data();
  codes.wide = ids.shape(1) == 4;
  for (std::size_t t = 0; t < ids.shape(0); ++t) require(codes.id(t) + 1 < starts.size(), "a centroid id is out of range");
  auto made = std::make_unique<std::vector<std::uint32_t>>();
  {
    const nb::gil_scoped_release release;
    *made = search::postings(codes, starts.size() - 1, offsets.data(), offsets.size() - 1, starts.data());
  }
  std::vector<std::uint32_t>* raw = made.release();
  const nb::capsule owner(raw, [](void* p) noexcept { delete static_cast<std::vector<std::uint32_t>*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, std::uint32_t, nb::ndim<1>>(raw->data(), {raw->size()}, owner));
}

nb::dict dict_of(const search::Report& report) {
  nb::dict out;
  out["scanned"] = report.scanned;
  out["probed"] = report.probed;
  out["direct"] = report.direct;
  out["flat"] = report.flat;
  out["by_centroids"] = report.by_centroids;
  out["by_residuals"] = report.by_residuals;
  out["by_codes"] = report.by_codes;
  out["by_vectors"] = report.by_vectors;
  out["tokens"] = report.tokens;
  out["centroids_ms"] = report.centroids_ms;
  out["residuals_ms"] = report.residuals_ms;
  out["codes_ms"] = report.codes_ms;
  out["vectors_ms"] = report.vectors_ms;
  out["bound"] = report.bound;
  out["undecided"] = report.undecided;
  return out;
}

// One (scores, numbers, report) a query.
nb::list search_parts(const In<float, 2>& queries, const In<std::int64_t, 1>& offsets, const nb::list& parts,
                      const nb::list& allowed, std::size_t k, std::size_t refined, std::size_t candidates,
                      std::size_t rescored, std::uint64_t postings, bool exact) {
  const std::size_t dim = queries.shape(1);
  require(offsets.size() >= 1 && offsets.data()[0] == 0 &&
              offsets.data()[offsets.size() - 1] == static_cast<std::int64_t>(queries.shape(0)),
          "query offsets must run from 0 to the end");
  require_rising(offsets, "query offsets fall");
  require(nb::len(parts) == nb::len(allowed), "one mask, or None, a part");
  require(k > 0, "k must be at least 1");
  std::vector<search::Part> views;
  std::vector<const std::uint64_t*> masks;
  std::vector<Mask> owners;
  for (std::size_t p = 0; p < nb::len(parts); ++p) {
    const auto& part = nb::cast<const PartObject&>(parts[p]);
    require(part.dim() > 0, "a part has neither vectors nor codes");
    require(part.dim() == dim, "dimensions differ");
    views.push_back(part.view());
    if (allowed[p].is_none()) {
      masks.push_back(nullptr);
      continue;
    }
    owners.push_back(nb::cast<Mask>(allowed[p]));
    require(owners.back().size() == (views.back().documents + 63) / 64, "a mask has the wrong length");
    masks.push_back(owners.back().data());
  }
  const std::size_t coded = std::max(candidates, k);
  const search::Options options{k, std::max(refined, coded), coded, std::max(rescored, k), postings, exact};
  const std::size_t count = offsets.size() - 1;
  std::vector<std::vector<search::Found>> found(count);
  std::vector<search::Report> reports(count);
  {
    const nb::gil_scoped_release release;
    const auto one = [&](std::size_t q, std::size_t) {
      const auto first = static_cast<std::size_t>(offsets.data()[q]);
      found[q] = search::search(queries.data() + first * dim, static_cast<std::size_t>(offsets.data()[q + 1]) - first, dim,
                                views, masks, options, reports[q]);
    };
    // One query alone shares its own work among the threads; many are handed out whole.
    if (count == 1) {
      one(0, 0);
    } else {
      parallel_for(count, num_threads(), one);
    }
  }
  nb::list out;
  for (std::size_t q = 0; q < count; ++q) {
    nb::list scores;
    nb::list numbers;
    for (const search::Found& hit : found[q]) {
      scores.append(hit.score);
      numbers.append(hit.number);
    }
    out.append(nb::make_tuple(scores, numbers, dict_of(reports[q])));
  }
  return out;
}

void residual_scores(const In<float, 2>& query, const PartObject& part, const Out<float, 1>& scores) {
  const search::Part& view = part.view();
  require(view.codebook != nullptr, "this part has no codes");
  require(query.shape(1) == view.codebook->dim, "dimensions differ");
  require(scores.size() == view.documents, "one score a document");
  const nb::gil_scoped_release release;
  const std::vector<float> found = search::residual_scores(query.data(), query.shape(0), query.shape(1), view);
  std::copy(found.begin(), found.end(), scores.data());
}

}  // namespace

void bind_search(nb::module_& module) {
  nb::class_<PartObject>(module, "Part")
      .def(nb::init<In<std::int64_t, 1>, In<std::int64_t, 1>, std::optional<In<std::uint16_t, 2>>>(), nb::arg("offsets"),
           nb::arg("numbers"), nb::arg("vectors").none())
      .def("set_codes", &PartObject::set_codes, nb::arg("codebook"), nb::arg("ids"), nb::arg("steps"), nb::arg("errors"),
           nb::arg("residuals"), nb::arg("bits"), nb::arg("longest"))
      .def("set_postings", &PartObject::set_postings, nb::arg("starts"), nb::arg("documents"));
  module.def("make_postings", &make_postings, nb::arg("ids"), nb::arg("offsets"), nb::arg("starts").noconvert());
  module.def("residual_scores", &residual_scores, nb::arg("query"), nb::arg("part"), nb::arg("scores").noconvert());
  module.def("search", &search_parts, nb::arg("queries"), nb::arg("offsets"), nb::arg("parts"), nb::arg("allowed"),
             nb::arg("k"), nb::arg("refined"), nb::arg("candidates"), nb::arg("rescored"), nb::arg("postings"), nb::arg("exact"));
}
