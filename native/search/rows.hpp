// The loops of the centroid stage, plain code that each instruction-set file compiles with its own flags. Internal
// linkage throughout: the linker must never merge two files' copies.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"

namespace serotine::search {
namespace {

// How many documents ahead their tokens' ids are prefetched, and their offsets.
constexpr std::size_t kAhead = 6;
constexpr std::size_t kFarAhead = 16;

template <int Width>
struct Bytes;
template <>
struct Bytes<16> {
  typedef std::uint8_t Type __attribute__((vector_size(16)));
};
template <>
struct Bytes<32> {
  typedef std::uint8_t Type __attribute__((vector_size(32)));
};
template <>
struct Bytes<64> {
  typedef std::uint8_t Type __attribute__((vector_size(64)));
};

// The maxima of one document for `Width` query tokens: they stay in registers.
template <class Id, int Width>
inline std::uint32_t scan_document(const std::uint8_t* table, std::size_t width, const Id* ids, std::int64_t first,
                                   std::int64_t last) {
  using Row = typename Bytes<Width>::Type;
  Row best = {};
  for (std::int64_t t = first; t < last; ++t) {
    Row row;
    __builtin_memcpy(&row, table + static_cast<std::size_t>(ids[t]) * width, Width);
    best = row > best ? row : best;
  }
  std::uint32_t sum = 0;
  for (int i = 0; i < Width; ++i) sum += best[i];
  return sum;
}

template <class Id, int Width>
void scan_width(const Scan& scan, std::size_t column, const std::uint32_t* documents, std::size_t first,
                std::size_t count, std::uint32_t* sums) {
  const auto* ids = static_cast<const Id*>(scan.ids);
  const std::uint8_t* table = scan.table + column;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t document = documents == nullptr ? first + i : documents[i];
    // Chosen documents are far apart: without prefetching, each would wait for memory in turn.
    if (documents != nullptr && i + kFarAhead < count) {
      __builtin_prefetch(scan.offsets + documents[i + kFarAhead]);
      const std::uint32_t ahead = documents[i + kAhead];
      const auto* at = reinterpret_cast<const char*>(ids + scan.offsets[ahead]);
      const auto* end = reinterpret_cast<const char*>(ids + scan.offsets[ahead + 1]);
      for (; at < end; at += 64) __builtin_prefetch(at);
    }
    const std::uint32_t sum = scan_document<Id, Width>(table, scan.width, ids, scan.offsets[document],
                                                       scan.offsets[document + 1]);
    sums[i] = column == 0 ? sum : sums[i] + sum;
  }
}

template <class Id>
void scan_ids(const Scan& scan, const std::uint32_t* documents, std::size_t first, std::size_t count,
              std::uint32_t* sums) {
  for (std::size_t column = 0; column < scan.width;) {
    const std::size_t remaining = scan.width - column;
    if (remaining >= 64) {
      scan_width<Id, 64>(scan, column, documents, first, count, sums);
      column += 64;
    } else if (remaining >= 32) {
      scan_width<Id, 32>(scan, column, documents, first, count, sums);
      column += 32;
    } else {
      scan_width<Id, 16>(scan, column, documents, first, count, sums);
      column += 16;
    }
  }
}

void scan(const Scan& scan, const std::uint32_t* documents, std::size_t first, std::size_t count,
          std::uint32_t* sums) {
  if (scan.uint32_ids) {
    scan_ids<std::uint32_t>(scan, documents, first, count, sums);
  } else {
    scan_ids<std::uint16_t>(scan, documents, first, count, sums);
  }
}

// Tokens whose positions fit a byte, so that positions and maxima lie in registers of the same lanes.
constexpr std::int64_t kPositions = 256;
constexpr std::int64_t kMaxPositions = 65535;

template <class Id, int Width>
inline void winners_width(const std::uint8_t* table, std::size_t width, const Id* ids, std::int64_t count,
                          std::uint8_t* best, std::uint8_t* second, std::uint16_t* winners) {
  using Row = typename Bytes<Width>::Type;
  Row top = {};
  Row next = {};
  for (int i = 0; i < Width; ++i) winners[i] = 0;
  for (std::int64_t base = 0; base < count; base += kPositions) {
    const std::int64_t here = count - base < kPositions ? count - base : kPositions;
    const Row before = top;
    Row place = {};
    for (std::int64_t t = 0; t < here; ++t) {
      Row row;
      __builtin_memcpy(&row, table + static_cast<std::size_t>(ids[base + t]) * width, Width);
      const Row lower = row > top ? top : row;
      next = lower > next ? lower : next;
      place = row > top ? Row{} + static_cast<std::uint8_t>(t) : place;
      top = row > top ? row : top;
    }
    for (int i = 0; i < Width; ++i) {
      const auto now = static_cast<std::uint16_t>(base + place[i]);
      winners[i] = top[i] > before[i] ? now : winners[i];
    }
  }
  __builtin_memcpy(best, &top, sizeof(top));
  __builtin_memcpy(second, &next, sizeof(next));
}

template <class Id>
void winners_ids(const Scan& scan, std::size_t document, std::uint8_t* best, std::uint8_t* second,
                 std::uint16_t* winners) {
  const std::int64_t first = scan.offsets[document];
  const std::int64_t all = scan.offsets[document + 1] - first;
  const std::int64_t count = all < kMaxPositions ? all : kMaxPositions;
  const Id* ids = static_cast<const Id*>(scan.ids) + first;
  for (std::size_t column = 0; column < scan.width;) {
    const std::size_t remaining = scan.width - column;
    if (remaining >= 32) {
      winners_width<Id, 32>(scan.table + column, scan.width, ids, count, best + column, second + column,
                            winners + column);
      column += 32;
    } else {
      winners_width<Id, 16>(scan.table + column, scan.width, ids, count, best + column, second + column,
                            winners + column);
      column += 16;
    }
  }
}

void winners(const Scan& scan, std::size_t document, std::uint8_t* best, std::uint8_t* second, std::uint16_t* winners) {
  if (scan.uint32_ids) {
    winners_ids<std::uint32_t>(scan, document, best, second, winners);
  } else {
    winners_ids<std::uint16_t>(scan, document, best, second, winners);
  }
}

typedef std::uint32_t Words16 __attribute__((vector_size(64)));

std::size_t reaching(const std::uint32_t* words, std::size_t count, std::uint32_t least, std::uint32_t* positions) {
  std::size_t count_reached = 0;
  std::size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    Words16 now[4];
    __builtin_memcpy(now, words + i, sizeof(now));
    const Words16 first = now[0] > now[1] ? now[0] : now[1];
    const Words16 second = now[2] > now[3] ? now[2] : now[3];
    const auto there = (first > second ? first : second) >= least;
    // In most blocks no word reaches it.
    std::uint64_t any[8];
    __builtin_memcpy(any, &there, sizeof(any));
    if ((any[0] | any[1] | any[2] | any[3] | any[4] | any[5] | any[6] | any[7]) == 0) continue;
    for (std::size_t j = i; j < i + 64; ++j) {
      positions[count_reached] = static_cast<std::uint32_t>(j);
      count_reached += words[j] >= least ? 1 : 0;
    }
  }
  for (; i < count; ++i) {
    if (words[i] >= least) positions[count_reached++] = static_cast<std::uint32_t>(i);
  }
  return count_reached;
}

