// Self-attention of one text: softmax(queries x keys) x values, head by head.
#pragma once

#include "pieces.hpp"
#include "products.hpp"

namespace serotine::encoder {
namespace {

template <class Isa>
struct AttentionText {
  const typename Isa::Element* states;  // (tokens, attention_width)
  std::size_t tokens;
  const std::uint8_t* attended;  // null: all are
  // Sums of squares of the heads of queries and keys, one row of `square_stride` a head; null: they are not normalized.
  const float* squares;
  std::size_t square_stride;
  std::size_t reach;  // at least tokens - 1: no window
  float* context;     // (tokens, query_width)

  bool windowed() const { return reach + 1 < tokens; }
};

// Scratch memory for one text of at most `longest` tokens.
template <class Isa>
struct AttentionBuffers {
  typename Isa::Element *keys, *values, *weights;
  float *scores, *mask, *key_scales, *band;

  static std::size_t padded(std::size_t tokens) { return (tokens + kPanel - 1) / kPanel * kPanel; }
  // Strides that are no multiple of a page's part, so that rows of a tile do not share cache sets.
  static std::size_t score_stride(std::size_t tokens) { return padded(tokens) + kLanes; }
  static std::size_t weight_stride(std::size_t tokens) { return padded(tokens) + kPanel; }
  // How far from a query's own token a tile reads the band.
  static std::size_t band_reach(std::size_t reach) { return reach + 2 * kPanel + Isa::kFloatRows; }

  AttentionBuffers() = default;
  AttentionBuffers(const Shape& shape, std::size_t longest, Pieces& pieces) {
    using Element = typename Isa::Element;
    const std::size_t all_keys = padded(longest);
    keys = pieces.take<Element>(all_keys * shape.head_dim);
    values = pieces.take<Element>(all_keys * shape.head_dim);
    mask = pieces.take<float>(all_keys);
    key_scales = pieces.take<float>(all_keys);
    scores = pieces.take<float>(Isa::kFloatRows * score_stride(longest));
    weights = pieces.take<Element>(Isa::kFloatRows * weight_stride(longest));
    band = pieces.take<float>(shape.reach + 1 < longest ? 2 * band_reach(shape.reach) + kPanel : 0);
  }
  // The same buffers some bytes further on.
  AttentionBuffers shifted(std::size_t bytes) const {
    AttentionBuffers other = *this;
    const auto shift = [bytes](auto*& piece) {
      piece = reinterpret_cast<std::remove_reference_t<decltype(piece)>>(reinterpret_cast<unsigned char*>(piece) + bytes);
    };
    shift(other.keys), shift(other.values), shift(other.weights);
    shift(other.scores), shift(other.mask), shift(other.key_scales), shift(other.band);
    return other;
  }

