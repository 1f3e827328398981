#include "centroids.hpp"

#include <algorithm>

#include "../common/thread_pool.hpp"

namespace serotine::search {
namespace {

constexpr std::size_t kBlock = CentroidTable::kBlock;
constexpr std::size_t kBlocksPerItem = 8;
// Documents one item of parallel work scans.
constexpr std::size_t kDocumentsPerItem = 1024;

// This thread's last tables, reused: the system would clear new pages for every query.
std::vector<Aligned<std::uint8_t>>& spare() {
  thread_local std::vector<Aligned<std::uint8_t>> buffers;
  return buffers;
}
constexpr std::size_t kMostSpare = 4;

Aligned<std::uint8_t> take_spare() {
  if (spare().empty()) return {};
  Aligned<std::uint8_t> buffer = std::move(spare().back());
  spare().pop_back();
  return buffer;
}

}  // namespace

const CentroidKernels& centroid_kernels() {
#if defined(SEROTINE_X86)
  switch (maxsim::level()) {
    case maxsim::Level::avx512:
      return avx512_centroids;
    case maxsim::Level::avx2:
      return avx2_centroids;
    default:
      break;
  }
#endif
  return portable_centroids;
}

void keep_best(std::vector<Candidate>& candidates, std::size_t count) {
  if (candidates.size() <= count) return;
  std::nth_element(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(count), candidates.end(), better);
  candidates.resize(count);
}

CentroidTable::CentroidTable(const Query& query, const codec::Codebook& codebook)
    : tokens_(query.tokens()), width_((query.tokens() + 15) / 16 * 16), centroids_(codebook.count) {
  const std::size_t dim = codebook.dim;
  const std::size_t blocks = (centroids_ + kBlock - 1) / kBlock;
  rows_ = take_spare();
  rows_.resize(centroids_ * width_);
  blocks_.assign(blocks * width_, 0);

  // The best of many tokens is above its centroid, by the more the wider its centroid's tokens spread: a spread is
  // added. A query token's bytes run from its similarity with the mean of all centroids (lower ones never win among many
  // tokens) to an upper bound over the centroids; all query tokens share one unit, so that their bytes add up.
  std::vector<float> low(width_, 0.0f);
  float range = 0.0f;
  for (std::size_t t = 0; t < tokens_; ++t) {
    double dot = 0.0;
    for (std::size_t d = 0; d < dim; ++d) dot += static_cast<double>(query.values()[t * dim + d]) * codebook.mean[d];
    low[t] = static_cast<float>(dot);
    range = std::max(range, query.norms()[t] * codebook.max_reach - low[t]);
  }
  unit_ = range > 0.0f ? range / 255.0f : 1.0f;
  std::vector<float> gain(width_, 0.0f);
  spread_weights_.assign(width_, 0.0f);
  std::vector<float> shift(width_, 0.0f);
  for (std::size_t t = 0; t < tokens_; ++t) {
    gain[t] = query.scales()[t] / unit_;
    spread_weights_[t] = query.norms()[t] / unit_;
    shift[t] = 0.5f - low[t] / unit_;
    base_ += low[t];
  }

  const maxsim::Kernels& kernels = query.kernels();
  const LaidQuery& laid = query.laid();
  // A row of similarities has room for whole lanes and for whole columns of the table.
  const std::size_t padded = std::max(laid.lanes(), width_);
  const std::size_t stride = laid.steps() * kernels.i8.group * kernels.i8.bytes;
  const CentroidKernels& loops = centroid_kernels();
  const std::size_t items = (blocks + kBlocksPerItem - 1) / kBlocksPerItem;
  // Kernels that read unsigned bytes read the codebook itself; for the others rows are staged.
  const bool in_place = codebook.flipped != nullptr && kernels.i8.bytes == 1 && kernels.i8.offset == 128 && stride == dim;
  struct Scratch {
    Aligned<std::uint8_t> staged;
    Aligned<float> values;
  };
  std::vector<Scratch> scratch(num_threads());
  parallel_for(items, scratch.size(), [&](std::size_t item, std::size_t worker) {
    Scratch& buffers = scratch[worker];
    if (!in_place) buffers.staged.resize(kBlock * stride);
    buffers.values.assign(kBlock * padded, 0.0f);
    const std::size_t end = std::min(centroids_, (item + 1) * kBlocksPerItem * kBlock);
    for (std::size_t first = item * kBlocksPerItem * kBlock; first < end; first += kBlock) {
      const std::size_t count = std::min(kBlock, end - first);
      if (!in_place) kernels.i8.stage(codebook.centroids + first * dim, count, dim, buffers.staged.data(), stride);
      const std::uint8_t* rows = in_place ? codebook.flipped + first * dim : buffers.staged.data();
      laid.dots(kernels, rows, stride, codebook.scales + first, count, buffers.values.data(), padded);
      loops.quantize(buffers.values.data(), padded, codebook.spreads + first, count, gain.data(), spread_weights_.data(),
                     shift.data(), width_, rows_.data() + first * width_, blocks_.data() + first / kBlock * width_);
    }
  });
}

CentroidTable::~CentroidTable() {
  if (spare().size() < kMostSpare) spare().push_back(std::move(rows_));
}

void CentroidTable::scan(const Segment& segment, std::uint32_t number, const std::uint64_t* mask, std::size_t count,
                         std::vector<Candidate>& out) const {
  const Scan job = scan_of(segment);
  const CentroidKernels& loops = centroid_kernels();
  const std::size_t items = (segment.documents + kDocumentsPerItem - 1) / kDocumentsPerItem;
  std::vector<std::uint32_t> sums(segment.documents);
  parallel_for(items, num_threads(), [&](std::size_t item, std::size_t) {
    const std::size_t first = item * kDocumentsPerItem;
    const std::size_t count_here = std::min(kDocumentsPerItem, segment.documents - first);
    if (mask == nullptr) {
      loops.scan(job, nullptr, first, count_here, sums.data() + first);
      return;
    }
    for (std::size_t d = first; d < first + count_here; ++d) {
      if (is_allowed(mask, d)) loops.scan(job, nullptr, d, 1, sums.data() + d);
    }
  });
  // Sums are small integers: a histogram gives the lowest one among the best without a sort.
  std::vector<std::uint32_t> histogram(255 * tokens_ + 1, 0);
  for (std::size_t d = 0; d < segment.documents; ++d) histogram[sums[d]] += is_allowed(mask, d) ? 1 : 0;
  std::size_t least = histogram.size();
  for (std::size_t reached = 0; least > 0 && reached < count;) reached += histogram[--least];
  for (std::size_t d = 0; d < segment.documents; ++d) {
    if (sums[d] >= least && is_allowed(mask, d)) {
      out.push_back({similarity(sums[d]), number, static_cast<std::uint32_t>(d)});
    }
  }
}

void CentroidTable::scan(const Segment& segment, std::uint32_t number, const std::vector<std::uint32_t>& documents,
                         std::vector<Candidate>& out) const {
  const Scan job = scan_of(segment);
  const CentroidKernels& loops = centroid_kernels();
  const std::size_t items = (documents.size() + kDocumentsPerItem - 1) / kDocumentsPerItem;
  std::vector<std::uint32_t> sums(documents.size());
  parallel_for(items, num_threads(), [&](std::size_t item, std::size_t) {
    const std::size_t first = item * kDocumentsPerItem;
    const std::size_t count = std::min(kDocumentsPerItem, documents.size() - first);
    loops.scan(job, documents.data() + first, 0, count, sums.data() + first);
  });
  for (std::size_t i = 0; i < documents.size(); ++i) out.push_back({similarity(sums[i]), number, documents[i]});
}

}  // namespace serotine::search
