// The forward pass of transformer encoders in int8: token ids in, the vector of every token out.
//
// The model (Vaswani et al. 2017) has embeddings, then layers of self-attention and a feed-forward network, each with a
// residual sum, and at the end an optional projection, of one or several layers, to the dimension of the token vectors.
// `Shape` holds what differs between families, each choice independent of the others:
//
//   |                  | BERT (Devlin et al. 2019) | ModernBERT (Warner et al. 2024) | bidirectional Qwen3             |
//   | normalization    | LayerNorm, after the sum  | LayerNorm, before each block    | RMSNorm, before each block      |
//   | positions        | learned                   | rotary                          | rotary                          |
//   | attention        | all tokens                | a window but in every third     | all tokens, normalized queries  |
//   |                  |                           | layer                           | and keys, shared keys           |
//   | feed-forward     | GELU                      | GELU, gated                     | SiLU, gated                     |
//
// Arithmetic. The matrices of the layers are int8 with one scale per output; what they multiply is quantized to 8 bits
// with one scale and zero point per token at run time, and sums are int32. Everything between is float32; instruction sets with
// bfloat16 products use them inside attention, where queries, keys, values and weights are rounded to bfloat16, and in the
// projections, where states and matrices are.
// Softmax subtracts the maximum: scores of real text exceed 100 in units of log 2.
//
// The vectors of a text depend on nothing but the text: not on the other texts of a call, their order, or the number of
// threads. They do depend on the instruction set, within rounding.
//
// Texts are ragged: nothing is padded. A group of texts of about kGroupTokens tokens passes through all layers while
// its activations stay in the second-level cache. Threads share the groups; where there is one group, they share the
// columns of its matrices.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../common/aligned.hpp"

namespace serotine::encoder {

// Columns of a packed panel, and the factor of every width.
constexpr std::size_t kPanel = 32;

// Tokens of a group, and rows of a longer text that the feed-forward network takes at a time: about 9 kB of activations a
// token at 384 dimensions.
constexpr std::size_t kGroupTokens = 96;

enum class Activation { identity, relu, gelu, gelu_tanh, silu, tanh };

// Bytes of a matrix in panels: those of the caller, or a copy where they are not aligned.
class Panels {
 public:
  Panels() = default;
  Panels(const std::int8_t* bytes, std::size_t count);
  const std::int8_t* data() const { return copy_.empty() ? view_ : copy_.data(); }

 private:
  const std::int8_t* view_ = nullptr;
  Aligned<std::int8_t> copy_;
};

// A matrix (outputs, inputs) in panels of 32 outputs: byte [(o / 32) * inputs * 32 + (i / 4) * 128 + (o % 32) * 4 + i % 4].
// inputs is a multiple of 8 and outputs one of 32. The levels are not owned.
struct Int8Matrix {
  std::size_t outputs = 0, inputs = 0;
  Panels panels;
  Aligned<std::int32_t> sums;  // of each output's levels
  Aligned<float> scales, bias;

  // Without output_bias it is zero. `factor` multiplies scales and bias of the first `factored` outputs.
  Int8Matrix(const std::int8_t* levels, const float* output_scales, const float* output_bias, std::size_t outputs,
             std::size_t inputs, std::size_t factored = 0, float factor = 1.0f);
  Int8Matrix() = default;
};

// The vectors of the vocabulary (vocabulary, hidden), not owned: 8 bits with one scale a word, or 4 bits with one a block
// of 32 dimensions. In 4 bits a byte has dimension 2 i in its low half and 2 i + 1 in its high one, as two's complement.
struct Words {
  const std::int8_t* levels = nullptr;
  const float* scales = nullptr;
  const std::uint8_t* nibbles = nullptr;
  const std::uint16_t* block_scales = nullptr;  // float16
};

// A float32 matrix in panels of 32 outputs: float [(o / 32) * inputs * 32 + i * 32 + o % 32]. The last panel is padded
// with zeros. Beside it the same in bfloat16, where inputs is a multiple of 32: pairs of inputs
// [(o / 32) * inputs * 32 + (i / 2) * 64 + (o % 32) * 2 + i % 2].
struct FloatMatrix {
  std::size_t outputs = 0, inputs = 0;
  Aligned<float> panels, bias;
  Aligned<std::uint16_t> pairs;

