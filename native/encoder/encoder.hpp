// BERT's forward pass in int8: token ids in, the vector of every token out.
//
// The model is BERT's encoder (Devlin et al. 2019, after Vaswani et al. 2017): embeddings, then layers of self-attention
// and a feed-forward network, each followed by a residual sum and layer normalization, and at the end an optional
// projection, of one or several layers, to the dimension of the token vectors.
//
// Arithmetic. The matrices of the layers are int8 with one scale per output; what they multiply is quantized to 8 bits
// with one scale per token at run time, and sums are int32. Everything between is float32; instruction sets with
// bfloat16 products use them inside attention, where queries, keys, values and weights are rounded to bfloat16, and in the
// projections, where states and matrices are.
// Softmax subtracts the maximum: scores of real text exceed 100 in units of log 2.
//
// The vectors of a text depend on nothing but the text: not on the other texts of a call, their order, or the number of
// threads. They do depend on the instruction set, within rounding.
//
// Texts are ragged: nothing is padded. A group of texts of about kGroupTokens tokens passes through all layers while
// its activations stay in the second-level cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../common/aligned.hpp"

namespace serotine::encoder {

// Columns of a packed panel, and the factor of every width.
constexpr std::size_t kPanel = 32;

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

  // `factor` multiplies scales and bias of the first `factored` outputs.
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

struct Norm {
  Aligned<float> gain, bias;
};

struct Layer {
  Int8Matrix attention_in;  // queries, keys and values: 3 * hidden outputs; log2(e) / sqrt(head) is in the queries'
  Int8Matrix attention_out;
  Norm attention_norm;
  Int8Matrix feed_in, feed_out;
  Norm feed_norm;
};

struct Model {
  std::size_t hidden = 0, heads = 0, intermediate = 0;
  std::size_t vocabulary = 0, positions = 0;
  std::size_t first_position = 0;  // RoBERTa and XLM-R count positions from 2
  float epsilon = 1e-12f;
  Activation activation = Activation::gelu;  // of the feed-forward networks: gelu or gelu_tanh
  Words words;
  Aligned<float> position_vectors;     // (positions, hidden), the token type's vector added
  Norm norm;
  std::vector<Layer> layers;
  std::vector<Projection> projections;  // none: the states are the vectors

  std::size_t dim() const { return projections.empty() ? hidden : projections.back().matrix.outputs; }
};

// Writes the vectors of all tokens, float32 (offsets[texts], dim).
//   ids: of all texts, one after the other, each below vocabulary.
//   attended: 1 for each token that others attend to, 0 for one that they do not; null where all are.
//   offsets: texts + 1 values; text i has the tokens [offsets[i], offsets[i + 1]), at most positions - first_position.
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