  // What is added to the scores of each key, and by the distance of a key from its query. What is not part of the text or
  // beyond the window is below keys that are not attended to: where there are no others, these share the weight evenly.
  void mask_keys(const AttentionText<Isa>& text) const {
    for (std::size_t j = 0; j < text.tokens; ++j) mask[j] = text.attended == nullptr || text.attended[j] != 0 ? 0.0f : -1e30f;
    for (std::size_t j = text.tokens; j < padded(text.tokens); ++j) mask[j] = -2e30f;
    if (!text.windowed()) return;
    const std::size_t center = band_reach(text.reach);
    for (std::size_t j = 0; j < 2 * center + kPanel; ++j) {
      band[j] = j + text.reach >= center && j <= center + text.reach ? 0.0f : -2e30f;
    }
  }
};

// The factor of a head's RMSNorm.
SEROTINE_INLINE float inverse_mean(const Shape& shape, float squares) {
  return 1.0f / __builtin_sqrtf(squares / static_cast<float>(shape.head_dim) + shape.epsilon);
}

// What becomes of a score before softmax, beside the mask of its key: score * scale * key_scales[j] + band[j].
struct ScoreTerms {
  const float *mask, *key_scales, *band;
  float scale;
};

// The largest score of a row. Where scores are not scaled, the product has added their mask.
template <class Isa, bool Scaled, bool Banded>
SEROTINE_INLINE float largest_score(float* scores, const ScoreTerms& terms, std::size_t padded) {
  const auto score = [&](std::size_t j) __attribute__((always_inline)) {
    Floats x = load(scores + j);
    if constexpr (Scaled) x = x * (load(terms.key_scales + j) * terms.scale) + load(terms.mask + j);
    if constexpr (Banded) x += load(terms.band + j);
    if constexpr (Scaled || Banded) store(scores + j, x);
    return x;
  };
  Floats a = all(-5e30f), b = a;
  for (std::size_t j = 0; j < padded; j += kPanel) {
    a = Isa::max(a, score(j));
    b = Isa::max(b, score(j + kLanes));
  }
  return Isa::largest(Isa::max(a, b));
}

// Weights of one row: 2^(score - largest), not yet divided by their sum; returns 1 / sum.
// Masked keys get a weight of 2^-125 beside others.
template <class Isa>
SEROTINE_INLINE float weigh(const float* scores, float largest, std::size_t padded, typename Isa::Element* weights) {
  const Floats top = all(largest);
  Floats a{}, b{};
  for (std::size_t j = 0; j < padded; j += kPanel) {
    const Floats x = exp2_negative<Isa>(load(scores + j) - top);
    const Floats y = exp2_negative<Isa>(load(scores + j + kLanes) - top);
    a += x;
    b += y;
    Isa::store_elements(weights + j, x, y);
  }
  return 1.0f / Isa::sum(a + b);
}

// Query head `head` with the packed keys and values of its key head.
template <class Isa, bool Scaled, bool Banded>
void attention_head(const Shape& shape, const AttentionText<Isa>& text, std::size_t head, const AttentionBuffers<Isa>& buffers) {
  using Element = typename Isa::Element;
  constexpr std::size_t group = Isa::template group<Element>();
  const std::size_t head_dim = shape.head_dim, stride = shape.attention_width(), width = shape.query_width();
  const std::size_t padded = AttentionBuffers<Isa>::padded(text.tokens);
  const std::size_t score_stride = AttentionBuffers<Isa>::score_stride(text.tokens);
  const std::size_t weight_stride = AttentionBuffers<Isa>::weight_stride(text.tokens);
  const Element* queries = text.states + head * head_dim;
  for (std::size_t first = 0; first < text.tokens;) {
    const int now = next_tile(text.tokens - first, Isa::kFloatRows);
    // The keys that any query of this tile reaches.
    std::size_t start = 0, end = padded;
    if constexpr (Banded) {
      const std::size_t last = first + static_cast<std::size_t>(now) + text.reach;
      start = first > text.reach ? (first - text.reach) / kPanel * kPanel : 0;
      end = last < padded ? AttentionBuffers<Isa>::padded(last) : padded;
    }
    with_rows<Isa::kFloatRows>(now, [&](auto tag) __attribute__((always_inline)) {
      constexpr int T = decltype(tag)::count;
      for (std::size_t j = start; j < end; j += kPanel) {
        float_product<Element, Isa, T>(buffers.keys + j * head_dim, queries + first * stride, stride, head_dim / group,
                                       Scaled ? nullptr : buffers.mask + j, buffers.scores + (j - start), score_stride);
      }
      // In two loops, so that a row need not wait for the largest score of the one before.
      float largest[T], inverse[T];
      for (int t = 0; t < T; ++t) {
        ScoreTerms terms = {buffers.mask + start, buffers.key_scales + start, nullptr, 1.0f};
        const std::size_t row = first + static_cast<std::size_t>(t);
        if constexpr (Scaled) terms.scale = inverse_mean(shape, text.squares[head * text.square_stride + row]);
        if constexpr (Banded) terms.band = buffers.band + AttentionBuffers<Isa>::band_reach(text.reach) + start - row;
        largest[t] = largest_score<Isa, Scaled, Banded>(buffers.scores + t * score_stride, terms, end - start);
      }
      for (int t = 0; t < T; ++t) {
        inverse[t] = weigh<Isa>(buffers.scores + t * score_stride, largest[t], end - start, buffers.weights + t * weight_stride);
      }
      const std::size_t keys = (text.tokens < end ? text.tokens : end) - start;
      for (std::size_t column = 0; column < head_dim; column += kPanel) {
        float* out = text.context + first * width + head * head_dim + column;
        float_product<Element, Isa, T>(buffers.values + column * padded + start * kPanel, buffers.weights, weight_stride,
                                       (keys + group - 1) / group, nullptr, out, width);
        for (int t = 0; t < T; ++t) {
          store(out + t * width, load(out + t * width) * inverse[t]);
          store(out + t * width + kLanes, load(out + t * width + kLanes) * inverse[t]);
        }
      }
    });
    first += static_cast<std::size_t>(now);
  }
}

// The query heads that share one head of keys and values.
template <class Isa>
void attention(const Shape& shape, const AttentionText<Isa>& text, std::size_t key_head, const AttentionBuffers<Isa>& buffers) {
  const std::size_t head_dim = shape.head_dim, stride = shape.attention_width(), tokens = text.tokens;
  const std::size_t padded = AttentionBuffers<Isa>::padded(tokens);
  const typename Isa::Element* keys = text.states + (shape.heads + key_head) * head_dim;
  const typename Isa::Element* values = keys + shape.key_value_heads * head_dim;
  Isa::pack_keys(keys, stride, tokens, padded, head_dim, buffers.keys);
  for (std::size_t column = 0; column < head_dim; column += kPanel) {
    Isa::pack_values(values + column, stride, tokens, padded, buffers.values + column * padded);
  }
  const bool scaled = text.squares != nullptr;
  if (scaled) {
    const float* squares = text.squares + (shape.heads + key_head) * text.square_stride;
    for (std::size_t j = 0; j < padded; ++j) buffers.key_scales[j] = j < tokens ? inverse_mean(shape, squares[j]) : 0.0f;
  }
  const std::size_t shared = shape.heads / shape.key_value_heads;
  for (std::size_t head = key_head * shared; head < (key_head + 1) * shared; ++head) {
    if (text.windowed()) {
      scaled ? attention_head<Isa, true, true>(shape, text, head, buffers) : attention_head<Isa, false, true>(shape, text, head, buffers);
    } else {
      scaled ? attention_head<Isa, true, false>(shape, text, head, buffers) : attention_head<Isa, false, false>(shape, text, head, buffers);
    }
  }
}

}  // namespace
}  // namespace serotine::encoder
