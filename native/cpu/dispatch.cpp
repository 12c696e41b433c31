// Chooses the kernel table that this CPU can run. Compiled for the baseline only.
#include <cstring>

#include "kernels.h"

namespace lockstep::cpu {

#if defined(LOCKSTEP_HAVE_AVX512)
namespace avx512 {
extern const Kernels kTable;
}
#endif
#if defined(LOCKSTEP_HAVE_AVX2)
namespace avx2 {
extern const Kernels kTable;
}
#endif
namespace scalar {
extern const Kernels kTable;
}

namespace {

constexpr int kMaxTables = 3;

struct Tables {
  const Kernels* tables[kMaxTables];
  const char* names[kMaxTables + 1];  // ends with null
  int count;
};

void push(Tables* t, const Kernels& table) {
  t->tables[t->count] = &table;
  t->names[t->count++] = table.name;
}

// __builtin_cpu_supports also asks the operating system (xgetbv) whether it saves the wide registers. Every CPU with AVX2 has F16C.
Tables find_tables() {
  Tables t{};
#if defined(LOCKSTEP_HAVE_AVX2)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#if defined(LOCKSTEP_HAVE_AVX512)
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
  if (avx2 && avx512) push(&t, avx512::kTable);
#endif
  if (avx2) push(&t, avx2::kTable);
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
