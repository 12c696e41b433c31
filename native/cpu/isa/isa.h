// Picks the instruction set that this object is compiled for: native/cpu/kernels.cmake compiles every kernel file once for each,
// with LOCKSTEP_ISA as the name of its namespace. Kernels include this and nothing with templates or inline functions of its own
// from outside (no <algorithm>, no <vector>): the linker keeps one copy of an inline function, and it could be the one compiled
// with instructions that the CPU at hand does not have.
#pragma once

#if defined(LOCKSTEP_ISA_AMX)
#include "amx.h"
#elif defined(LOCKSTEP_ISA_AVX512)
#include "avx512.h"
#elif defined(LOCKSTEP_ISA_AVX2) || defined(LOCKSTEP_ISA_AVXVNNI)
#include "avx2.h"
#elif defined(LOCKSTEP_ISA_NEON) || defined(LOCKSTEP_ISA_NEON_BF16)
#include "neon.h"
#elif defined(LOCKSTEP_ISA_SCALAR)
#include "scalar.h"
#else
#error \
    "compile the kernels with one of LOCKSTEP_ISA_AMX, LOCKSTEP_ISA_AVX512, LOCKSTEP_ISA_AVXVNNI, LOCKSTEP_ISA_AVX2, LOCKSTEP_ISA_NEON, LOCKSTEP_ISA_NEON_BF16, LOCKSTEP_ISA_SCALAR"
#endif
