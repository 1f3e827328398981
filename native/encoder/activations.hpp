// The memory of one group of texts, and how its rows pass from one block to the next.
#pragma once

#include "../common/thread_pool.hpp"
#include "attention.hpp"
#include "rows.hpp"

namespace serotine::encoder {
namespace {

SEROTINE_INLINE std::size_t larger(std::size_t a, std::size_t b) { return a > b ? a : b; }

template <class Isa>
struct Activations {
  // The residual stream; what is added to it, (tokens, hidden), before that the context, (tokens, query_width); one
  // normalized row.
  float *states, *sums, *normalized;
  std::uint8_t* bytes;  // what the next product reads
  Range* ranges;        // of each row of bytes
  // The queries, keys and values of all texts; each row's position in its text; and, where queries and keys are
  // normalized, the sum of squares of each head: (heads + key_value_heads, tokens).
  typename Isa::Element* attention_in;
  std::uint32_t* positions;
  float* squares;
  // The feed-forward network's inner states, of kGroupTokens rows: as halves, or float32 if gated, when they may be large.
  typename Isa::Half* inner;
  float* gated_inner;
  std::uint8_t* inner_bytes;
  Range* inner_ranges;
  float* largest;
  // Of the projections.
  typename Isa::Element* rounded;
  float* projected[2];
  std::size_t workers;
  std::size_t size;

  // Each worker has attention buffers of its own, behind one another.
  AttentionBuffers<Isa> attention;
  std::size_t attention_bytes;

  Activations(const Model& model, std::size_t tokens, std::size_t longest, std::size_t threads, unsigned char* memory)
      : workers(threads) {
    using Element = typename Isa::Element;
    const Shape& shape = model.shape;
    const std::size_t chunk = tokens < kGroupTokens ? tokens : kGroupTokens;
    Pieces pieces(memory);
    states = pieces.take<float>(tokens * shape.hidden);
    sums = pieces.take<float>(tokens * larger(shape.hidden, shape.query_width()));
    normalized = pieces.take<float>(shape.hidden);
    bytes = pieces.take<std::uint8_t>(tokens * larger(shape.hidden, shape.query_width()));
    ranges = pieces.take<Range>(tokens);
    attention_in = pieces.take<Element>(tokens * shape.attention_width());
    positions = pieces.take<std::uint32_t>(tokens);
    squares = pieces.take<float>(tokens * (shape.heads + shape.key_value_heads));
    inner = pieces.take<typename Isa::Half>(shape.gated ? 0 : chunk * shape.intermediate);
    gated_inner = pieces.take<float>(shape.gated ? chunk * shape.intermediate : 0);
    inner_bytes = pieces.take<std::uint8_t>(chunk * shape.intermediate);
    inner_ranges = pieces.take<Range>(chunk);
    largest = pieces.take<float>(shape.gated ? 0 : parts() * chunk * kLanes);
    std::size_t widest = 0;
    for (const Projection& layer : model.projections) widest = larger(widest, layer.matrix.outputs);
    rounded = pieces.take<Element>(model.projections.empty() ? 0 : tokens * larger(widest, shape.hidden));
    for (float*& buffer : projected) buffer = pieces.take<float>(model.projections.size() > 1 ? tokens * widest : 0);
    const std::size_t before = pieces.used();
    attention = AttentionBuffers<Isa>(shape, longest, pieces);
    attention_bytes = pieces.used() - before;
    for (std::size_t worker = 1; worker < workers; ++worker) pieces.take<unsigned char>(attention_bytes);
    size = pieces.used();
  }

  // Pieces that a product of large matrices is split into: more than workers, which may be interrupted.
  std::size_t parts() const { return workers == 1 ? 1 : 4 * workers; }
};

// 16 entries of a product from the sums of (byte - 128) * level.
template <class Isa>
SEROTINE_INLINE Floats product_values(const Int8Matrix& matrix, std::size_t column, const Range& range, Floats sums) {
  const Floats levels = Isa::from_ints_at(matrix.sums.data() + column);
  const Floats from_zero = fma(all(128.0f - range.zero), levels, sums);
  return fma(from_zero * range.scale, load(matrix.scales.data() + column), load(matrix.bias.data() + column));
}

// Applies body(part, first_panel, last_panel) to all panels of a matrix, on all workers if that pays; returns the number of
// parts. Panels of the same `unit` stay together.
template <class Isa, class Body>
std::size_t split_panels(const Activations<Isa>& a, const Int8Matrix& matrix, std::size_t tokens, std::size_t unit, const Body& body) {
  // Below some 30 microseconds' work, waiting for another thread costs more than it does.
  constexpr std::size_t kWorthSharing = std::size_t{1} << 23;
  const std::size_t panels = matrix.outputs / kPanel, units = panels / unit;
  const std::size_t parts = a.parts() < units ? a.parts() : units;
  if (parts < 2 || matrix.outputs * matrix.inputs * tokens < kWorthSharing) {
    body(std::size_t{0}, std::size_t{0}, panels);
    return 1;
  }
  parallel_for(parts, a.workers, [&](std::size_t part, std::size_t) {
    body(part, units * part / parts * unit, part + 1 == parts ? panels : units * (part + 1) / parts * unit);
  });
  return parts;
}

// Quantizes what the next block reads of the rows [first, last): their states, normalized first in a pre-norm model.
template <class Isa>
void quantize_input(const Model& model, const Norm* before, std::size_t first, std::size_t last, const Activations<Isa>& a) {
  const std::size_t hidden = model.shape.hidden;
  for (std::size_t row = first; row < last; ++row) {
    const float* input = a.states + row * hidden;
    if (before != nullptr && !before->gain.empty()) {
      normalize_row<Isa>(model.shape, *before, input, a.normalized);
      input = a.normalized;
    }
    a.ranges[row] = quantize_row<Isa>(input, hidden, a.bytes + row * hidden);
  }
}

// The residual sum of the rows [first, last), normalized by `after` where there is one; then the next block's input, unless
// this block is the last.
template <class Isa>
void add_sums(const Model& model, const Norm* after, const Norm* before, std::size_t first, std::size_t last,
              const Activations<Isa>& a) {
  const std::size_t hidden = model.shape.hidden;
  for (std::size_t row = first; row < last; ++row) {
    float* state = a.states + row * hidden;
    const float* sum = a.sums + row * hidden;
    for (std::size_t i = 0; i < hidden; i += kLanes) store(state + i, load(state + i) + load(sum + i));
    if (after != nullptr && !after->gain.empty()) normalize_row<Isa>(model.shape, *after, state, state);
    quantize_input<Isa>(model, before, row, row + 1, a);
  }
}

}  // namespace
}  // namespace serotine::encoder