  FloatMatrix() = default;
  FloatMatrix(const float* weights, const float* row_bias, std::size_t rows, std::size_t columns);
};

// One layer between the states and the vectors: activation(matrix x + bias), plus x or residual x.
struct Projection {
  FloatMatrix matrix;
  Activation activation = Activation::identity;
  bool adds_input = false;
  FloatMatrix residual;  // no outputs: none
};

// Layer normalization (Ba et al. 2016), or that of the root mean square (Zhang and Sennrich 2019), which has no mean and
// no bias. Without gain it is the identity.
enum class NormKind { layer, root_mean_square };
struct Norm {
  Aligned<float> gain, bias;
};

// Rotary positions (Su et al. 2021): float32 (longest, head_dim / 2), the cosine and sine of position *
// theta^(-2 i / head_dim).
struct Rotary {
  Aligned<float> cosines, sines;

  Rotary() = default;
  Rotary(double theta, std::size_t positions, std::size_t head_dim);
};

struct Shape {
  std::size_t hidden = 0, heads = 0, intermediate = 0;
  std::size_t key_value_heads = 0;  // divides heads: query head h uses key and value head h / (heads / key_value_heads)
  std::size_t head_dim = 0;
  std::size_t longest = 0;  // most tokens of a text
  std::size_t vocabulary = 0;
  float epsilon = 1e-12f;
  NormKind norm = NormKind::layer;
  bool pre_norm = false;  // each block's input is normalized, not its residual sum; after the last layer, final_norm
  Activation activation = Activation::gelu;  // of the feed-forward networks: gelu, gelu_tanh or silu
  bool gated = false;     // feed_in computes activation(first) * second
  std::size_t reach = 0;  // in local layers token i attends to j where |i - j| <= reach

  std::size_t query_width() const { return heads * head_dim; }
  std::size_t rotated_width() const { return (heads + key_value_heads) * head_dim; }
  std::size_t attention_width() const { return (heads + 2 * key_value_heads) * head_dim; }
};

// Rows of a matrix are `paired` where the pass needs two outputs at once: blocks of 16 rows of a first half and of a second
// half in turn, so that a panel of 32 has 16 of each. Such are the rows of gated feed_in, whose first half is activated;
// and in models with rotary positions those of each head of queries and keys, whose halves rotate together.
struct Layer {
  Int8Matrix attention_in;  // queries, keys, values: attention_width outputs; log2(e) / sqrt(head_dim) is in the queries'
                            // scales, or in query_gain
  Int8Matrix attention_out;
  Norm attention_norm;
  Int8Matrix feed_in, feed_out;
  Norm feed_norm;
  // RMSNorm of each head of queries and keys, (head_dim,), paired; empty: none.
  Aligned<float> query_gain, key_gain;
  bool local = false;
};

struct Model {
  Shape shape;
  Words words;
  Aligned<float> position_vectors;  // (longest, hidden), the token type's vector added; empty: none
  Norm embedding_norm;
  Rotary rotary, local_rotary;  // of global and local layers; empty: none
  std::vector<Layer> layers;
  Norm final_norm;
  std::vector<Projection> projections;  // none: the states are the vectors

  std::size_t dim() const { return projections.empty() ? shape.hidden : projections.back().matrix.outputs; }
};

// Writes the vectors of all tokens, float32 (offsets[texts], dim).
//   ids: of all texts, one after the other, each below vocabulary.
//   attended: 1 for each token that others attend to, 0 for one that they do not; null where all are.
//   offsets: texts + 1 values; text i has the tokens [offsets[i], offsets[i + 1]), at most `longest`.
//   threads: 0 for num_threads().
void encode(const Model& model, const std::int32_t* ids, const std::uint8_t* attended, const std::int64_t* offsets,
            std::size_t texts, float* out, std::size_t threads);

// Instruction sets, as in maxsim: those compiled, those that run here, the one in use; use() chooses one, or returns
// false.
std::vector<std::string> compiled();
std::vector<std::string> supported();
std::string current();
bool use(const std::string& name);

}  // namespace serotine::encoder
