// The forward pass with AMX's products in emulated tile registers, against that of AVX-512 BF16: the same bits, in every family,
// on one thread or two.
#include "../../native/encoder/amx.hpp"

#include "../../native/common/processor.hpp"
#include "emulated_tiles.hpp"
#include "encoder_models.hpp"

namespace {

using namespace serotine::encoder;

std::vector<float> vectors(const Kernels& kernels, const Model& model, const Texts& texts, std::size_t workers) {
  std::vector<float> out(texts.tokens() * model.dim());
  Workspace workspace;
  for (std::size_t i = 0; i < texts.count(); ++i) {
    const std::int64_t first = texts.offsets[i];
    kernels.forward(model, texts.ids.data() + first, texts.attended.data() + first, texts.offsets.data() + i, 1,
                    out.data() + static_cast<std::size_t>(first) * model.dim(), workspace, workers);
  }
  return out;
}

}  // namespace

int main() {
  if (!serotine::has_avx512_bf16()) {
    std::printf("skipped: needs AVX-512 BF16\n");
    return 0;
  }
  const Kernels emulated = {"amx, emulated", forward<Amx<serotine::test::EmulatedTiles<std::uint8_t>>>};
  int passed = 0;
  for (const Family& family : families()) {
    Case c;
    make(c, family);
    const Texts texts;
    const std::vector<float> expected = vectors(avx512_bf16_kernels, c.model, texts, 1);
    for (const std::size_t workers : {1, 2}) {
      serotine::test::require(vectors(emulated, c.model, texts, workers) == expected, family.name);
      ++passed;
    }
  }
  std::printf("%d passed, 0 failed\n", passed);
  return 0;
}
