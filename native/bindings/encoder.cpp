#include "encoder.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>
#include <tuple>

#include "arrays.hpp"

using namespace serotine;

namespace {

using Bias = std::optional<In<float, 1>>;
// Levels in panels (outputs / 32, inputs / 4, 32, 4), scales (outputs,), bias (outputs,).
using Matrix = std::tuple<In<std::int8_t, 4>, In<float, 1>, Bias>;
// Gain and bias (hidden,).
using NormArrays = std::tuple<In<float, 1>, Bias>;

// Far above any model, and so small that no product of them overflows.
constexpr std::size_t kMaxWidth = 1 << 16, kMaxHead = 1 << 12, kMaxTokens = 1 << 20;

encoder::Norm norm_of(const NormArrays& arrays, std::size_t width) {
  const auto& [gain, bias] = arrays;
  require(gain.size() == width && (!bias || bias->size() == width), "a normalization has the wrong width");
  encoder::Norm norm;
  norm.gain.assign(gain.data(), gain.data() + width);
  norm.bias.assign(width, 0.0f);
  if (bias) norm.bias.assign(bias->data(), bias->data() + width);
  return norm;
}

encoder::Activation activation_of(const std::string& name) {
  using encoder::Activation;
  if (name == "Identity") return Activation::identity;
  if (name == "ReLU") return Activation::relu;
  if (name == "GELU") return Activation::gelu;
  if (name == "GELUTanh") return Activation::gelu_tanh;
  if (name == "SiLU") return Activation::silu;
  require(name == "Tanh", "the activation is unknown");
  return Activation::tanh;
}

class TransformerObject {
 public:
  TransformerObject(std::size_t hidden, std::size_t heads, std::size_t intermediate, std::size_t longest, float epsilon,
                    std::optional<std::size_t> key_value_heads, std::optional<std::size_t> head_dim,
                    const std::string& activation, bool gated, bool rms_norm, bool pre_norm, std::optional<double> theta,
                    std::optional<double> local_theta, std::optional<std::size_t> reach)
      : has_reach_(reach.has_value()) {
    using encoder::Activation;
    encoder::Shape& shape = model_.shape;
    require(hidden <= kMaxWidth && heads <= kMaxWidth && intermediate <= kMaxWidth && key_value_heads.value_or(1) <= kMaxWidth,
            "hidden, heads, key_value_heads and intermediate must be at most 65536");
    require(head_dim.value_or(1) <= kMaxHead, "head_dim must be at most 4096");
    require(longest <= kMaxTokens, "longest must be at most 1048576");
    require(hidden > 0 && hidden % encoder::kPanel == 0, "hidden must be a multiple of 32");
    require(intermediate > 0 && intermediate % encoder::kPanel == 0, "intermediate must be a multiple of 32");
    require(heads > 0 && (head_dim || hidden % heads == 0), "hidden must be a multiple of heads unless head_dim is given");
    shape.hidden = hidden;
    shape.heads = heads;
    shape.intermediate = intermediate;
    shape.longest = longest;
    shape.head_dim = head_dim.value_or(hidden / heads);
    shape.key_value_heads = key_value_heads.value_or(heads);
    require(shape.head_dim > 0 && shape.head_dim % encoder::kPanel == 0, "the width of a head must be a multiple of 32");
    require(shape.key_value_heads > 0 && heads % shape.key_value_heads == 0, "heads must be a multiple of key_value_heads");
    require(longest > 0, "longest must be at least 1");
    shape.epsilon = epsilon;
    shape.norm = rms_norm ? encoder::NormKind::root_mean_square : encoder::NormKind::layer;
    shape.pre_norm = pre_norm;
    shape.activation = activation_of(activation);
    require(shape.activation == Activation::gelu || shape.activation == Activation::gelu_tanh ||
                (shape.activation == Activation::silu && gated),
            "the activation must be GELU or GELUTanh, or SiLU if gated");
    shape.gated = gated;
    shape.reach = reach.value_or(0);
    require((!theta || *theta > 0) && (!local_theta || *local_theta > 0), "theta and local_theta must be above 0");
    require(theta || !local_theta, "local_theta needs theta");
    if (theta) {
      model_.rotary = encoder::Rotary(*theta, longest, shape.head_dim);
      if (reach) model_.local_rotary = encoder::Rotary(local_theta.value_or(*theta), longest, shape.head_dim);
    }
  }

  // The caller keeps the arrays: they may be views of a mapped file.
  void set_words(const In<std::int8_t, 2>& levels, const In<float, 1>& scales) {
    require(levels.shape(1) == model_.shape.hidden, "word vectors have the wrong width");
    require(scales.size() == levels.shape(0), "word scales must have one value per word");
    model_.shape.vocabulary = levels.shape(0);
    model_.words = {.levels = levels.data(), .scales = scales.data()};
    keep(levels);
    keep(scales);
  }

