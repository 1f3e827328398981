#include "codes.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../common/prefetch.hpp"

namespace serotine::search {
namespace {

// Tokens rebuilt at a time: they stay in the first-level cache beside the query.
constexpr std::size_t kBlock = 36;
// Room for the rounding of fp32, here and in the kernel that computes the exact scores: one rounding a dimension there.
constexpr double kSlack = 1e-5;
constexpr double kSlackPerDim = 0x1p-24;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The fused loop for these codes, or null where there is none.
void (*fused_fold_of([[maybe_unused]] const maxsim::Kernels& kernels, [[maybe_unused]] const codec::Codes& codes,
                     [[maybe_unused]] std::size_t dim))(const CodedDocuments&) {
#if defined(SEROTINE_X86)
  if (kernels.i8.fold != maxsim::avx512_vnni_int8.fold || dim > kFusedRowBytes) return nullptr;
  const auto bits = static_cast<std::size_t>(codes.bits);
  const std::size_t bytes = codec::row_bytes(dim, codes.bits);
  // The kernel reads whole steps of 4 dimensions, and the narrowest registers have 16 bytes.
  if (dim % 4 != 0 || dim * bits % 8 != 0 || bytes < 16) return nullptr;
  const FusedFolds& by_bytes = bytes % 32 == 0 ? avx512_vnni_fused : avx512_vnni_fused_narrow;
  const FusedFolds& folds = dim == 128 ? avx512_vnni_fused128 : by_bytes;
  return bits == 2 ? folds.fold2 : bits == 4 ? folds.fold4 : folds.fold8;
#else
  return nullptr;
#endif
}

}  // namespace

CodeScorer::CodeScorer(const Query& query, Bound bound, const EvenQuery& even)
    : query_(query), bound_(bound), laid_(even.laid), lost_sum_(even.lost_sum) {
  const double sign = bound == Bound::upper ? 1.0 : -1.0;
  for (std::size_t byte = 0; byte < bounds_.size(); ++byte) {
    const double error = codec::error_bound(static_cast<std::uint8_t>(byte));
    // Not 0 times infinity, for a query of zeros.
    const double added = std::isinf(error) ? error : error * even.norm * (1 + 1e-6);
    bounds_[byte] = static_cast<float>(sign * added);
  }
}

CodeScorer::CodeScorer(const Query& query, Bound bound)
    : CodeScorer(query, bound, bound == Bound::none ? EvenQuery{query.laid(), 0.0, 0.0} : query.even()) {}

bool CodeScorer::fold_fused(const Segment& segment, std::span<const std::uint32_t> documents, Scratch& scratch) const {
  const codec::Codes& codes = segment.codes;
  const codec::Codebook& codebook = *segment.codebook;
  const std::size_t dim = query_.dim();
  const auto fused = fused_fold_of(query_.kernels(), codes, dim);
  if (fused == nullptr) return false;
  scratch.rows.resize(2 * kRowsPerTile * kFusedRowBytes);
  scratch.ranges.clear();
  for (const std::uint32_t document : documents) {
    const auto first = static_cast<std::size_t>(segment.offsets[document]);
    const auto last = static_cast<std::size_t>(segment.offsets[document + 1]);
    if (first < last) scratch.ranges.push_back({first, last});
  }
  fused({laid_.data(), laid_.bias(), laid_.vectors(), laid_.ends_in_half(), laid_.steps(), codebook.centroids, codebook.scales, dim,
         static_cast<std::size_t>(segment.offsets[segment.documents]), codes.ids,
         codes.uint32_ids, codes.residual_scales, codes.errors, codes.residuals, codec::scale_tables(codes.bits),
         bound_ == Bound::none ? nullptr : bounds_.data(), scratch.ranges.data(), scratch.ranges.size(),
         scratch.rows.data(), scratch.best.data()});
  return true;
}

void CodeScorer::fold_apart(const Segment& segment, std::span<const std::uint32_t> documents, Scratch& scratch) const {
  const maxsim::Int8Fold& i8 = query_.kernels().i8;
  const codec::Codes& codes = segment.codes;
  const std::size_t dim = query_.dim();
  // Rows begin on cache lines: a store across two costs double.
  const std::size_t stride = (laid_.steps() * i8.group * i8.bytes + 63) / 64 * 64;
  // Kernels that read bytes get the rebuilt rows themselves; for the others rows are staged.
  const bool in_place = i8.bytes == 1;
  const auto flip = static_cast<std::uint8_t>(in_place ? i8.offset : 0);
  const std::size_t width = in_place ? stride : dim;
  scratch.rows.resize(kBlock * width);
  if (!in_place) scratch.staged.resize(kBlock * stride);
  scratch.scales.resize(kBlock);
  scratch.offsets.resize(kBlock);
  std::fill(scratch.best.begin(), scratch.best.end(), -kInfinity);
  if (width > dim) std::fill(scratch.rows.begin(), scratch.rows.end(), flip);
  float* best = scratch.best.data();
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const std::int64_t* tokens = segment.offsets + documents[i];
    const auto first = static_cast<std::size_t>(tokens[0]);
    const auto last = static_cast<std::size_t>(tokens[1]);
    if (first == last) continue;
    const std::int64_t* after = segment.offsets + documents[std::min(i + 1, documents.size() - 1)];
    const auto after_first = static_cast<std::size_t>(after[0]);
    prefetch(static_cast<const char*>(codes.ids) + after_first * codes.id_bytes(), 192);
    prefetch(codes.residual_scales + after_first, 128);
    if (bound_ != Bound::none) prefetch(codes.errors + after_first, 128);
    for (std::size_t at = first; at < last; at += kBlock) {
      const std::size_t count = std::min(kBlock, last - at);
      const std::size_t then = at + count;
      const codec::Run run{*segment.codebook, codes, at, count};
      const codec::Run following =
          then < last ? codec::Run{*segment.codebook, codes, then, last - then}
                      : codec::Run{*segment.codebook, codes, after_first, static_cast<std::size_t>(after[1]) - after_first};
      codec::decode(run, following, flip, scratch.rows.data(), width, scratch.scales.data());
      const void* rows = scratch.rows.data();
      if (!in_place) {
        i8.stage(reinterpret_cast<const std::int8_t*>(rows), count, dim, scratch.staged.data(), stride);
        rows = scratch.staged.data();
      }
      for (std::size_t t = 0; bound_ != Bound::none && t < count; ++t) {
        scratch.offsets[t] = scratch.scales[t] * bounds_[codes.errors[at + t]];
      }
      laid_.fold(query_.kernels(), rows, stride, scratch.scales.data(),
                 bound_ == Bound::none ? nullptr : scratch.offsets.data(), count, best);
    }
    best += laid_.lanes();
  }
}

