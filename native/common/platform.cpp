#include "platform.hpp"

#if defined(_WIN32)
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <pthread.h>
#endif
#if defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__linux__)
#include <sched.h>
#if defined(SEROTINE_ARM)
#include <sys/auxv.h>
#ifndef HWCAP_ASIMDDP
#define HWCAP_ASIMDDP (1 << 20)
#endif
#ifndef HWCAP2_I8MM
#define HWCAP2_I8MM (1 << 13)
#endif
#endif
#endif

namespace serotine {

#if defined(__APPLE__)
namespace {

int read_system_value(const char* name) {
  int value = 0;
  std::size_t size = sizeof(value);
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 ? value : 0;
}

}  // namespace
#endif

std::size_t allowed_processors() {
#if defined(__linux__)
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  return sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? static_cast<std::size_t>(CPU_COUNT(&allowed)) : 0;
#elif defined(__APPLE__)
  // macOS pins no process to processors.
  const int active = read_system_value("hw.activecpu");
  return active > 0 ? static_cast<std::size_t>(active) : 0;
#elif defined(_WIN32)
  DWORD_PTR process = 0, system = 0;
  if (!GetProcessAffinityMask(GetCurrentProcess(), &process, &system)) return 0;
  std::size_t count = 0;
  for (; process != 0; process &= process - 1) ++count;
  return count;
#else
  return 0;
#endif
}

void after_fork([[maybe_unused]] void (*child)()) {
#if !defined(_WIN32)
  static_cast<void>(pthread_atfork(nullptr, nullptr, child));
#endif
}

#if defined(SEROTINE_ARM)
#if defined(__linux__)
bool has_asimd_dotprod() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
bool has_asimd_i8mm() { return (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0; }
#elif defined(__APPLE__)
bool has_asimd_dotprod() { return read_system_value("hw.optional.arm.FEAT_DotProd") != 0; }
bool has_asimd_i8mm() { return read_system_value("hw.optional.arm.FEAT_I8MM") != 0; }
#else
bool has_asimd_dotprod() { return false; }
bool has_asimd_i8mm() { return false; }
#endif
#endif

}  // namespace serotine
