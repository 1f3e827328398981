#include "centroids.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "../common/thread_pool.hpp"

namespace serotine::search {
namespace {

// Centroids scored side by side, which share one row of maxima.
constexpr std::size_t kBlock = 64;
constexpr std::size_t kBlocksAnItem = 8;
// Postings after which no further list is read for a query token.
constexpr std::uint64_t kPostingsAToken = 16384;
// Documents whose sums a probe holds at a time: 128 KiB of words.
constexpr std::size_t kProbedTogether = 32768;
// Words that are looked through before the least sum that still counts is raised.
constexpr std::size_t kLookedAtTogether = 1024;
// Documents one item of parallel work scans.
constexpr std::size_t kDocumentsAnItem = 1024;

// A document and what the lists it is in come to.
struct Reached {
  std::uint32_t sum;
  std::uint32_t document;
};

// The memory of this thread's last tables: fresh pages would have to be cleared by the system for every query.
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

  // A query token's bytes run from its similarity with the mean of all centroids (what is below cannot matter among
  // many tokens) up to what no centroid exceeds; all query tokens share one step, so that their bytes add up.
  std::vector<float> low(width_, 0.0f);
  float range = 0.0f;
  for (std::size_t t = 0; t < tokens_; ++t) {
    double dot = 0.0;
    for (std::size_t d = 0; d < dim; ++d) dot += static_cast<double>(query.values()[t * dim + d]) * codebook.mean[d];
    low[t] = static_cast<float>(dot);
    range = std::max(range, query.norms()[t] * codebook.longest - low[t]);
  }
  step_ = range > 0.0f ? range / 255.0f : 1.0f;
  std::vector<float> gain(width_, 0.0f);
  std::vector<float> shift(width_, 0.0f);
  for (std::size_t t = 0; t < tokens_; ++t) {
    gain[t] = query.scales()[t] / step_;
    shift[t] = 0.5f - low[t] / step_;
    base_ += low[t];
  }

