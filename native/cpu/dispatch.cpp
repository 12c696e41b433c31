// Chooses the kernel table that this CPU can run. Compiled for the baseline only.
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(LOCKSTEP_HAVE_AMX)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#ifndef HWCAP2_BF16  // kernel headers before 5.6
#define HWCAP2_BF16 (1 << 14)
#endif
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#include "kernels.h"

namespace lockstep::cpu {

#if defined(LOCKSTEP_HAVE_AMX)
namespace amx {
extern const Kernels kTable;
}
#endif
#if defined(LOCKSTEP_HAVE_AVX512)
namespace avx512 {
extern const Kernels kTable;
}
#endif
#if defined(LOCKSTEP_HAVE_AVXVNNI)
namespace avxvnni {
extern const Kernels kTable;
}
#endif
#if defined(LOCKSTEP_HAVE_AVX2)
namespace avx2 {
extern const Kernels kTable;
}
#endif
#if defined(LOCKSTEP_HAVE_NEON_BF16)
namespace neon_bf16 {
extern const Kernels kTable;
}
#endif
#if defined(LOCKSTEP_HAVE_NEON)
namespace neon {
extern const Kernels kTable;
}
#endif
namespace scalar {
extern const Kernels kTable;
}

namespace {

constexpr int kMaxTables = 5;

struct Tables {
  const Kernels* tables[kMaxTables];
  const char* names[kMaxTables + 1];  // ends with null
  int count;
};

void push(Tables* t, const Kernels& table) {
  t->tables[t->count] = &table;
  t->names[t->count++] = table.name;
}

#if defined(LOCKSTEP_HAVE_AMX)
// Leaf 7: tiles, with products of bf16 and of int8. Linux gives the 8 KiB of a thread's tiles only to processes that ask, once for all
// their threads (arch_prctl, since 5.16): older ones refuse, and so does a thread with a signal stack that is too small for them.
bool has_amx() {
  constexpr unsigned int kBits = (1u << 22) | (1u << 24) | (1u << 25);
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (edx & kBits) != kBits) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

#if defined(LOCKSTEP_HAVE_AVXVNNI)
// Leaf 7, subleaf 1: not every compiler that has the instruction knows its name in __builtin_cpu_supports.
bool has_avxvnni() {
  unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & (1u << 4)) != 0;
}
#endif

#if defined(LOCKSTEP_HAVE_NEON)
struct ArmFeatures {
  bool dot_product = false;
  bool bf16 = false;
};

#if defined(__APPLE__)
bool has_feature(const char* name) {
  int value = 0;
  size_t size = sizeof(value);
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
ArmFeatures arm_features() { return {has_feature("hw.optional.arm.FEAT_DotProd"), has_feature("hw.optional.arm.FEAT_BF16")}; }
#elif defined(__linux__)
ArmFeatures arm_features() { return {(getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0, (getauxval(AT_HWCAP2) & HWCAP2_BF16) != 0}; }
#else
ArmFeatures arm_features() { return {}; }  // nobody to ask: the scalar kernels
#endif
#endif

Tables find_tables() {
  Tables t{};
#if defined(LOCKSTEP_HAVE_AVX2)
  // This also asks the operating system (xgetbv) whether it saves the wide registers. Every CPU with AVX2 has F16C.
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#if defined(LOCKSTEP_HAVE_AVX512)
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
#if defined(LOCKSTEP_HAVE_AMX)
  if (avx2 && avx512 && has_amx()) push(&t, amx::kTable);
#endif
  if (avx2 && avx512) push(&t, avx512::kTable);
#endif
#if defined(LOCKSTEP_HAVE_AVXVNNI)
  if (avx2 && has_avxvnni()) push(&t, avxvnni::kTable);
#endif
  if (avx2) push(&t, avx2::kTable);
#endif
#if defined(LOCKSTEP_HAVE_NEON)
  const ArmFeatures arm = arm_features();
#if defined(LOCKSTEP_HAVE_NEON_BF16)
  if (arm.dot_product && arm.bf16) push(&t, neon_bf16::kTable);
#endif
  if (arm.dot_product) push(&t, neon::kTable);
#endif
  push(&t, scalar::kTable);
  return t;
}

const Tables& tables() {
  static const Tables found = find_tables();
  return found;
}

}  // namespace

const Kernels* kernels_for(const char* wanted) {
  const Tables& t = tables();
  if (wanted == nullptr) return t.tables[0];
  for (int i = 0; i < t.count; i++) {
    if (std::strcmp(t.names[i], wanted) == 0) return t.tables[i];
  }
  return nullptr;
}

const char* const* available_isas() { return tables().names; }

}  // namespace lockstep::cpu