  void set_word_blocks(const In<std::uint8_t, 2>& nibbles, const In<std::uint16_t, 2>& scales) {
    require(nibbles.shape(1) * 2 == model_.shape.hidden, "word vectors have the wrong width");
    require(scales.shape(0) == nibbles.shape(0) && scales.shape(1) * 32 == model_.shape.hidden,
            "word scales must have one value per block of 32");
    model_.shape.vocabulary = nibbles.shape(0);
    model_.words = {.nibbles = nibbles.data(), .block_scales = scales.data()};
    keep(nibbles);
    keep(scales);
  }

  void set_positions(const In<float, 2>& vectors) {
    require(vectors.shape(0) == model_.shape.longest && vectors.shape(1) == model_.shape.hidden,
            "the vectors of positions must be (longest, hidden)");
    model_.position_vectors.assign(vectors.data(), vectors.data() + vectors.size());
  }

  void set_embedding_norm(const NormArrays& norm) { model_.embedding_norm = norm_of(norm, model_.shape.hidden); }
  void set_final_norm(const NormArrays& norm) { model_.final_norm = norm_of(norm, model_.shape.hidden); }

  void add_layer(const std::vector<Matrix>& matrices, const std::vector<std::optional<NormArrays>>& norms,
                 const Bias& query_gain, const Bias& key_gain, bool local) {
    require(matrices.size() == 4 && norms.size() == 2, "a layer has four matrices and two normalizations");
    require(!local || has_reach_, "a local layer needs reach");
    const encoder::Shape& shape = model_.shape;
    require(query_gain.has_value() == key_gain.has_value(), "queries and keys are normalized both or neither");
    require(!query_gain || !model_.rotary.cosines.empty(), "normalized queries and keys need rotary positions");
    require(!query_gain || (query_gain->size() == shape.head_dim && key_gain->size() == shape.head_dim),
            "the gains of queries and keys must be (head_dim,)");
    // Softmax in powers of two.
    const float factor = 1.4426950408889634f / __builtin_sqrtf(static_cast<float>(shape.head_dim));
    encoder::Layer layer;
    layer.attention_in = matrix(matrices[0], shape.attention_width(), shape.hidden, query_gain ? 0 : shape.query_width(), factor);
    layer.attention_out = matrix(matrices[1], shape.hidden, shape.query_width());
    layer.feed_in = matrix(matrices[2], shape.gated ? 2 * shape.intermediate : shape.intermediate, shape.hidden);
    layer.feed_out = matrix(matrices[3], shape.hidden, shape.intermediate);
    if (norms[0]) layer.attention_norm = norm_of(*norms[0], shape.hidden);
    if (norms[1]) layer.feed_norm = norm_of(*norms[1], shape.hidden);
    if (query_gain) {
      layer.query_gain = paired(*query_gain, factor);
      layer.key_gain = paired(*key_gain, 1.0f);
    }
    layer.local = local;
    model_.layers.push_back(std::move(layer));
  }

  void add_projection(const In<float, 2>& weights, const std::optional<In<float, 1>>& bias, const std::string& activation,
                      bool adds_input, const std::optional<In<float, 2>>& residual) {
    require(weights.shape(0) > 0 && weights.shape(1) == model_.dim(), "a projection has the wrong shape");
    require(!bias || bias->size() == weights.shape(0), "a projection's bias has the wrong size");
    require(!adds_input || weights.shape(0) == weights.shape(1), "a projection that adds its input must be square");
    require(!residual || (residual->shape(0) == weights.shape(0) && residual->shape(1) == weights.shape(1)),
            "a projection's residual has the wrong shape");
    encoder::Projection layer;
    layer.matrix = encoder::FloatMatrix(weights.data(), bias ? bias->data() : nullptr, weights.shape(0), weights.shape(1));
    layer.activation = activation_of(activation);
    layer.adds_input = adds_input;
    if (residual) layer.residual = encoder::FloatMatrix(residual->data(), nullptr, weights.shape(0), weights.shape(1));
    model_.projections.push_back(std::move(layer));
  }

