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

// Levels in panels (outputs / 32, inputs / 4, 32, 4), scales (outputs,), bias (outputs,).
using Matrix = std::tuple<In<std::int8_t, 4>, In<float, 1>, In<float, 1>>;
// Gain and bias (hidden,).
using NormArrays = std::tuple<In<float, 1>, In<float, 1>>;

encoder::Norm norm_of(const NormArrays& arrays, std::size_t width) {
  const auto& [gain, bias] = arrays;
  require(gain.size() == width && bias.size() == width, "a layer normalization has the wrong width");
  encoder::Norm norm;
  norm.gain.assign(gain.data(), gain.data() + width);
  norm.bias.assign(bias.data(), bias.data() + width);
  return norm;
}

encoder::Activation activation_of(const std::string& name) {
  using encoder::Activation;
  if (name == "Identity") return Activation::identity;
  if (name == "ReLU") return Activation::relu;
  if (name == "GELU") return Activation::gelu;
  if (name == "SiLU") return Activation::silu;
  require(name == "Tanh", "the activation of a projection is unknown");
  return Activation::tanh;
}

class BertObject {
 public:
  BertObject(const In<float, 2>& positions, const NormArrays& norm, std::size_t heads, std::size_t intermediate,
             float epsilon, bool tanh, std::size_t first_position) {
    model_.hidden = positions.shape(1);
    require(model_.hidden > 0 && model_.hidden % encoder::kPanel == 0, "hidden must be a multiple of 32");
    require(intermediate > 0 && intermediate % encoder::kPanel == 0, "intermediate must be a multiple of 32");
    require(heads > 0 && model_.hidden % heads == 0 && model_.hidden / heads % encoder::kPanel == 0,
            "the width of a head must be a multiple of 32");
    require(first_position < positions.shape(0), "first_position must be below the number of positions");
    model_.heads = heads;
    model_.intermediate = intermediate;
    model_.positions = positions.shape(0);
    model_.first_position = first_position;
    model_.epsilon = epsilon;
    model_.activation = tanh ? encoder::Activation::gelu_tanh : encoder::Activation::gelu;
    model_.position_vectors.assign(positions.data(), positions.data() + positions.size());
    model_.norm = norm_of(norm, model_.hidden);
  }

  // The caller keeps the arrays: they may be views of a mapped file.
  void set_words(const In<std::int8_t, 2>& levels, const In<float, 1>& scales) {
    require(levels.shape(1) == model_.hidden, "word vectors have the wrong width");
    require(scales.size() == levels.shape(0), "word scales must have one value per word");
    model_.vocabulary = levels.shape(0);
    model_.words = {.levels = levels.data(), .scales = scales.data()};
    keep(levels);
    keep(scales);
  }

  void set_word_blocks(const In<std::uint8_t, 2>& nibbles, const In<std::uint16_t, 2>& scales) {
    require(nibbles.shape(1) * 2 == model_.hidden, "word vectors have the wrong width");
    require(scales.shape(0) == nibbles.shape(0) && scales.shape(1) * 32 == model_.hidden,
            "word scales must have one value per block of 32");
    model_.vocabulary = nibbles.shape(0);
    model_.words = {.nibbles = nibbles.data(), .block_scales = scales.data()};
    keep(nibbles);
    keep(scales);
  }

  void add_layer(const std::vector<Matrix>& matrices, const std::vector<NormArrays>& norms) {
    require(matrices.size() == 4 && norms.size() == 2, "a layer has four matrices and two normalizations");
    const std::size_t hidden = model_.hidden, intermediate = model_.intermediate;
    encoder::Layer layer;
    // Softmax in powers of two.
    const float factor = 1.4426950408889634f / __builtin_sqrtf(static_cast<float>(hidden / model_.heads));
    layer.attention_in = matrix(matrices[0], 3 * hidden, hidden, hidden, factor);
    layer.attention_out = matrix(matrices[1], hidden, hidden);
    layer.feed_in = matrix(matrices[2], intermediate, hidden);
    layer.feed_out = matrix(matrices[3], hidden, intermediate);
    layer.attention_norm = norm_of(norms[0], hidden);
    layer.feed_norm = norm_of(norms[1], hidden);
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
    const auto longest = static_cast<std::int64_t>(model_.positions - model_.first_position);
    for (std::size_t i = 1; i < offsets.size(); ++i) {
      const std::int64_t length = offsets.data()[i] - offsets.data()[i - 1];
      if (length > longest) {
        throw std::invalid_argument("a text must have at most " + std::to_string(longest) +
                                    " tokens, the model's positions, got " + std::to_string(length));
      }
      for (std::int64_t at = offsets.data()[i - 1]; at < offsets.data()[i]; ++at) {
        const std::int32_t id = ids.data()[at];
        if (id < 0 || static_cast<std::size_t>(id) >= model_.vocabulary) {
          throw std::invalid_argument("token ids must be below " + std::to_string(model_.vocabulary) +
                                      ", the size of the vocabulary, got " + std::to_string(id));
        }
      }
    }
    require(!attended || attended->size() == ids.size(), "attended must have one value per id");
    const nb::gil_scoped_release release;
    encoder::encode(model_, ids.data(), attended ? attended->data() : nullptr, offsets.data(), offsets.size() - 1, out.data(), threads);
  }

  std::size_t dim() const { return model_.dim(); }

 private:
  encoder::Int8Matrix matrix(const Matrix& arrays, std::size_t outputs, std::size_t inputs, std::size_t factored = 0,
                             float factor = 1.0f) {
    const auto& [levels, scales, bias] = arrays;
    require(levels.shape(0) * levels.shape(2) == outputs && levels.shape(1) * levels.shape(3) == inputs &&
                levels.shape(2) == encoder::kPanel && levels.shape(3) == 4 && scales.size() == outputs && bias.size() == outputs,
            "a matrix has the wrong shape");
    keep(levels);
    return encoder::Int8Matrix(levels.data(), scales.data(), bias.data(), outputs, inputs, factored, factor);
  }

  template <class Array>
  void keep(const Array& array) {
    kept_.push_back(nb::ndarray<>(array));
  }

  std::vector<nb::ndarray<>> kept_;
  encoder::Model model_;
};

}  // namespace

void bind_encoder(nb::module_& module) {
  using namespace nb::literals;
  nb::class_<BertObject>(module, "Bert")
      .def(nb::init<const In<float, 2>&, const NormArrays&, std::size_t, std::size_t, float, bool, std::size_t>(),
           "positions"_a, "norm"_a, "heads"_a, "intermediate"_a, "epsilon"_a, "tanh"_a, "first_position"_a)
      .def("set_words", &BertObject::set_words, "levels"_a, "scales"_a)
      .def("set_word_blocks", &BertObject::set_word_blocks, "nibbles"_a, "scales"_a)
      .def("add_layer", &BertObject::add_layer, "matrices"_a, "norms"_a)
      .def("add_projection", &BertObject::add_projection, "weights"_a, "bias"_a.none(), "activation"_a, "adds_input"_a,
           "residual"_a.none())
      .def("encode", &BertObject::encode, "ids"_a, "offsets"_a, "out"_a, "threads"_a,
           "attended"_a = nb::none())
      .def_prop_ro("dim", &BertObject::dim);
  module.def("encoder_instruction_sets", [] { return std::make_tuple(encoder::compiled(), encoder::supported()); });
  module.def("encoder_current", &encoder::current);
  module.def("encoder_use", &encoder::use, "name"_a);
}
