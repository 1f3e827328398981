#include "codec.hpp"

#include <nanobind/stl/optional.h>

#include "arrays.hpp"
#include "objects.hpp"

using namespace serotine;

namespace {

void check_bits(int bits) { require(bits == 2 || bits == 4 || bits == 8, "bits must be 2, 4 or 8"); }

void check_ids(const In<std::int32_t, 1>& ids, std::size_t count) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    require(ids.data()[i] >= 0 && static_cast<std::size_t>(ids.data()[i]) < count, "a centroid id is out of range");
  }
}

void encode(const CodebookObject& codebook, const In<float, 2>& vectors, const In<std::int32_t, 1>& ids, int bits,
            const Out<std::uint8_t, 1>& residual_scales, const Out<std::uint8_t, 1>& errors,
            const Out<std::uint8_t, 2>& residuals) {
  const codec::Codebook& view = codebook.view();
  check_bits(bits);
  const std::size_t count = vectors.shape(0);
  require(vectors.shape(1) == view.dim, "vectors have the wrong dimension");
  require(ids.size() == count && residual_scales.size() == count && errors.size() == count && residuals.shape(0) == count,
          "ids, residual_scales, errors and residuals must have one row per vector");
  require(residuals.shape(1) == codec::row_bytes(view.dim, bits), "residuals have the wrong width");
  check_ids(ids, view.count);
  const Released released;
  codec::encode(view, vectors.data(), ids.data(), count, bits, residual_scales.data(), errors.data(), residuals.data());
}

void decode(const SegmentObject& segment, std::size_t first, const Out<std::int8_t, 2>& rows, const Out<float, 1>& scales) {
  const search::Segment& view = segment.view();
  require(view.codebook != nullptr, "the segment has no codes");
  const std::size_t count = rows.shape(0);
  const auto tokens = static_cast<std::size_t>(view.offsets[view.documents]);
  require(first <= tokens && count <= tokens - first, "tokens out of range");
  require(rows.shape(1) == view.codebook->dim && scales.size() == count, "outputs have the wrong shape");
  const Released released;
  const codec::Run run{*view.codebook, view.codes, first, count};
  const codec::Run nothing{*view.codebook, view.codes, 0, 0};
  codec::decode(run, nothing, 0, reinterpret_cast<std::uint8_t*>(rows.data()), view.codebook->dim, scales.data());
}

void check_starts(const In<std::int64_t, 1>& starts, std::size_t end) {
  require(starts.size() >= 1 && starts.data()[0] == 0 && starts.data()[starts.size() - 1] == static_cast<std::int64_t>(end),
          "starts must run from 0 to the end");
  require_rising(starts, "starts must not decrease");
}

void check_members(const In<std::int64_t, 1>& members, std::size_t count) {
  for (std::size_t i = 0; i < members.size(); ++i) {
    require(members.data()[i] >= 0 && static_cast<std::size_t>(members.data()[i]) < count, "a member is out of range");
  }
}

void nearest(const In<float, 2>& points, const In<std::int64_t, 1>& order, const In<std::int64_t, 1>& group_starts,
             const In<float, 2>& centroids, const In<std::int64_t, 1>& list, const In<std::int64_t, 1>& list_starts,
             const Out<std::int32_t, 1>& ids) {
  require(points.shape(1) == centroids.shape(1), "dimensions differ");
  require(ids.size() == points.shape(0), "ids must have one id per point");
  require(group_starts.size() == list_starts.size(), "group_starts and list_starts differ in length");
  check_starts(group_starts, order.size());
  check_starts(list_starts, list.size());
  check_members(order, points.shape(0));
  check_members(list, centroids.shape(0));
  for (std::size_t g = 0; g + 1 < group_starts.size(); ++g) {
    require(group_starts.data()[g] == group_starts.data()[g + 1] || list_starts.data()[g] < list_starts.data()[g + 1],
            "a group with points has an empty list");
  }
  const Released released;
  codec::nearest(points.data(), points.shape(0), points.shape(1), order.data(), group_starts.data(),
                 group_starts.size() - 1, centroids.data(), centroids.shape(0), list.data(), list_starts.data(), ids.data());
}

void means(const In<float, 2>& points, const In<std::int32_t, 1>& ids, const Out<float, 2>& centroids,
           const Out<double, 1>& squares, const Out<std::int64_t, 1>& sizes) {
  const std::size_t clusters = centroids.shape(0);
  require(ids.size() == points.shape(0), "ids must have one id per point");
  require(points.shape(1) == centroids.shape(1), "dimensions differ");
  require(squares.size() == clusters && sizes.size() == clusters, "squares and sizes must have one entry per cluster");
  check_ids(ids, clusters);
  const Released released;
  codec::means(points.data(), points.shape(0), points.shape(1), ids.data(), clusters, centroids.data(), squares.data(),
               sizes.data());
}

}  // namespace

void bind_codec(nb::module_& module) {
  nb::class_<CodebookObject>(module, "Codebook")
      .def(nb::init<In<std::int8_t, 2>, In<float, 1>, std::optional<In<float, 1>>>(), nb::arg("centroids"),
           nb::arg("scales"), nb::arg("spreads") = nb::none());
  module.def("encode_residuals", &encode, nb::arg("codebook"), nb::arg("vectors"), nb::arg("ids"), nb::arg("bits"),
             nb::arg("residual_scales").noconvert(), nb::arg("errors").noconvert(), nb::arg("residuals").noconvert());
  module.def("decode_residuals", &decode, nb::arg("segment"), nb::arg("first"), nb::arg("rows").noconvert(),
             nb::arg("scales").noconvert());
  module.def("error_bound", &codec::error_bound, nb::arg("byte"));
  module.def("nearest", &nearest, nb::arg("points"), nb::arg("order"), nb::arg("group_starts"), nb::arg("centroids"),
             nb::arg("members"), nb::arg("list_starts"), nb::arg("ids").noconvert());
  module.def("cluster_means", &means, nb::arg("points"), nb::arg("ids"), nb::arg("centroids").noconvert(),
             nb::arg("squares").noconvert(), nb::arg("sizes").noconvert());
}
