#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "../common/thread_pool.hpp"
#include "../maxsim/dispatch.hpp"
#include "codec.hpp"
#include "kernels.hpp"

namespace serotine::codec {
namespace {

// An error byte is a logarithm: 15 values an octave, from 2^(-64/15) units up.
constexpr double kErrorsPerOctave = 15.0;
constexpr double kErrorOrigin = 64.0;
// Tokens one item of parallel work encodes.
constexpr std::size_t kTokensPerItem = 512;

// Lloyd and Max's levels for a unit Gaussian, the outermost scaled to 127.
constexpr int kLevels2[4] = {-127, -38, 38, 127};
constexpr int kLevels4[16] = {-127, -96, -75, -58, -44, -31, -18, -6, 6, 18, 31, 44, 58, 75, 96, 127};
// The outermost level in standard deviations; it gives the first scale to try.
constexpr double kOutermost2 = 1.510;
constexpr double kOutermost4 = 2.733;

struct Bounds {
  std::array<float, 256> at{};
  Bounds() {
    for (std::size_t b = 0; b < 255; ++b) {
      at[b] = static_cast<float>(std::exp2((static_cast<double>(b) - kErrorOrigin) / kErrorsPerOctave));
    }
    at[255] = std::numeric_limits<float>::infinity();
  }
};

const Bounds& bounds() {
  static const Bounds table;
  return table;
}

std::uint8_t error_byte(double units) {
  const auto& table = bounds().at;
  // The first bound at or above the error, with room for the rounding of the square root.
  const auto bound = static_cast<float>(units * (1.0 + 1e-6));
  return static_cast<std::uint8_t>(std::lower_bound(table.begin(), table.end() - 1, bound) - table.begin());
}

const CodecKernels& codec_kernels() {
#if defined(SEROTINE_X86)
  switch (maxsim::level()) {
    case maxsim::Level::avx512:
      return avx512_codec;
    case maxsim::Level::avx2:
      return avx2_codec;
    default:
      break;
  }
#endif
#if defined(SEROTINE_ARM)
  if (maxsim::level() == maxsim::Level::neon) return neon_codec;
#endif
  return portable_codec;
}

std::int8_t entry(int level, int scale) { return static_cast<std::int8_t>((level * scale + 128) >> 8); }

// The tables of every residual scale, for one number of bits.
struct ScaleTables {
  std::array<Tables, 256> of{};
  explicit ScaleTables(int bits) {
    for (int scale = 0; scale < 256; ++scale) {
      Tables& tables = of[static_cast<std::size_t>(scale)];
      for (int c = 0; c < 16; ++c) {
        // Of 8 bits, the 256 odd levels up to 255 count halves: the high nibble adds a multiple of 16.
        tables.low[c] = bits == 2   ? entry(kLevels2[c & 3], scale)
                        : bits == 4 ? entry(kLevels4[c], scale)
                                    : static_cast<std::int8_t>(((2 * c - 15) * scale + 256) >> 9);
        tables.high[c] = bits == 8 ? entry(16 * c - 120, scale) : std::int8_t{0};
      }
    }
  }
};


void rebuild(int bits, const Rows& rows) {
  const CodecKernels& kernels = codec_kernels();
  (bits == 2 ? kernels.decode2 : bits == 4 ? kernels.decode4 : kernels.decode8)(rows);
}

// Encodes one vector: tries the scale that suits a Gaussian, then the least-squares scale for the resulting codes, and
// chooses the one that rebuilds the vector best.
class Encoder {
 public:
  Encoder(const Codebook& codebook, int bits)
      : codebook_(codebook),
        bits_(bits),
        kernels_(codec_kernels()),
        tables_(scale_tables(bits)),
        target_(codebook.dim),
        codes_(codebook.dim),
        packed_(row_bytes(codebook.dim, bits)),
        rebuilt_(codebook.dim) {}