void CodeScorer::score(const Segment& segment, std::span<const std::uint32_t> documents, Scratch& scratch,
                       double* scores) const {
  if (query_.tokens() == 0) {
    std::fill_n(scores, documents.size(), 0.0);
    return;
  }
  scratch.best.resize(documents.size() * laid_.lanes());
  if (!fold_fused(segment, documents, scratch)) fold_apart(segment, documents, scratch);
  const float* best = scratch.best.data();
  const double slack = kSlack + kSlackPerDim * static_cast<double>(query_.dim());
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const std::int64_t* tokens = segment.offsets + documents[i];
    if (tokens[0] == tokens[1]) {
      scores[i] = -static_cast<double>(kInfinity);
      continue;
    }
    double sum = 0.0;
    for (std::size_t t = 0; t < query_.tokens(); ++t) {
      sum += static_cast<double>(best[t]) * static_cast<double>(laid_.scales()[t]);
    }
    best += laid_.lanes();
    const double margin = bound_ == Bound::none
                              ? 0.0
                              : lost_sum_ * segment.max_norm +
                                    slack * (query_.norm_sum() * segment.max_norm + std::fabs(sum));
    scores[i] = bound_ == Bound::upper ? sum + margin : sum - margin;
  }
}

}  // namespace serotine::search