  void encode(const In<std::int32_t, 1>& ids, const In<std::int64_t, 1>& offsets, const Out<float, 2>& out,
              std::size_t threads, const std::optional<In<std::uint8_t, 1>>& attended) const {
    require(offsets.size() >= 1 && offsets.data()[0] == 0 &&
                offsets.data()[offsets.size() - 1] == static_cast<std::int64_t>(ids.size()),
            "offsets must run from 0 to the number of ids");
    require_rising(offsets, "offsets must not decrease");
    require(out.shape(0) == ids.size() && out.shape(1) == model_.dim(), "out must be (ids, dim)");
    require(model_.shape.vocabulary > 0, "the word vectors are missing");
    const auto longest = static_cast<std::int64_t>(model_.shape.longest);
    for (std::size_t i = 1; i < offsets.size(); ++i) {
      const std::int64_t length = offsets.data()[i] - offsets.data()[i - 1];
      if (length > longest) {
        throw std::invalid_argument("a text must have at most " + std::to_string(longest) +
                                    " tokens, the model's positions, got " + std::to_string(length));
      }
      for (std::int64_t at = offsets.data()[i - 1]; at < offsets.data()[i]; ++at) {
        const std::int32_t id = ids.data()[at];
        if (id < 0 || static_cast<std::size_t>(id) >= model_.shape.vocabulary) {
          throw std::invalid_argument("token ids must be below " + std::to_string(model_.shape.vocabulary) +
                                      ", the size of the vocabulary, got " + std::to_string(id));
        }
      }
    }
    require(!attended || attended->size() == ids.size(), "attended must have one value per id");
    const Released released;
    encoder::encode(model_, ids.data(), attended ? attended->data() : nullptr, offsets.data(), offsets.size() - 1, out.data(), threads);
  }

  std::size_t dim() const { return model_.dim(); }

 private:
  encoder::Int8Matrix matrix(const Matrix& arrays, std::size_t outputs, std::size_t inputs, std::size_t factored = 0,
                             float factor = 1.0f) {
    const auto& [levels, scales, bias] = arrays;
    require(levels.shape(0) * levels.shape(2) == outputs && levels.shape(1) * levels.shape(3) == inputs &&
                levels.shape(2) == encoder::kPanel && levels.shape(3) == 4 && scales.size() == outputs && (!bias || bias->size() == outputs),
            "a matrix has the wrong shape");
    keep(levels);
    return encoder::Int8Matrix(levels.data(), scales.data(), bias ? bias->data() : nullptr, outputs, inputs, factored, factor);
  }

  static Aligned<float> paired(const In<float, 1>& gain, float factor) {
    Aligned<float> rows(gain.size());
    for (std::size_t i = 0; i < gain.size(); ++i) {
      rows[i] = gain.data()[i % 32 / 16 * (gain.size() / 2) + i / 32 * 16 + i % 16] * factor;
    }
    return rows;
  }

  template <class Array>
  void keep(const Array& array) {
    kept_.push_back(nb::ndarray<>(array));
  }

  bool has_reach_;
  std::vector<nb::ndarray<>> kept_;
  encoder::Model model_;
};

}  // namespace

void bind_encoder(nb::module_& module) {
  using namespace nb::literals;
  nb::class_<TransformerObject>(module, "Transformer")
      .def(nb::init<std::size_t, std::size_t, std::size_t, std::size_t, float, std::optional<std::size_t>, std::optional<std::size_t>,
                    const std::string&, bool, bool, bool, std::optional<double>, std::optional<double>, std::optional<std::size_t>>(),
           nb::kw_only(), "hidden"_a, "heads"_a, "intermediate"_a, "longest"_a, "epsilon"_a, "key_value_heads"_a = nb::none(),
           "head_dim"_a = nb::none(), "activation"_a = "GELU", "gated"_a = false, "rms_norm"_a = false, "pre_norm"_a = false,
           "theta"_a = nb::none(), "local_theta"_a = nb::none(), "reach"_a = nb::none())
      .def("set_positions", &TransformerObject::set_positions, "vectors"_a)
      .def("set_embedding_norm", &TransformerObject::set_embedding_norm, "norm"_a)
      .def("set_final_norm", &TransformerObject::set_final_norm, "norm"_a)
      .def("set_words", &TransformerObject::set_words, "levels"_a, "scales"_a)
      .def("set_word_blocks", &TransformerObject::set_word_blocks, "nibbles"_a, "scales"_a)
      .def("add_layer", &TransformerObject::add_layer, "matrices"_a, "norms"_a, nb::kw_only(),
           "query_gain"_a = nb::none(), "key_gain"_a = nb::none(), "local"_a = false)
      .def("add_projection", &TransformerObject::add_projection, "weights"_a, "bias"_a.none(), "activation"_a, "adds_input"_a,
           "residual"_a.none())
      .def("encode", &TransformerObject::encode, "ids"_a, "offsets"_a, "out"_a, "threads"_a,
           "attended"_a = nb::none())
      .def_prop_ro("dim", &TransformerObject::dim);
  module.def("encoder_instruction_sets", [] { return std::make_tuple(encoder::compiled(), encoder::supported()); });
  module.def("encoder_current", &encoder::current);
  module.def("encoder_use", &encoder::use, "name"_a);
}