  void encode(const float* vector, std::size_t id, std::uint8_t* residual_scale, std::uint8_t* error,
              std::uint8_t* residual) {
    const std::size_t dim = codebook_.dim;
    const std::int8_t* centroid = codebook_.centroids + id * dim;
    const float inverse = 1.0f / codebook_.scales[id];
    double squares = 0.0;
    float largest = 0.0f;
    for (std::size_t d = 0; d < dim; ++d) {
      target_[d] = vector[d] * inverse - static_cast<float>(centroid[d]);
      squares += static_cast<double>(target_[d]) * target_[d];
      largest = std::max(largest, std::fabs(target_[d]));
    }
    double scale = first_scale(std::sqrt(squares / static_cast<double>(std::max<std::size_t>(dim, 1))), largest);
    double best = std::numeric_limits<double>::infinity();
    int last = -1;
    for (int round = 0; round < 3; ++round) {
      const int tried = static_cast<int>(std::lround(std::clamp(scale, 0.0, 255.0)));
      if (tried == last) break;
      last = tried;
      const Tables& tables = tables_[tried];
      pack(tables, tried);
      const auto number = static_cast<std::uint32_t>(id);
      const auto byte = static_cast<std::uint8_t>(tried);
      rebuild(bits_, {codebook_.centroids, &number, packed_.data(), &byte, tables_, 1, dim, 0,
                      rebuilt_.data(), dim, packed_.data(), nullptr, nullptr, 0});
      float distance = 0.0f;
      float dot = 0.0f;
      float norm = 0.0f;
      measure(centroid, distance, dot, norm);
      if (!(distance < best)) break;
      best = distance;
      *residual_scale = static_cast<std::uint8_t>(tried);
      std::copy(packed_.begin(), packed_.end(), residual);
      if (norm <= 0.0f) break;
      scale = static_cast<double>(tried) * dot / norm;
    }
    if (last < 0 || !std::isfinite(best)) {
      // The vector is so far from its centroid that fp32 overflows: the error byte marks the code as unbounded.
      *residual_scale = 0;
      std::fill_n(residual, packed_.size(), std::uint8_t{0});
      *error = 255;
      return;
    }
    *error = error_byte(std::sqrt(static_cast<double>(best)) * (1.0 + 1e-5));
  }

 private:
  double first_scale(double rms, float largest) const {
    if (bits_ == 2) return rms * kOutermost2 * 256.0 / 127.0;
    if (bits_ == 4) return rms * kOutermost4 * 256.0 / 127.0;
    // With 256 levels no value needs to be clipped: 255 levels of half a unit.
    return static_cast<double>(largest) * 512.0 / 255.0;
  }

  void pack(const Tables& tables, int scale) {
    const std::size_t dim = codebook_.dim;
    if (bits_ == 8) {
      const float inverse = scale == 0 ? 0.0f : 512.0f / static_cast<float>(scale);
      for (std::size_t d = 0; d < dim; ++d) {
        packed_[d] = static_cast<std::uint8_t>(std::clamp((target_[d] * inverse + 255.0f) * 0.5f + 0.5f, 0.0f, 255.0f));
      }
      return;
    }
    const std::size_t levels = std::size_t{1} << bits_;
    float thresholds[15];
    for (std::size_t c = 0; c + 1 < levels; ++c) {
      thresholds[c] = 0.5f * (static_cast<float>(tables.low[c]) + static_cast<float>(tables.low[c + 1]));
    }
    kernels_.bin(target_.data(), dim, thresholds, levels - 1, codes_.data());
    const std::size_t n = packed_.size();
    std::fill(packed_.begin(), packed_.end(), std::uint8_t{0});
    for (std::size_t plane = 0; plane * n < dim; ++plane) {
      const std::size_t now = std::min(n, dim - plane * n);
      const auto at = static_cast<int>(plane) * bits_;
      for (std::size_t i = 0; i < now; ++i) {
        packed_[i] = static_cast<std::uint8_t>(packed_[i] | (codes_[plane * n + i] << at));
      }
    }
  }

