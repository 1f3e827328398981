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
  // The residual stream; what is added to it, (tokens, hidden), before that the context, (tokens, query_width); some
  // normalized rows.
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
    normalized = pieces.take<float>(Isa::kAbreast * shape.hidden);
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

// Finishes the rows [first, last) of one block and quantizes what the next one reads: the states, plus the sums if there are
// any yet, normalized by `norm` where there is one. In a pre-norm model only the next block reads the normalization.
template <class Isa>
void finish_rows(const Shape& shape, const float* sums, const Norm* norm, std::size_t first, std::size_t last,
                 const Activations<Isa>& a) {
  const std::size_t hidden = shape.hidden;
  const bool normalizes = norm != nullptr && !norm->gain.empty();
  for (std::size_t row = first; row < last; row += Isa::kAbreast) {
    const std::size_t left = last - row;
    with_rows<Isa::kAbreast>(left < Isa::kAbreast ? static_cast<int>(left) : Isa::kAbreast, [&](auto tag) __attribute__((always_inline)) {
      constexpr int R = decltype(tag)::count;
      float* states = a.states + row * hidden;
      float* input = normalizes && shape.pre_norm ? a.normalized : states;
      Floats lanes[R];
      add_rows<Isa, R>(states, sums == nullptr ? nullptr : sums + row * hidden, hidden, lanes);
      Extremes extremes[R];
      if (normalizes) {
        normalize_rows<Isa, R>(shape, *norm, states, lanes, input, extremes);
      } else {
        find_extremes<Isa, R>(states, hidden, extremes);
      }
      for (std::size_t r = 0; r < R; ++r) {
        a.ranges[row + r] = quantize_row<Isa>(input + r * hidden, hidden, extremes[r], a.bytes + (row + r) * hidden);
      }
    });
  }
}

}  // namespace
}  // namespace serotine::encoder