template <class Id>
std::size_t flagged_ids(const Id* ids, std::size_t count, const std::uint8_t* flags, std::uint32_t* positions) {
  std::size_t found = 0;
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    // Where few centroids are flagged, mostly none of eight is.
    unsigned any = 0;
    for (std::size_t j = i; j < i + 8; ++j) any |= flags[ids[j]];
    if (any == 0) continue;
    for (std::size_t j = i; j < i + 8; ++j) {
      positions[found] = static_cast<std::uint32_t>(j);
      found += flags[ids[j]];
    }
  }
  for (; i < count; ++i) {
    positions[found] = static_cast<std::uint32_t>(i);
    found += flags[ids[i]];
  }
  return found;
}

std::size_t flagged(const void* ids, bool uint32_ids, std::size_t count, const std::uint8_t* flags,
                    std::uint32_t* positions) {
  return uint32_ids ? flagged_ids(static_cast<const std::uint32_t*>(ids), count, flags, positions)
                    : flagged_ids(static_cast<const std::uint16_t*>(ids), count, flags, positions);
}

typedef float Floats16 __attribute__((vector_size(64)));
typedef std::int32_t Ints16 __attribute__((vector_size(64)));
typedef std::uint8_t Bytes16 __attribute__((vector_size(16)));

void quantize(const float* values, std::size_t stride, const float* bonuses, std::size_t count, const float* gain,
              const float* weight, const float* shift, std::size_t width, std::uint8_t* rows, std::uint8_t* best) {
  const Floats16 zero = {};
  const Floats16 top = zero + 255.0f;
  for (std::size_t column = 0; column < width; column += 16) {
    Floats16 gains;
    Floats16 weights;
    Floats16 shifts;
    Bytes16 most;
    __builtin_memcpy(&gains, gain + column, sizeof(gains));
    __builtin_memcpy(&weights, weight + column, sizeof(weights));
    __builtin_memcpy(&shifts, shift + column, sizeof(shifts));
    __builtin_memcpy(&most, best + column, sizeof(most));
    for (std::size_t r = 0; r < count; ++r) {
      Floats16 value;
      __builtin_memcpy(&value, values + r * stride + column, sizeof(value));
      value = value * gains + (weights * bonuses[r] + shifts);
      value = value < zero ? zero : value;
      value = value > top ? top : value;
      const Bytes16 bytes = __builtin_convertvector(__builtin_convertvector(value, Ints16), Bytes16);
      __builtin_memcpy(rows + r * width + column, &bytes, sizeof(bytes));
      most = bytes > most ? bytes : most;
    }
    __builtin_memcpy(best + column, &most, sizeof(most));
  }
}

}  // namespace
}  // namespace serotine::search
