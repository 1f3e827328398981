// The row loops of the codec over a small type `B`, a register of bytes. Internal linkage throughout: each
// instruction-set file compiles its own copy with its own flags, and the linker must never merge them.
//
// B provides: Reg, width (bytes), load(), store(), splat(byte), table(16 bytes) (in every 16-byte lane), bits_and(),
// bits_xor(), shift_right<n>(16-bit lanes), lookup(table, indices below 16), add() (saturating int8); and Sum, some int32,
// with zero(), multiplied() (a Sum plus the products of int16 values and a register of int8) and total().
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"

namespace serotine::codec {
namespace {

inline std::uint8_t saturated(int value, std::uint8_t flip) {
  value = value > 127 ? 127 : value < -128 ? -128 : value;
  return static_cast<std::uint8_t>(static_cast<std::uint8_t>(static_cast<std::int8_t>(value)) ^ flip);
}

// whole: a row is a multiple of the register. overlapping: the last register ends at the last byte, and decodes some bytes
// twice.
enum class Ends { whole, overlapping };

// Decodes one plane of a row (see codec.hpp), `n` dimensions, each in its own byte at bit `At`: at least one register.
template <class B, int Bits, int At, Ends End>
inline void decode_registers(const std::int8_t* centroid, const std::uint8_t* packed, const std::int8_t* table,
                             std::size_t n, std::uint8_t flip, std::uint8_t* out) {
  constexpr std::uint8_t kMask = (1 << Bits) - 1;
  const auto values = B::table(table);
  const auto mask = B::splat(kMask);
  const auto flips = B::splat(flip);
  const auto decode_at = [&](std::size_t i) __attribute__((always_inline)) {
    // The shift crosses bytes; the mask clears the bits of the neighboring byte.
    const auto code = B::bits_and(B::template shift_right<At>(B::load(packed + i)), mask);
    const auto sum = B::add(B::load(centroid + i), B::lookup(values, code));
    B::store(out + i, B::bits_xor(sum, flips));
  };
  std::size_t i = 0;
  for (; i + B::width <= n; i += B::width) decode_at(i);
  if constexpr (End == Ends::overlapping) {
    if (i < n) decode_at(n - B::width);
  }
}

// Two nibbles with a table each; the high one is added first.
template <class B, Ends End>
inline void decode_nibble_registers(const std::int8_t* centroid, const std::uint8_t* packed, const Tables& tables,
                                    std::size_t dim, std::uint8_t flip, std::uint8_t* out) {
  const auto low = B::table(tables.low);
  const auto high = B::table(tables.high);
  const auto mask = B::splat(15);
  const auto flips = B::splat(flip);
  const auto decode_at = [&](std::size_t i) __attribute__((always_inline)) {
    const auto code = B::load(packed + i);
    auto sum = B::add(B::load(centroid + i), B::lookup(high, B::bits_and(B::template shift_right<4>(code), mask)));
    sum = B::add(sum, B::lookup(low, B::bits_and(code, mask)));
    B::store(out + i, B::bits_xor(sum, flips));
  };
  std::size_t i = 0;
  for (; i + B::width <= dim; i += B::width) decode_at(i);
  if constexpr (End == Ends::overlapping) {
    if (i < dim) decode_at(dim - B::width);
  }
}

// Decodes a plane with the widest of some registers that it fills, the widest first.
template <int Bits, int At, class B, class... Narrower>
inline void decode_plane(const std::int8_t* centroid, const std::uint8_t* packed, const std::int8_t* table, std::size_t n,
                         std::uint8_t flip, std::uint8_t* out) {
  if constexpr (B::width > 1) {
    if (n >= B::width) {
      decode_registers<B, Bits, At, Ends::overlapping>(centroid, packed, table, n, flip, out);
      return;
    }
  }
  if constexpr (sizeof...(Narrower) > 0) {
    decode_plane<Bits, At, Narrower...>(centroid, packed, table, n, flip, out);
  } else {
    constexpr std::uint8_t kMask = (1 << Bits) - 1;
    for (std::size_t i = 0; i < n; ++i) out[i] = saturated(centroid[i] + table[(packed[i] >> At) & kMask], flip);
  }
}

template <int Bits, int Plane, class... Bytes>
inline void decode_planes(const std::int8_t* centroid, const std::uint8_t* packed, const std::int8_t* table,
                         std::size_t dim, std::size_t n, std::uint8_t flip, std::uint8_t* out) {
  if constexpr (Plane * Bits < 8) {
    const std::size_t base = Plane * n;
    if (base >= dim) return;
    const std::size_t now = dim - base < n ? dim - base : n;
    decode_plane<Bits, Plane * Bits, Bytes...>(centroid + base, packed, table, now, flip, out + base);
    decode_planes<Bits, Plane + 1, Bytes...>(centroid, packed, table, dim, n, flip, out);
  }
}

template <class B, class... Narrower>
inline void decode_nibbles(const std::int8_t* centroid, const std::uint8_t* packed, const Tables& tables, std::size_t dim,
                           std::uint8_t flip, std::uint8_t* out) {
  if constexpr (B::width > 1) {
    if (dim >= B::width) {
      decode_nibble_registers<B, Ends::overlapping>(centroid, packed, tables, dim, flip, out);
      return;
    }
  }
  if constexpr (sizeof...(Narrower) > 0) {
    decode_nibbles<Narrower...>(centroid, packed, tables, dim, flip, out);
  } else {
    for (std::size_t i = 0; i < dim; ++i) {
      const int first = static_cast<std::int8_t>(saturated(centroid[i] + tables.high[packed[i] >> 4], 0));
      out[i] = saturated(first + tables.low[packed[i] & 15], flip);
    }
  }
}

// Decodes a row whose planes are all of `n` bytes, at least one register: without loops over the rest, it leaves registers
// to what surrounds it.
template <class B, int Bits, Ends End, int Plane = 0>
inline void decode_whole_row(const std::int8_t* centroid, const std::uint8_t* packed, const Tables& tables,
                             std::size_t dim, std::size_t n, std::uint8_t flip, std::uint8_t* out) {
  if constexpr (Bits == 8) {
    decode_nibble_registers<B, End>(centroid, packed, tables, dim, flip, out);
  } else if constexpr (Plane * Bits < 8) {
    const std::size_t base = Plane * n;
    decode_registers<B, Bits, Plane * Bits, End>(centroid + base, packed, tables.low, n, flip, out + base);
    decode_whole_row<B, Bits, End, Plane + 1>(centroid, packed, tables, dim, n, flip, out);
  }
}

// As in common/prefetch.hpp, of internal linkage.
inline void prefetch_row(const void* row, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += 64) __builtin_prefetch(static_cast<const char*>(row) + at);
}

// `Bytes`: registers, the widest first.
template <int Bits, class... Bytes>
void decode(const Rows& rows) {
  const std::size_t bytes = (rows.dim * Bits + 7) / 8;
  for (std::size_t t = 0; t < rows.count; ++t) {
    const std::size_t later = t + kTokensAhead;
    if (later < rows.count) {
      prefetch_row(rows.centroids + rows.ids[later] * rows.dim, rows.dim);
    } else if (later - rows.count < rows.next_count) {
      prefetch_row(rows.next_centroids + rows.next_ids[later - rows.count] * rows.dim, rows.dim);
    }
    prefetch_row(rows.next_packed + t * bytes, bytes);
    const std::int8_t* centroid = rows.centroids + rows.ids[t] * rows.dim;
    const std::uint8_t* packed = rows.packed + t * bytes;
    const Tables& tables = rows.tables[rows.residual_scales[t]];
    std::uint8_t* out = rows.out + t * rows.stride;
    if constexpr (Bits == 8) {
      decode_nibbles<Bytes...>(centroid, packed, tables, rows.dim, rows.flip, out);
    } else {
      decode_planes<Bits, 0, Bytes...>(centroid, packed, tables.low, rows.dim, bytes, rows.flip, out);
    }
  }
}

// Multiplies one plane of a row (see decode_plane) with a query row.
template <class B, int Bits, int At>
inline void multiply_plane(const std::int16_t* row, const std::uint8_t* packed, const std::int8_t* table, std::size_t n,
                          typename B::Sum& sum, std::int32_t& rest) {
  constexpr std::uint8_t kMask = (1 << Bits) - 1;
  std::size_t i = 0;
  if constexpr (B::width > 1) {
    const auto values = B::table(table);
    const auto mask = B::splat(kMask);
    for (; i + B::width <= n; i += B::width) {
      const auto code = B::bits_and(B::template shift_right<At>(B::load(packed + i)), mask);
      sum = B::multiplied(sum, row + i, B::lookup(values, code));
    }
  }
  for (; i < n; ++i) rest += row[i] * table[(packed[i] >> At) & kMask];
}

template <class B, int Bits, int Plane>
inline void multiply_planes(const std::int16_t* row, const std::uint8_t* packed, const std::int8_t* table,
                           std::size_t dim, std::size_t n, typename B::Sum& sum, std::int32_t& rest) {
  if constexpr (Plane * Bits < 8) {
    const std::size_t base = Plane * n;
    if (base >= dim) return;
    multiply_plane<B, Bits, Plane * Bits>(row + base, packed, table, dim - base < n ? dim - base : n, sum, rest);
    multiply_planes<B, Bits, Plane + 1>(row, packed, table, dim, n, sum, rest);
  }
}

template <class B>
inline void multiply_nibbles(const std::int16_t* row, const std::uint8_t* packed, const Tables& tables, std::size_t dim,
                             typename B::Sum& sum, std::int32_t& rest) {
  std::size_t i = 0;
  if constexpr (B::width > 1) {
    const auto low = B::table(tables.low);
    const auto high = B::table(tables.high);
    const auto mask = B::splat(15);
    for (; i + B::width <= dim; i += B::width) {
      const auto code = B::load(packed + i);
      const auto upper = B::lookup(high, B::bits_and(B::template shift_right<4>(code), mask));
      sum = B::multiplied(sum, row + i, B::add(upper, B::lookup(low, B::bits_and(code, mask))));
    }
  }
  for (; i < dim; ++i) {
    const auto both = saturated(tables.high[packed[i] >> 4] + tables.low[packed[i] & 15], 0);
    rest += row[i] * static_cast<std::int8_t>(both);
  }
}

template <class B, int Bits>
inline void multiply_with(const Pairs& pairs, std::size_t bytes) {
  for (std::size_t i = 0; i < pairs.count; ++i) {
    const std::size_t token = pairs.tokens[i];
    const std::int16_t* row = pairs.rows + i * pairs.row_stride;
    const std::uint8_t* packed = pairs.packed + token * bytes;
    const Tables& tables = pairs.tables[pairs.residual_scales[token]];
    typename B::Sum sum = B::zero();
    std::int32_t rest = 0;
    if constexpr (Bits == 8) {
      multiply_nibbles<B>(row, packed, tables, pairs.dim, sum, rest);
    } else {
      multiply_planes<B, Bits, 0>(row, packed, tables.low, pairs.dim, bytes, sum, rest);
    }
    pairs.products[i] = B::total(sum) + rest;
  }
}

template <class B, class... Narrower>
struct Narrowest : Narrowest<Narrower...> {};
template <class B>
struct Narrowest<B> {
  static constexpr std::size_t width = B::width;
};

// Uses the widest register that leaves the same scalar rest as the narrowest.
template <int Bits, class B, class... Narrower>
void multiply(const Pairs& pairs) {
  const std::size_t bytes = (pairs.dim * Bits + 7) / 8;
  if constexpr (sizeof...(Narrower) > 0) {
    if (bytes % B::width != bytes % Narrowest<Narrower...>::width) {
      multiply<Bits, Narrower...>(pairs);
      return;
    }
  }
  multiply_with<B, Bits>(pairs, bytes);
}

inline void bin(const float* target, std::size_t dim, const float* thresholds, std::size_t count, std::uint8_t* codes) {
  for (std::size_t d = 0; d < dim; ++d) codes[d] = 0;
  for (std::size_t k = 0; k < count; ++k) {
    const float threshold = thresholds[k];
    for (std::size_t d = 0; d < dim; ++d) codes[d] = static_cast<std::uint8_t>(codes[d] + (target[d] > threshold ? 1 : 0));
  }
}

}  // namespace
}  // namespace serotine::codec
