// The forward pass of one group of texts.
#pragma once

#include "attention_block.hpp"
#include "embeddings.hpp"
#include "feed_forward.hpp"
#include "projections.hpp"

namespace serotine::encoder {
namespace {

template <class Isa>
void forward(const Model& model, const std::int32_t* ids, const std::uint8_t* attended, const std::int64_t* offsets,
             std::size_t texts, float* out, Workspace& workspace, std::size_t workers) {
  const Shape& shape = model.shape;
  const auto tokens = static_cast<std::size_t>(offsets[texts] - offsets[0]);
  if (tokens == 0) return;
  std::size_t longest = 0;
  for (std::size_t i = 0; i < texts; ++i) longest = larger(longest, static_cast<std::size_t>(offsets[i + 1] - offsets[i]));
  const std::size_t needed = Activations<Isa>(model, tokens, longest, workers, nullptr).size;
  if (workspace.memory.size() < needed) workspace.memory.assign(needed, 0);
  const Activations<Isa> a(model, tokens, longest, workers, workspace.memory.data());

  for (std::size_t i = 0; i < texts; ++i) {
    const auto first = static_cast<std::size_t>(offsets[i] - offsets[0]), end = static_cast<std::size_t>(offsets[i + 1] - offsets[0]);
    embed<Isa>(model, ids + first, end - first, a.states + first * shape.hidden);
    for (std::size_t row = first; row < end; ++row) a.positions[row] = static_cast<std::uint32_t>(row - first);
  }
  const auto input_norm = [&](std::size_t layer) {
    return shape.pre_norm && layer < model.layers.size() ? &model.layers[layer].attention_norm : nullptr;
  };
  finish_rows<Isa>(shape, nullptr, input_norm(0), 0, tokens, a);
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    const Layer& layer = model.layers[i];
    attention_block<Isa>(model, layer, attended, offsets, texts, a);
    finish_rows<Isa>(shape, a.sums, shape.pre_norm ? &layer.feed_norm : &layer.attention_norm, 0, tokens, a);
    for (std::size_t first = 0; first < tokens; first += kGroupTokens) {
      const std::size_t count = tokens - first < kGroupTokens ? tokens - first : kGroupTokens;
      feed_forward_block<Isa>(model, layer, first, count, a);
      finish_rows<Isa>(shape, a.sums, shape.pre_norm ? input_norm(i + 1) : &layer.feed_norm, first, first + count, a);
    }
  }
  if (!model.final_norm.gain.empty()) normalize_all<Isa>(shape, model.final_norm, tokens, a.states);
  if (model.projections.empty()) __builtin_memcpy(out, a.states, tokens * shape.hidden * sizeof(float));
  const float* from = a.states;
  for (std::size_t i = 0; i < model.projections.size(); ++i) {
    float* to = i + 1 == model.projections.size() ? out : a.projected[i % 2];
    project<Isa>(model.projections[i], from, tokens, a.rounded, to);
    from = to;
  }
}

}  // namespace
}  // namespace serotine::encoder
