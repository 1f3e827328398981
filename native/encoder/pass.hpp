// The forward pass of one group of texts.
#pragma once

#include "attention.hpp"
#include "kernels.hpp"
#include "rows.hpp"

namespace serotine::encoder {
namespace {

// Hands out pieces of one block of memory, each on a cache line of its own. Without memory it only counts.
class Pieces {
 public:
  explicit Pieces(unsigned char* memory) : memory_(memory) {}
  template <class T>
  T* take(std::size_t count) {
    const std::size_t first = used_;
    used_ += Workspace::bytes<T>(count);
    return memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + first);
  }
  std::size_t used() const { return used_; }

 private:
  unsigned char* memory_;
  std::size_t used_ = 0;
};

template <class Isa>
struct Activations {
  float *states, *sums, *scales, *inner_scales, *inner_zeros, *largest, *projected[2];
  std::uint8_t *bytes, *inner_bytes;
  typename Isa::Element *attention_in, *rounded;
  typename Isa::Half* inner;
  AttentionBuffers<Isa> attention;
  std::size_t size;

  Activations(const Model& model, std::size_t tokens, std::size_t longest, unsigned char* memory) {
    using Element = typename Isa::Element;
    using Buffers = AttentionBuffers<Isa>;
    Pieces pieces(memory);
    const std::size_t padded = Buffers::padded(longest);
    states = pieces.take<float>(tokens * model.hidden);
    sums = pieces.take<float>(tokens * model.hidden);
    scales = pieces.take<float>(tokens);
    inner_scales = pieces.take<float>(tokens);
    inner_zeros = pieces.take<float>(tokens);
    largest = pieces.take<float>(tokens * kLanes);
    bytes = pieces.take<std::uint8_t>(tokens * model.hidden);
    inner_bytes = pieces.take<std::uint8_t>(tokens * model.intermediate);
    attention_in = pieces.take<Element>(tokens * 3 * model.hidden);
    inner = pieces.take<typename Isa::Half>(tokens * model.intermediate);
    std::size_t widest = 0;
    for (const Projection& layer : model.projections) {
      widest = layer.matrix.outputs > widest ? layer.matrix.outputs : widest;
    }
    rounded = pieces.take<Element>(model.projections.empty() ? 0 : tokens * (widest > model.hidden ? widest : model.hidden));
    for (float*& buffer : projected) buffer = pieces.take<float>(model.projections.size() > 1 ? tokens * widest : 0);
    attention.keys = pieces.take<Element>(padded * model.hidden / model.heads);
    attention.values = pieces.take<Element>(padded * model.hidden / model.heads);
    attention.mask = pieces.take<float>(padded);
    attention.scores = pieces.take<float>(Isa::kFloatRows * Buffers::score_stride(longest));
    attention.weights = pieces.take<Element>(Isa::kFloatRows * Buffers::weight_stride(longest));
    size = pieces.used();
  }
};

SEROTINE_INLINE float half_to_float(std::uint16_t half) {
  // The exponent's bias by a product, which also normalizes denormals.
  const std::uint32_t magnitude = static_cast<std::uint32_t>(half & 0x7fff) << 13;
  float value;
  __builtin_memcpy(&value, &magnitude, sizeof value);
  value *= 0x1p112f;
  return half & 0x8000 ? -value : value;
}

// Adds a word's vector of 4-bit blocks to a position's.
inline void add_nibbles(const Words& words, std::size_t word, std::size_t hidden, const float* position, float* out) {
  const std::uint8_t* nibbles = words.nibbles + word * hidden / 2;
  const std::uint16_t* scales = words.block_scales + word * hidden / 32;
  for (std::size_t i = 0; i < hidden; i += 2) {
    const float scale = half_to_float(scales[i / 32]);
    const int low = nibbles[i / 2] & 15, high = nibbles[i / 2] >> 4;
    out[i] = position[i] + static_cast<float>(low < 8 ? low : low - 16) * scale;
    out[i + 1] = position[i + 1] + static_cast<float>(high < 8 ? high : high - 16) * scale;
  }
}

template <class Isa>
void embed(const Model& model, const std::int32_t* ids, std::size_t tokens, const Activations<Isa>& a, std::size_t row) {
  for (std::size_t t = 0; t < tokens; ++t, ++row) {
    const auto word = static_cast<std::size_t>(ids[t]);
    const float* position = model.position_vectors.data() + (t + model.first_position) * model.hidden;
    float* state = a.states + row * model.hidden;
    if (model.words.nibbles != nullptr) {
      add_nibbles(model.words, word, model.hidden, position, state);
    } else {
      const std::int8_t* levels = model.words.levels + word * model.hidden;
      const Floats scale = all(model.words.scales[word]);
      for (std::size_t i = 0; i < model.hidden; i += kLanes) {
        store(state + i, fma(Isa::from_levels(levels + i), scale, load(position + i)));
      }
    }
    a.scales[row] = normalize_row<Isa>(state, model.hidden, model.norm, model.epsilon, a.bytes + row * model.hidden);
  }
}

// The residual sum and its normalization.
template <class Isa>
void add_and_normalize(const Model& model, const Norm& norm, std::size_t tokens, const Activations<Isa>& a) {
  for (std::size_t row = 0; row < tokens; ++row) {
    float* state = a.states + row * model.hidden;
    const float* sum = a.sums + row * model.hidden;
    for (std::size_t i = 0; i < model.hidden; i += kLanes) store(state + i, load(state + i) + load(sum + i));
    a.scales[row] = normalize_row<Isa>(state, model.hidden, norm, model.epsilon, a.bytes + row * model.hidden);
  }
}

template <class Isa, bool Tanh>
void feed_forward_in(const Int8Matrix& matrix, std::size_t tokens, const Activations<Isa>& a) {
  int8_product<Isa>(
      matrix, a.bytes, tokens, [&](std::size_t row, std::size_t column, Floats low, Floats high) __attribute__((always_inline)) {
        const Floats scale = all(a.scales[row]);
        Floats x = fma(low * scale, load(matrix.scales.data() + column), load(matrix.bias.data() + column));
        Floats y = fma(high * scale, load(matrix.scales.data() + column + kLanes), load(matrix.bias.data() + column + kLanes));
        x = Tanh ? gelu_tanh<Isa>(x) : gelu<Isa>(x);
        y = Tanh ? gelu_tanh<Isa>(y) : gelu<Isa>(y);
        typename Isa::Half* out = a.inner + row * matrix.outputs + column;
        Isa::store_half(out, x);
        Isa::store_half(out + kLanes, y);
        float* largest = a.largest + row * kLanes;
        // At least a tenth, so that the scale of a row without positive values is no denormal.
        store(largest, Isa::max(Isa::max(x, y), column == 0 ? all(0.1f) : load(largest)));
      });
}

// tile[t] = panel `column` of the matrix x rows[t]; in bfloat16 where the instruction set multiplies it.
template <class Isa, int T>
SEROTINE_INLINE void project_tile(const FloatMatrix& matrix, std::size_t column, const float* rows,
                                  const typename Isa::Element* rounded, float* tile) {
  if constexpr (sizeof(typename Isa::Element) == 2) {
    if (!matrix.pairs.empty()) {
      float_product<typename Isa::Element, Isa, T>(matrix.pairs.data() + column * matrix.inputs, rounded, matrix.inputs,
                                                   matrix.inputs / 2, tile, kPanel);
      return;
    }
  }
  float_product<float, Isa, T>(matrix.panels.data() + column * matrix.inputs, rows, matrix.inputs, matrix.inputs, tile,
                               kPanel);
}

// out = activation(matrix x + bias), plus x or residual x where the layer has them. `rounded` has room for the states as
// elements of attention.
template <class Isa>
void project(const Projection& layer, const float* states, std::size_t tokens, typename Isa::Element* rounded, float* out) {
  const FloatMatrix& matrix = layer.matrix;
  if (sizeof(typename Isa::Element) == 2 && !matrix.pairs.empty()) {
    for (std::size_t i = 0; i < tokens * matrix.inputs; i += kPanel) {
      Isa::store_elements(rounded + i, load(states + i), load(states + i + kLanes));
    }
  }
  for (std::size_t column = 0; column < matrix.outputs; column += kPanel) {
    const std::size_t width = matrix.outputs - column < kPanel ? matrix.outputs - column : kPanel;
    for (std::size_t first = 0; first < tokens;) {
      const int now = next_tile(tokens - first, Isa::kFloatRows);
      with_rows<Isa::kFloatRows>(now, [&](auto tag) __attribute__((always_inline)) {
        constexpr int T = decltype(tag)::count;
        float tile[T][kPanel], added[T][kPanel] = {};
        const float* rows = states + first * matrix.inputs;
        const typename Isa::Element* elements = rounded + first * matrix.inputs;
        project_tile<Isa, T>(matrix, column, rows, elements, tile[0]);
        if (layer.residual.outputs != 0) project_tile<Isa, T>(layer.residual, column, rows, elements, added[0]);
        for (int t = 0; t < T; ++t) {
          for (std::size_t i = 0; i < kPanel; i += kLanes) {
            const Floats sum = load(tile[t] + i) + load(matrix.bias.data() + column + i);
            store(tile[t] + i, activate<Isa>(layer.activation, sum) + load(added[t] + i));
          }
          const float* row = rows + static_cast<std::size_t>(t) * matrix.inputs + column;
          float* to = out + (first + static_cast<std::size_t>(t)) * matrix.outputs + column;
          for (std::size_t i = 0; i < width; ++i) to[i] = tile[t][i] + (layer.adds_input ? row[i] : 0.0f);
        }
      });
      first += static_cast<std::size_t>(now);
    }
  }
}

template <class Isa>
void forward(const Model& model, const std::int32_t* ids, const std::uint8_t* attended, const std::int64_t* offsets,
             std::size_t texts, float* out, Workspace& workspace) {
  const auto tokens = static_cast<std::size_t>(offsets[texts] - offsets[0]);
  if (tokens == 0) return;
  std::size_t longest = 0;
  for (std::size_t i = 0; i < texts; ++i) {
    const auto length = static_cast<std::size_t>(offsets[i + 1] - offsets[i]);
    longest = length > longest ? length : longest;
  }
  const std::size_t needed = Activations<Isa>(model, tokens, longest, nullptr).size;
  if (workspace.memory.size() < needed) workspace.memory.assign(needed, 0);
  const Activations<Isa> a(model, tokens, longest, workspace.memory.data());

  for (std::size_t i = 0; i < texts; ++i) {
    const std::int64_t first = offsets[i] - offsets[0];
    embed<Isa>(model, ids + first, static_cast<std::size_t>(offsets[i + 1] - offsets[i]), a, static_cast<std::size_t>(first));
  }
  for (const Layer& layer : model.layers) {
    const Int8Matrix& in = layer.attention_in;
    int8_product<Isa>(in, a.bytes, tokens, [&](std::size_t row, std::size_t column, Floats low, Floats high) __attribute__((always_inline)) {
      const Floats scale = all(a.scales[row]);
      Isa::store_elements(a.attention_in + row * in.outputs + column,
                          fma(low * scale, load(in.scales.data() + column), load(in.bias.data() + column)),
                          fma(high * scale, load(in.scales.data() + column + kLanes), load(in.bias.data() + column + kLanes)));
    });
    for (std::size_t i = 0; i < texts; ++i) {
      const auto first = static_cast<std::size_t>(offsets[i] - offsets[0]);
      const auto length = static_cast<std::size_t>(offsets[i + 1] - offsets[i]);
      a.attention.mask_keys(attended == nullptr ? nullptr : attended + first, length);
      attention<Isa>(a.attention_in + first * in.outputs, length, model.hidden, model.heads, a.sums + first * model.hidden,
                     a.attention);
    }
    for (std::size_t row = 0; row < tokens; ++row) {
      a.scales[row] = quantize_row<Isa>(a.sums + row * model.hidden, model.hidden, a.bytes + row * model.hidden);
    }
    // `sums` holds the context until it is quantized, then the products that are added to the states.
    const auto store_sums = [&](const Int8Matrix& matrix, const float* scales) {
      return [&a, &matrix, scales](std::size_t row, std::size_t column, Floats low, Floats high) __attribute__((always_inline)) {
        const Floats scale = all(scales[row]);
        float* sum = a.sums + row * matrix.outputs + column;
        store(sum, fma(low * scale, load(matrix.scales.data() + column), load(matrix.bias.data() + column)));
        store(sum + kLanes, fma(high * scale, load(matrix.scales.data() + column + kLanes), load(matrix.bias.data() + column + kLanes)));
      };
    };
    int8_product<Isa>(layer.attention_out, a.bytes, tokens, store_sums(layer.attention_out, a.scales));
    add_and_normalize<Isa>(model, layer.attention_norm, tokens, a);
    if (model.activation == Activation::gelu) {
      feed_forward_in<Isa, false>(layer.feed_in, tokens, a);
    } else {
      feed_forward_in<Isa, true>(layer.feed_in, tokens, a);
    }
    for (std::size_t row = 0; row < tokens; ++row) {
      const Range range = quantize_inner_row<Isa>(a.inner + row * model.intermediate, model.intermediate,
                                                  Isa::largest(load(a.largest + row * kLanes)),
                                                  a.inner_bytes + row * model.intermediate);
      a.inner_scales[row] = range.scale;
      a.inner_zeros[row] = range.zero;
    }
    const Int8Matrix& feed = layer.feed_out;
    int8_product<Isa>(feed, a.inner_bytes, tokens, [&](std::size_t row, std::size_t column, Floats low, Floats high) __attribute__((always_inline)) {
      // The products are those of (byte - 128); these bytes count from their own zero.
      const Floats scale = all(a.inner_scales[row]), shift = all(128.0f - a.inner_zeros[row]);
      const Floats sums = Isa::from_ints_at(feed.sums.data() + column), more = Isa::from_ints_at(feed.sums.data() + column + kLanes);
      float* sum = a.sums + row * feed.outputs + column;
      store(sum, fma(fma(shift, sums, low) * scale, load(feed.scales.data() + column), load(feed.bias.data() + column)));
      store(sum + kLanes, fma(fma(shift, more, high) * scale, load(feed.scales.data() + column + kLanes), load(feed.bias.data() + column + kLanes)));
    });
    add_and_normalize<Isa>(model, layer.feed_norm, tokens, a);
  }
  if (model.projections.empty()) __builtin_memcpy(out, a.states, tokens * model.hidden * sizeof(float));
  const float* from = a.states;
  for (std::size_t i = 0; i < model.projections.size(); ++i) {
    float* to = i + 1 == model.projections.size() ? out : a.projected[i % 2];
    project<Isa>(model.projections[i], from, tokens, a.rounded, to);
    from = to;
  }
}

}  // namespace
}  // namespace serotine::encoder
