// Self-attention of one text: softmax(queries x keys) x values, head by head.
#pragma once

#include "products.hpp"

namespace serotine::encoder {
namespace {

// Scratch memory for one text of `tokens` tokens.
template <class Isa>
struct AttentionBuffers {
  typename Isa::Element *keys, *values, *weights;
  float *scores, *mask;

  static std::size_t padded(std::size_t tokens) { return (tokens + kPanel - 1) / kPanel * kPanel; }
  // Strides that are no multiple of a page's part, so that rows of a tile do not share cache sets.
  static std::size_t score_stride(std::size_t tokens) { return padded(tokens) + kLanes; }
  static std::size_t weight_stride(std::size_t tokens) { return padded(tokens) + kPanel; }

  // What is added to the scores of each key. Padding is below keys that are not attended to: where a text has no
  // others, its own share the weight evenly.
  void mask_keys(const std::uint8_t* attended, std::size_t tokens) const {
    for (std::size_t j = 0; j < tokens; ++j) mask[j] = attended == nullptr || attended[j] != 0 ? 0.0f : -1e30f;
    for (std::size_t j = tokens; j < padded(tokens); ++j) mask[j] = -2e30f;
  }
};

// Weights of one row: 2^(score - largest), not yet divided by their sum; returns 1 / sum.
// Masked keys get a weight of 2^-125 beside others.
template <class Isa>
SEROTINE_INLINE float softmax_row(float* scores, const float* mask, std::size_t padded, typename Isa::Element* weights) {
  Floats a = all(-3e30f), b = a;
  for (std::size_t j = 0; j < padded; j += kPanel) {
    const Floats x = load(scores + j) + load(mask + j);
    const Floats y = load(scores + j + kLanes) + load(mask + j + kLanes);
    store(scores + j, x);
    store(scores + j + kLanes, y);
    a = Isa::max(a, x);
    b = Isa::max(b, y);
  }
  const Floats top = all(Isa::largest(Isa::max(a, b)));
  a = b = Floats{};
  for (std::size_t j = 0; j < padded; j += kPanel) {
    const Floats x = exp2_negative<Isa>(load(scores + j) - top);
    const Floats y = exp2_negative<Isa>(load(scores + j + kLanes) - top);
    a += x;
    b += y;
    Isa::store_elements(weights + j, x, y);
  }
  return 1.0f / Isa::sum(a + b);
}

template <class Isa>
void attention(const typename Isa::Element* states, std::size_t tokens, std::size_t hidden, std::size_t heads,
               float* context, const AttentionBuffers<Isa>& buffers) {
  using Element = typename Isa::Element;
  constexpr std::size_t group = Isa::template group<Element>();
  const std::size_t head = hidden / heads, stride = 3 * hidden;
  const std::size_t padded = AttentionBuffers<Isa>::padded(tokens);
  const std::size_t score_stride = AttentionBuffers<Isa>::score_stride(tokens);
  const std::size_t weight_stride = AttentionBuffers<Isa>::weight_stride(tokens);
  for (std::size_t h = 0; h < heads; ++h) {
    const Element *queries = states + h * head, *keys = queries + hidden, *values = keys + hidden;
    Isa::pack_keys(keys, stride, tokens, padded, head, buffers.keys);
    for (std::size_t column = 0; column < head; column += kPanel) {
      Isa::pack_values(values + column, stride, tokens, padded, buffers.values + column * padded);
    }
    for (std::size_t first = 0; first < tokens;) {
      const int now = next_tile(tokens - first, Isa::kFloatRows);
      with_rows<Isa::kFloatRows>(now, [&](auto tag) __attribute__((always_inline)) {
        constexpr int T = decltype(tag)::count;
        for (std::size_t j = 0; j < padded; j += kPanel) {
          float_product<Element, Isa, T>(buffers.keys + j * head, queries + first * stride, stride, head / group,
                                         buffers.scores + j, score_stride);
        }
        float inverse[T];
        for (int t = 0; t < T; ++t) {
          inverse[t] = softmax_row<Isa>(buffers.scores + t * score_stride, buffers.mask, padded,
                                        buffers.weights + t * weight_stride);
        }
        for (std::size_t column = 0; column < head; column += kPanel) {
          float* out = context + first * hidden + h * head + column;
          float_product<Element, Isa, T>(buffers.values + column * padded, buffers.weights, weight_stride,
                                         (tokens + group - 1) / group, out, hidden);
          for (int t = 0; t < T; ++t) {
            store(out + t * hidden, load(out + t * hidden) * inverse[t]);
            store(out + t * hidden + kLanes, load(out + t * hidden + kLanes) * inverse[t]);
          }
        }
      });
      first += static_cast<std::size_t>(now);
    }
  }
}

}  // namespace
}  // namespace serotine::encoder
