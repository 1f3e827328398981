// Sixteen floats, or integers, as one value in the registers of the file's machine flags: one of AVX-512, two of AVX2,
// four of SSE2 and NEON. Internal linkage: each instruction-set file compiles its own copy.
#pragma once

#include <cstddef>
#include <cstdint>

namespace serotine::encoder {
namespace {

#define SEROTINE_INLINE __attribute__((always_inline)) inline

constexpr std::size_t kLanes = 16;

#if defined(__AVX512F__)

typedef float Floats __attribute__((vector_size(64)));
typedef std::int32_t Ints __attribute__((vector_size(64)));

SEROTINE_INLINE Floats load(const float* p) {
  Floats v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
SEROTINE_INLINE void store(float* p, Floats v) { __builtin_memcpy(p, &v, sizeof v); }
SEROTINE_INLINE Floats all(float x) { return x - Floats{}; }
SEROTINE_INLINE Ints load_ints(const std::int32_t* p) {
  Ints v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
SEROTINE_INLINE Floats float_values(Ints v) { return __builtin_convertvector(v, Floats); }
SEROTINE_INLINE Ints bits(Floats v) { return reinterpret_cast<Ints>(v); }
SEROTINE_INLINE Floats from_bits(Ints v) { return reinterpret_cast<Floats>(v); }
SEROTINE_INLINE Floats larger_values(Floats a, Floats b) { return a > b ? a : b; }
SEROTINE_INLINE Floats smaller_values(Floats a, Floats b) { return a < b ? a : b; }
SEROTINE_INLINE Floats where_positive(Floats condition, Floats a, Floats b) { return condition > Floats{} ? a : b; }

#else

#if defined(__AVX__)
constexpr std::size_t kRegisterBytes = 32;
#else
constexpr std::size_t kRegisterBytes = 16;
#endif
constexpr std::size_t kRegisterLanes = kRegisterBytes / 4, kRegisters = kLanes / kRegisterLanes;

// Compilers hold vector types that are wider than a register in memory, so there is one value a register.
template <class Lane>
struct Registers {
  typedef Lane Register __attribute__((vector_size(kRegisterBytes)));
  Register at[kRegisters];

  SEROTINE_INLINE Registers() : at{} {}
  SEROTINE_INLINE Registers(Lane x) {
    for (std::size_t i = 0; i < kRegisters; ++i) at[i] = x - Register{};
  }
  // f of each register of some values.
  template <class Function, class... Values>
  static SEROTINE_INLINE Registers map(const Function& f, const Values&... values) {
    Registers result;
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kRegisters; ++i) result.at[i] = f(values.at[i]...);
    return result;
  }
  static SEROTINE_INLINE Registers load(const Lane* p) {
    Registers result;
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kRegisters; ++i) __builtin_memcpy(&result.at[i], p + i * kRegisterLanes, kRegisterBytes);
    return result;
  }
  SEROTINE_INLINE void store(Lane* p) const {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kRegisters; ++i) __builtin_memcpy(p + i * kRegisterLanes, &at[i], kRegisterBytes);
  }
  SEROTINE_INLINE Registers operator-() const {
    return map([](Register a) __attribute__((always_inline)) { return -a; }, *this);
  }
  SEROTINE_INLINE Registers& operator+=(const Registers& b) { return *this = *this + b; }
  SEROTINE_INLINE Registers& operator*=(const Registers& b) { return *this = *this * b; }
#define SEROTINE_OPERATOR(op)                                                                          \
  friend SEROTINE_INLINE Registers operator op(const Registers& a, const Registers& b) {               \
    return map([](Register x, Register y) __attribute__((always_inline)) { return x op y; }, a, b);    \
  }
  SEROTINE_OPERATOR(+)
  SEROTINE_OPERATOR(-)
  SEROTINE_OPERATOR(*)
  SEROTINE_OPERATOR(/)
  SEROTINE_OPERATOR(&)
  SEROTINE_OPERATOR(<<)
#undef SEROTINE_OPERATOR
};

using Floats = Registers<float>;
using Ints = Registers<std::int32_t>;
using FloatRegister = Floats::Register;
using IntRegister = Ints::Register;

SEROTINE_INLINE Floats load(const float* p) { return Floats::load(p); }
SEROTINE_INLINE void store(float* p, const Floats& v) { v.store(p); }
SEROTINE_INLINE Floats all(float x) { return x; }
SEROTINE_INLINE Ints load_ints(const std::int32_t* p) { return Ints::load(p); }
SEROTINE_INLINE Floats float_values(const Ints& v) {
  return Floats::map([](IntRegister x) __attribute__((always_inline)) { return __builtin_convertvector(x, FloatRegister); }, v);
}
SEROTINE_INLINE Ints bits(const Floats& v) {
  return Ints::map([](FloatRegister x) __attribute__((always_inline)) { return reinterpret_cast<IntRegister>(x); }, v);
}
SEROTINE_INLINE Floats from_bits(const Ints& v) {
  return Floats::map([](IntRegister x) __attribute__((always_inline)) { return reinterpret_cast<FloatRegister>(x); }, v);
}
SEROTINE_INLINE Floats larger_values(const Floats& a, const Floats& b) {
  return Floats::map([](FloatRegister x, FloatRegister y) __attribute__((always_inline)) { return x > y ? x : y; }, a, b);
}
SEROTINE_INLINE Floats smaller_values(const Floats& a, const Floats& b) {
  return Floats::map([](FloatRegister x, FloatRegister y) __attribute__((always_inline)) { return x < y ? x : y; }, a, b);
}
SEROTINE_INLINE Floats where_positive(const Floats& condition, const Floats& a, const Floats& b) {
  return Floats::map([](FloatRegister c, FloatRegister x, FloatRegister y) __attribute__((always_inline)) {
    return c > FloatRegister{} ? x : y;
  }, condition, a, b);
}

#endif

// Fused where the machine can: the files are compiled with contraction.
SEROTINE_INLINE Floats fma(Floats a, Floats b, Floats c) { return a * b + c; }

}  // namespace
}  // namespace serotine::encoder