  const maxsim::Kernels& kernels = query.kernels();
  const LaidQuery& laid = query.laid();
  // A row of similarities has room for whole lanes and for whole columns of the table.
  const std::size_t padded = std::max(laid.lanes(), width_);
  const std::size_t stride = laid.steps() * kernels.i8.group * kernels.i8.bytes;
  const CentroidKernels& loops = centroid_kernels();
  const std::size_t items = (blocks + kBlocksAnItem - 1) / kBlocksAnItem;
  // Kernels that read unsigned bytes find them ready; for the others there is a step between.
  const bool ready = codebook.flipped != nullptr && kernels.i8.bytes == 1 && kernels.i8.offset == 128 && stride == dim;
  struct Scratch {
    Aligned<std::uint8_t> staged;
    Aligned<float> values;
  };
  std::vector<Scratch> scratch(num_threads());
  parallel_for(items, scratch.size(), [&](std::size_t item, std::size_t worker) {
    Scratch& mine = scratch[worker];
    if (!ready) mine.staged.resize(kBlock * stride);
    mine.values.assign(kBlock * padded, 0.0f);
    const std::size_t end = std::min(centroids_, (item + 1) * kBlocksAnItem * kBlock);
    for (std::size_t first = item * kBlocksAnItem * kBlock; first < end; first += kBlock) {
      const std::size_t count = std::min(kBlock, end - first);
      if (!ready) kernels.i8.stage(codebook.centroids + first * dim, count, dim, mine.staged.data(), stride);
      const std::uint8_t* rows = ready ? codebook.flipped + first * dim : mine.staged.data();
      laid.dots(kernels, rows, stride, codebook.scales + first, count, mine.values.data(), padded);
      loops.quantise(mine.values.data(), padded, count, gain.data(), shift.data(), width_, rows_.data() + first * width_,
                     blocks_.data() + first / kBlock * width_);
    }
  });
}

CentroidTable::~CentroidTable() {
  if (spare().size() < kMostSpare) spare().push_back(std::move(rows_));
}

void CentroidTable::scan(const Part& part, std::uint32_t number, const std::uint64_t* allowed, std::size_t count,
                         std::vector<Candidate>& out) const {
  const Scan job = scan_of(part);
  const CentroidKernels& loops = centroid_kernels();
  const std::size_t items = (part.documents + kDocumentsAnItem - 1) / kDocumentsAnItem;
  std::vector<std::uint32_t> sums(part.documents);
  parallel_for(items, num_threads(), [&](std::size_t item, std::size_t) {
    const std::size_t first = item * kDocumentsAnItem;
    const std::size_t now = std::min(kDocumentsAnItem, part.documents - first);
    if (allowed == nullptr) {
      loops.scan(job, nullptr, first, now, sums.data() + first);
      return;
    }
    for (std::size_t d = first; d < first + now; ++d) {
      if (lets_through(allowed, d)) loops.scan(job, nullptr, d, 1, sums.data() + d);
    }
  });
  // Sums are small integers: counting them finds the least that belongs among the best, without a sort.
  std::vector<std::uint32_t> histogram(255 * tokens_ + 1, 0);
  for (std::size_t d = 0; d < part.documents; ++d) histogram[sums[d]] += lets_through(allowed, d) ? 1 : 0;
  std::size_t least = histogram.size();
  for (std::size_t reached = 0; least > 0 && reached < count;) reached += histogram[--least];
  for (std::size_t d = 0; d < part.documents; ++d) {
    if (sums[d] >= least && lets_through(allowed, d)) {
      out.push_back({similarity(sums[d]), number, static_cast<std::uint32_t>(d)});
    }
  }
}

void CentroidTable::scan(const Part& part, std::uint32_t number, const std::vector<std::uint32_t>& documents,
                         std::vector<Candidate>& out) const {
  const Scan job = scan_of(part);
  const CentroidKernels& loops = centroid_kernels();
  const std::size_t items = (documents.size() + kDocumentsAnItem - 1) / kDocumentsAnItem;
  std::vector<std::uint32_t> sums(documents.size());
  parallel_for(items, num_threads(), [&](std::size_t item, std::size_t) {
    const std::size_t first = item * kDocumentsAnItem;
    const std::size_t count = std::min(kDocumentsAnItem, documents.size() - first);
    loops.scan(job, documents.data() + first, 0, count, sums.data() + first);
  });
  for (std::size_t i = 0; i < documents.size(); ++i) out.push_back({similarity(sums[i]), number, documents[i]});
}

void CentroidTable::best_of(std::size_t token, std::size_t probes, std::vector<Probed>& out) const {
  out.clear();
  const std::size_t blocks = blocks_.size() / std::max<std::size_t>(width_, 1);
  // The probes-th best block maximum is a value that at least `probes` centroids reach: only blocks that reach it
  // need to be looked into.
  std::size_t histogram[256] = {};
  for (std::size_t b = 0; b < blocks; ++b) ++histogram[blocks_[b * width_ + token]];
  std::size_t reached = 0;
  int threshold = 255;
  for (; threshold > 0; --threshold) {
    reached += histogram[threshold];
    if (reached >= probes) break;
  }
  for (std::size_t b = 0; b < blocks; ++b) {
    if (blocks_[b * width_ + token] < threshold) continue;
    const std::size_t last = std::min(centroids_, (b + 1) * kBlock);
    for (std::size_t c = b * kBlock; c < last; ++c) {
      const std::uint8_t value = rows_[c * width_ + token];
      if (value >= threshold) out.push_back({value, static_cast<std::uint32_t>(c)});
    }
  }
  std::sort(out.begin(), out.end(), [](const Probed& a, const Probed& b) {
    return a.value != b.value ? a.value > b.value : a.centroid < b.centroid;
  });
  if (out.size() > probes) out.resize(probes);
}

std::vector<std::uint32_t> CentroidTable::probe(const Part& part, const std::uint64_t* allowed, std::size_t probes,
                                                std::size_t count) const {
  // The lists of one query token, each with what a document gains by being in it.
  struct Cursor {
    const std::uint32_t* at;
    const std::uint32_t* end;
    std::uint32_t stamp;
    std::uint32_t gain;
  };
  std::vector<Cursor> cursors;
  std::vector<Probed> best;
  for (std::size_t t = 0; t < tokens_; ++t) {
    best_of(t, probes, best);
    // What is in very many documents tells little about any of them, and takes most of the time.
    std::uint64_t length = 0;
    std::size_t read = 0;
    while (read < best.size() && length < kPostingsAToken) {
      length += part.posting_starts[best[read].centroid + 1] - part.posting_starts[best[read].centroid];
      ++read;
    }
    best.resize(read);
    if (best.empty()) continue;
    // A document that none of these centroids holds is taken to have what the last of them has.
    const std::uint32_t floor = best.back().value == 0 ? 0 : best.back().value - 1u;
    for (const Probed& probed : best) {
      const std::uint64_t* starts = part.posting_starts + probed.centroid;
      cursors.push_back({part.postings + starts[0], part.postings + starts[1], static_cast<std::uint32_t>(t + 1),
                         probed.value - floor});
    }
  }

  // One word a document: its sum so far (high half, where it stops at the top) and the last query token that found it
  // (low half), so that words compare as sums do. The words of one block of documents at a time, so that they stay in the second-level cache: every list is
  // read once, a piece a block.
  thread_local Aligned<std::uint32_t> words;
  words.resize(kProbedTogether);
  const CentroidKernels& loops = centroid_kernels();
  std::array<std::uint32_t, kLookedAtTogether> places;
  std::vector<Reached> found;
  std::size_t room = count * 4;
  std::uint32_t threshold = 1;
  // Only what is at least as good as the `count`-th stays.
  const auto tighten = [&] {
    if (found.size() <= count) return;
    std::nth_element(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count - 1), found.end(),
                     [](const Reached& a, const Reached& b) { return a.sum > b.sum; });
    threshold = found[count - 1].sum;
    std::erase_if(found, [&](const Reached& one) { return one.sum < threshold; });
    room = std::max(count * 4, found.size() * 2);
  };
  for (std::size_t first = 0; first < part.documents; first += kProbedTogether) {
    const auto base = static_cast<std::uint32_t>(first);
    const std::size_t here = std::min(kProbedTogether, part.documents - first);
    const std::uint64_t past = first + here;
    std::uint32_t* word = words.data();
    std::fill_n(word, here, 0);
    for (Cursor& cursor : cursors) {
      const std::uint32_t stamp = cursor.stamp;
      const std::uint32_t gain = cursor.gain;
      const std::uint32_t* at = cursor.at;
      for (; at < cursor.end && *at < past; ++at) {
        const std::uint32_t seen = word[*at - base];
        const std::uint32_t sum = std::min((seen >> 16) + gain, 0xffffu);
        // The lists of a token come best first: a later one has nothing to add.
        word[*at - base] = (seen & 0xffffu) == stamp ? seen : sum << 16 | stamp;
      }
      cursor.at = at;
    }
    for (std::size_t next = 0; next < here;) {
      const std::size_t last = std::min(here, next + kLookedAtTogether);
      const std::size_t count_there = loops.reaching(word + next, last - next, threshold << 16, places.data());
      for (std::size_t i = 0; i < count_there; ++i) {
        const std::size_t d = next + places[i];
        if (lets_through(allowed, first + d)) found.push_back({word[d] >> 16, static_cast<std::uint32_t>(first + d)});
      }
      if (found.size() >= room) tighten();
      next = last;
    }
  }
  tighten();
  std::vector<std::uint32_t> out(found.size());
  std::transform(found.begin(), found.end(), out.begin(), [](const Reached& one) { return one.document; });
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace serotine::search
