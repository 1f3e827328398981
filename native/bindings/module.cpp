// The extension module serotine._core: thin; checks what memory safety requires and releases the GIL around work.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

void bind_maxsim(nb::module_& module);
void bind_codec(nb::module_& module);
void bind_search(nb::module_& module);
void bind_encoder(nb::module_& module);

NB_MODULE(_core, module) {
  module.doc() = "Serotine's compiled core. Use serotine.maxsim, which checks its input.";
  bind_maxsim(module);
  bind_codec(module);
  bind_search(module);
  bind_encoder(module);
}