  // Computes the squared distance to the rebuilt vector, and <target, r> and <r, r> of the rebuilt residual r.
  void measure(const std::int8_t* centroid, float& distance, float& dot, float& norm) const {
    // Sixteen sums side by side: the compiler can vectorize them, and the result is the same everywhere.
    float sums[3][16] = {};
    const std::size_t dim = codebook_.dim;
    for (std::size_t d = 0; d < dim; ++d) {
      const float r = static_cast<float>(static_cast<std::int8_t>(rebuilt_[d]) - centroid[d]);
      const float off = target_[d] - r;
      sums[0][d % 16] += off * off;
      sums[1][d % 16] += target_[d] * r;
      sums[2][d % 16] += r * r;
    }
    for (int i = 0; i < 16; ++i) {
      distance += sums[0][i];
      dot += sums[1][i];
      norm += sums[2][i];
    }
  }

  const Codebook& codebook_;
  int bits_;
  const CodecKernels& kernels_;
  const Tables* tables_;
  std::vector<float> target_;
  std::vector<std::uint8_t> codes_;
  std::vector<std::uint8_t> packed_;
  std::vector<std::uint8_t> rebuilt_;
};

}  // namespace

const Tables* scale_tables(int bits) {
  static const ScaleTables two(2);
  static const ScaleTables four(4);
  static const ScaleTables eight(8);
  return (bits == 2 ? two : bits == 4 ? four : eight).of.data();
}

float error_bound(std::uint8_t byte) { return bounds().at[byte]; }

void decode(const Run& run, const Run& next, std::uint8_t flip, std::uint8_t* rows, std::size_t stride, float* scales) {
  constexpr std::size_t kAtOnce = 64;
  const Codes& codes = run.codes;
  const std::size_t dim = run.codebook.dim;
  const std::size_t bytes = row_bytes(dim, codes.bits);
  std::uint32_t ids[kAtOnce];
  std::uint32_t next_ids[kTokensAhead];
  const std::size_t next_count = std::min(next.count, kTokensAhead);
  for (std::size_t t = 0; t < next_count; ++t) next_ids[t] = static_cast<std::uint32_t>(next.codes.id(next.first + t));
  for (std::size_t done = 0; done < run.count; done += kAtOnce) {
    const std::size_t first = run.first + done;
    const std::size_t now = std::min(run.count - done, kAtOnce);
    for (std::size_t t = 0; t < now; ++t) {
      ids[t] = static_cast<std::uint32_t>(codes.id(first + t));
      scales[done + t] = run.codebook.scales[ids[t]];
    }
    rebuild(codes.bits, {run.codebook.centroids, ids, codes.residuals + first * bytes, codes.residual_scales + first,
                         scale_tables(codes.bits), now, dim, flip, rows + done * stride, stride,
                         next.codes.residuals + next.first * row_bytes(dim, next.codes.bits) + done * bytes,
                         next.codebook.centroids, next_ids, next_count});
  }
}

void multiply_residuals(const Codes& codes, std::size_t dim, std::size_t first, const std::uint16_t* tokens,
                        std::size_t count, const std::int16_t* rows, std::size_t row_stride, std::int32_t* products) {
  const CodecKernels& kernels = codec_kernels();
  const int bits = codes.bits;
  const Pairs pairs{rows, codes.residuals + first * row_bytes(dim, bits), codes.residual_scales + first,
                    scale_tables(bits), tokens, count, dim, row_stride,
                    products};
  (bits == 2 ? kernels.multiply2 : bits == 4 ? kernels.multiply4 : kernels.multiply8)(pairs);
}

void encode(const Codebook& codebook, const float* vectors, const std::int32_t* ids, std::size_t count, int bits,
            std::uint8_t* residual_scales, std::uint8_t* errors, std::uint8_t* residuals) {
  const std::size_t bytes = row_bytes(codebook.dim, bits);
  const std::size_t items = (count + kTokensPerItem - 1) / kTokensPerItem;
  parallel_for(items, num_threads(), [&](std::size_t item, std::size_t) {
    Encoder encoder(codebook, bits);
    const std::size_t last = std::min(count, (item + 1) * kTokensPerItem);
    for (std::size_t t = item * kTokensPerItem; t < last; ++t) {
      encoder.encode(vectors + t * codebook.dim, static_cast<std::size_t>(ids[t]), residual_scales + t, errors + t,
                     residuals + t * bytes);
    }
  });
}

}  // namespace serotine::codec
