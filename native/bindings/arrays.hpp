// The array types of the bindings, and their validation.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <stdexcept>
#include <utility>

#include "../common/thread_pool.hpp"

namespace nb = nanobind;

// An array whose elements lie at multiples of their size, as the core reads and writes them. Where it was passed
// otherwise, an input is a copy, and an output is refused.
template <bool Copied, class... Config>
class AlignedArray : public nb::ndarray<Config...> {
 public:
  using Array = nb::ndarray<Config...>;
  AlignedArray() = default;
  explicit AlignedArray(Array array) : Array(std::move(array)) {}
  bool aligned() const {
    return this->size() == 0 || reinterpret_cast<std::uintptr_t>(this->data()) % this->itemsize() == 0;
  }
};

template <class T, int Dims>
using In = AlignedArray<true, const T, nb::ndim<Dims>, nb::c_contig, nb::device::cpu>;
template <class T, int Dims>
using Out = AlignedArray<false, T, nb::ndim<Dims>, nb::c_contig, nb::device::cpu>;

namespace nanobind::detail {

template <bool Copied, class... Config>
struct type_caster<AlignedArray<Copied, Config...>> {
  using Aligned = AlignedArray<Copied, Config...>;
  NB_TYPE_CASTER(Aligned, make_caster<typename Aligned::Array>::Name)

  bool from_python(handle source, std::uint32_t flags, cleanup_list* cleanup) noexcept {
    if (!load(source, flags, cleanup)) return false;
    if (value.is_valid() && !value.aligned()) {
      if (!Copied) return false;
      const object copy = steal(PyObject_CallMethod(source.ptr(), "copy", nullptr));
      if (!copy.is_valid()) {
        PyErr_Clear();
        return false;
      }
      return load(copy, flags, cleanup) && value.aligned();
    }
    return true;
  }

 private:
  bool load(handle source, std::uint32_t flags, cleanup_list* cleanup) noexcept {
    make_caster<typename Aligned::Array> caster;
    if (!caster.from_python(source, flags, cleanup)) return false;
    value = Aligned(caster.value);
    return true;
  }
};

}  // namespace nanobind::detail

// Releases the GIL while the core works. A pending signal, such as Ctrl-C, ends that work with its handler's exception.
class Released {
 private:
  static void check_signals() {
    const nb::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
  }

  nb::gil_scoped_release release_;
  serotine::Interruptible interruptible_{&check_signals};
};

inline void require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

template <class T>
void require_rising(const In<T, 1>& values, const char* what) {
  for (std::size_t i = 1; i < values.size(); ++i) require(values.data()[i - 1] <= values.data()[i], what);
}

// An item of a list, or an object passed without its type.
template <class T>
T item_of(nb::handle value, const char* what) {
  T item;
  if (!nb::try_cast(value, item)) throw nb::type_error(what);
  return item;
}

template <class Object>
const Object& object_of(nb::handle value, const char* what) {
  if (!nb::isinstance<Object>(value)) throw nb::type_error(what);
  return nb::cast<const Object&>(value);
}

// Ids of 2 or 4 bytes per row, which the core reads as whole numbers.
inline void require_ids(const In<std::uint8_t, 2>& ids) {
  require(ids.shape(1) == 2 || ids.shape(1) == 4, "ids must have 2 or 4 bytes per token");
  require(ids.size() == 0 || reinterpret_cast<std::uintptr_t>(ids.data()) % ids.shape(1) == 0,
          "ids must lie at a multiple of their bytes per token in memory");
}
