// Probing: the documents on the posting lists of the nearest centroids.
#include <algorithm>
#include <array>

#include "centroids.hpp"

namespace serotine::search {
namespace {

// About how many centroids are sampled to count the postings of a level.
constexpr std::size_t kSampled = 4096;
constexpr std::size_t kLevels = 256;
// The most that a document's sum can hold.
constexpr std::uint32_t kMostSum = 65535;
// Words scanned between two raises of the threshold.
constexpr std::size_t kWordsPerScan = 1024;
// Documents whose sums a probe holds at a time: 128 KiB of words.
constexpr std::size_t kDocumentsPerBlock = 32768;
// How many lists ahead the next piece of a list is prefetched.
constexpr std::size_t kListsAhead = 8;

// Where the next piece of a posting list begins, and what it adds to the words of its documents: the gain in the high
// half, the query token in the low half.
struct Reading {
  const std::uint32_t* at;
  const std::uint32_t* end;
  std::uint32_t added;
};

std::uint64_t length(const Segment& segment, std::size_t centroid) {
  return segment.posting_starts[centroid + 1] - segment.posting_starts[centroid];
}

std::uint64_t length(const std::vector<AllowedSegment>& segments, std::size_t centroid) {
  std::uint64_t sum = 0;
  for (const AllowedSegment& allowed : segments) sum += length(*allowed.segment, centroid);
  return sum;
}

// The lists that a segment has, in the order given. Gains are divided by 2 to the power of `shift`, to at least 1.
std::vector<Reading> readings(const Segment& segment, const std::vector<CentroidTable::List>& lists, std::uint32_t shift) {
  std::vector<Reading> out;
  out.reserve(lists.size());
  for (const CentroidTable::List& list : lists) {
    const std::uint32_t* at = segment.postings + segment.posting_starts[list.centroid];
    const std::uint32_t added = (std::max(list.gain >> shift, 1u) << 16) | list.token;
    if (const std::uint64_t count = length(segment, list.centroid)) out.push_back({at, at + count, added});
  }
  return out;
}

}  // namespace

// Every query token has a typical similarity, that of the best token of a median document; the excess over it is what a
// document gains. Lists are read down to one distance from it, the same for all query tokens, chosen so that about
// `postings` postings are read: many lists for a rare word, only the nearest for a common one.
std::vector<CentroidTable::List> CentroidTable::lists(const std::vector<AllowedSegment>& segments, std::uint64_t postings) const {
  std::size_t documents = 0;
  for (const AllowedSegment& allowed : segments) documents += allowed.segment->documents;
  const std::size_t stride = std::max<std::size_t>(centroids_ / kSampled, 1);
  // reached[t][v]: postings of the lists whose byte is at least v.
  std::vector<std::array<std::uint64_t, kLevels + 1>> reached(tokens_);
  for (std::size_t c = 0; c < centroids_; c += stride) {
    const std::uint64_t sampled = length(segments, c) * stride;
    const std::uint8_t* row = rows_.data() + c * width_;
    for (std::size_t t = 0; t < tokens_; ++t) reached[t][row[t]] += sampled;
  }
  std::vector<int> typical(tokens_, 0);
  for (std::size_t t = 0; t < tokens_; ++t) {
    for (std::size_t v = kLevels; v-- > 0;) {
      reached[t][v] += reached[t][v + 1];
      if (typical[t] == 0 && reached[t][v] * 2 >= documents) typical[t] = static_cast<int>(v);
    }
  }
  const auto level = [&](std::size_t t, int distance) {
    return static_cast<std::size_t>(std::clamp(typical[t] + distance, 0, static_cast<int>(kLevels)));
  };
  int distance = -static_cast<int>(kLevels);
  for (int step = kLevels; step > 0; step /= 2) {
    std::uint64_t total = 0;
    for (std::size_t t = 0; t < tokens_; ++t) total += reached[t][level(t, distance + step - 1)];
    if (total > postings) distance += step;
  }

  std::vector<List> out;
  std::vector<List> token_lists;
  // At least one list is read, however few postings are allowed: the distance falls until every level passes.
  for (; out.empty() && distance >= -static_cast<int>(kLevels); --distance) {
    for (std::size_t t = 0; t < tokens_; ++t) {
      const auto lowest = static_cast<int>(level(t, distance));
      const int base = std::max(std::min(typical[t], lowest - 1), 0);
      token_lists.clear();
      for (std::size_t first = 0, b = 0; first < centroids_; first += kBlock, ++b) {
        if (blocks_[b * width_ + t] < lowest) continue;
        const std::size_t last = std::min(centroids_, first + kBlock);
        for (std::size_t c = first; c < last; ++c) {
          const int value = rows_[c * width_ + t];
          if (value < lowest || length(segments, c) == 0) continue;
          token_lists.push_back({static_cast<std::uint32_t>(c), static_cast<std::uint32_t>(t + 1),
                                 static_cast<std::uint32_t>(value - base)});
        }
      }
      // Best first, since a document counts once per query token; ties go to the first centroid.
      std::stable_sort(token_lists.begin(), token_lists.end(),
                       [](const List& a, const List& b) { return a.gain > b.gain; });
      out.insert(out.end(), token_lists.begin(), token_lists.end());
    }
  }
  return out;
}

std::vector<Candidate> CentroidTable::probe(const std::vector<AllowedSegment>& segments, std::uint64_t postings,
                                            std::size_t count) const {
  const std::vector<List> chosen = lists(segments, postings);
  // One word per document: its sum so far (high half) and the last query token that reached it
  // (low half), so that words compare as sums do. One block of documents at a time, so that the words stay in
  // the second-level cache; every list is read once, one piece per block.
  thread_local Aligned<std::uint32_t> words;
  words.resize(kDocumentsPerBlock);
  // Where the sums of many query tokens could exceed their half of a word, gains are divided by a power of two.
  std::uint32_t shift = 0;
  while (((kLevels - 1) >> shift) * tokens_ > kMostSum) ++shift;
  const CentroidKernels& loops = centroid_kernels();
  std::array<std::uint32_t, kWordsPerScan> positions;
  // Documents with their sums, which are exact as floats.
  std::vector<Candidate> best;
  std::size_t room = count * 4;
  std::uint32_t threshold = 1;
  // Drops documents with sums below the `count`-th.
  const auto tighten = [&] {
    if (best.size() <= count) return;
    std::nth_element(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(count - 1), best.end(),
                     [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
    const float least = best[count - 1].score;
    threshold = static_cast<std::uint32_t>(least);
    std::erase_if(best, [&](const Candidate& candidate) { return candidate.score < least; });
    room = std::max(count * 4, best.size() * 2);
  };
  for (const AllowedSegment& allowed : segments) {
    std::vector<Reading> selected = readings(*allowed.segment, chosen, shift);
    for (std::size_t first = 0; first < allowed.segment->documents; first += kDocumentsPerBlock) {
      const auto base = static_cast<std::uint32_t>(first);
      const std::size_t here = std::min(kDocumentsPerBlock, allowed.segment->documents - first);
      const std::uint64_t past = first + here;
      std::uint32_t* word = words.data();
      std::fill_n(word, here, 0);
      for (std::size_t l = 0; l < selected.size(); ++l) {
        if (l + kListsAhead < selected.size()) {
          // A piece is about thirty documents: two cache lines.
          __builtin_prefetch(selected[l + kListsAhead].at);
          __builtin_prefetch(selected[l + kListsAhead].at + 16);
        }
        Reading& list = selected[l];
        const std::uint32_t added = list.added;
        const std::uint32_t token = added & 0xffffu;
        const std::uint32_t* at = list.at;
        for (; at < list.end && *at < past; ++at) {
          const std::uint32_t stamp = word[*at - base];
          // The lists of a token come best first, so a later list adds nothing. No branch: it would often be
          // mispredicted.
          const std::uint32_t last = stamp & 0xffffu;
          const std::uint32_t fresh = 0u - static_cast<std::uint32_t>(last != token);
          word[*at - base] = stamp + ((added - last) & fresh);
        }
        list.at = at;
      }
      for (std::size_t next = 0; next < here;) {
        const std::size_t last = std::min(here, next + kWordsPerScan);
        const std::size_t reached = loops.reaching(word + next, last - next, threshold << 16, positions.data());
        for (std::size_t i = 0; i < reached; ++i) {
          const std::size_t d = next + positions[i];
          if (is_allowed(allowed.mask, first + d)) {
            best.push_back({static_cast<float>(word[d] >> 16), allowed.number, static_cast<std::uint32_t>(first + d)});
          }
        }
        if (best.size() >= room) tighten();
        next = last;
      }
    }
  }
  tighten();
  return best;
}

}  // namespace serotine::search
