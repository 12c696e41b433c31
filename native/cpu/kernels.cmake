# The CPU kernels: every file of LOCKSTEP_KERNEL_SOURCES is compiled once for each instruction set, with its flags and into its own
# namespace; dispatch.cpp picks a table at run time. Defines the static library lockstep_kernels.
set(LOCKSTEP_KERNEL_DIR ${CMAKE_CURRENT_LIST_DIR})
set(LOCKSTEP_KERNEL_SOURCES table.cpp pack.cpp pack_codes.cpp quantize_weights.cpp quantize.cpp norm.cpp rope.cpp activation.cpp
    gemm_f32.cpp gemm_bf16.cpp gemm_int8.cpp gemm_int4.cpp gemm_int5.cpp gemm_k.cpp kv_cache.cpp attention.cpp attention_int8.cpp attention_merge.cpp vocab.cpp)
list(TRANSFORM LOCKSTEP_KERNEL_SOURCES PREPEND ${LOCKSTEP_KERNEL_DIR}/)

set(LOCKSTEP_FLAGS_scalar "")
# PREFETCHW is a no-operation on the few processors with AVX2 that do not have it.
set(LOCKSTEP_FLAGS_avx2 -mavx2 -mfma -mf16c -mprfchw)
set(LOCKSTEP_FLAGS_avxvnni ${LOCKSTEP_FLAGS_avx2} -mavxvnni)
set(LOCKSTEP_FLAGS_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx512bf16 ${LOCKSTEP_FLAGS_avx2})
set(LOCKSTEP_FLAGS_amx ${LOCKSTEP_FLAGS_avx512} -mamx-tile -mamx-bf16 -mamx-int8)
set(LOCKSTEP_FLAGS_neon -march=armv8.2-a+dotprod)
set(LOCKSTEP_FLAGS_neon_bf16 -march=armv8.2-a+dotprod+bf16)

set(LOCKSTEP_ISAS scalar)
include(CheckCXXCompilerFlag)
if(LOCKSTEP_SANITIZE MATCHES "thread")  # kernels share nothing between threads: one table is enough, and its loads need no watching
  message(STATUS "kernels: scalar alone")
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  list(APPEND LOCKSTEP_ISAS avx2)
  check_cxx_compiler_flag(-mavxvnni LOCKSTEP_COMPILER_HAS_AVXVNNI)  # GCC 11, Clang 12
  if(LOCKSTEP_COMPILER_HAS_AVXVNNI)
    list(APPEND LOCKSTEP_ISAS avxvnni)
  endif()
  check_cxx_compiler_flag(-mavx512bf16 LOCKSTEP_COMPILER_HAS_AVX512_BF16)  # GCC 10, Clang 9
  if(LOCKSTEP_COMPILER_HAS_AVX512_BF16)
    list(APPEND LOCKSTEP_ISAS avx512)
    check_cxx_compiler_flag(-mamx-bf16 LOCKSTEP_COMPILER_HAS_AMX)  # GCC 11, Clang 12
    if(LOCKSTEP_COMPILER_HAS_AMX AND CMAKE_SYSTEM_NAME STREQUAL "Linux")  # which alone is asked for leave to use it
      list(APPEND LOCKSTEP_ISAS amx)
    endif()
  endif()
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  list(APPEND LOCKSTEP_ISAS neon)
  check_cxx_compiler_flag("-march=armv8.2-a+dotprod+bf16" LOCKSTEP_COMPILER_HAS_NEON_BF16)  # GCC 10, Clang 11
  if(LOCKSTEP_COMPILER_HAS_NEON_BF16)
    list(APPEND LOCKSTEP_ISAS neon_bf16)
  endif()
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")  # GCC 12 takes the undefined vectors inside its own AVX-512 header for mistakes
  list(APPEND LOCKSTEP_FLAGS_avx512 -Wno-uninitialized -Wno-maybe-uninitialized)
  list(APPEND LOCKSTEP_FLAGS_amx -Wno-uninitialized -Wno-maybe-uninitialized)
endif()

# In every build type: the kernels are unusable without inlining, and an inline function that stays a function could be shared between
# instruction sets by the linker. Sanitizers check every step of what -O3 unrolls: minutes a file, and nothing that -O1, which inlines as
# well, does not show.
set(LOCKSTEP_KERNEL_OPTIMISATION -O3)
if(LOCKSTEP_SANITIZE)
  set(LOCKSTEP_KERNEL_OPTIMISATION -O1)
endif()

# Objects of all kernels, in the namespace `isa`, with LOCKSTEP_FLAGS_<flags>.
function(lockstep_add_kernels isa flags)
  add_library(lockstep_kernels_${isa} OBJECT ${LOCKSTEP_KERNEL_SOURCES})
  target_compile_features(lockstep_kernels_${isa} PRIVATE cxx_std_17)
  target_compile_definitions(lockstep_kernels_${isa} PRIVATE LOCKSTEP_ISA=${isa})
  # No contraction: a product and a sum become one operation only where a kernel says fma.
  target_compile_options(lockstep_kernels_${isa} PRIVATE ${LOCKSTEP_KERNEL_OPTIMISATION} -Wall -Wextra -ffp-contract=off -fno-math-errno -fno-trapping-math
    ${LOCKSTEP_FLAGS_${flags}})
  set_target_properties(lockstep_kernels_${isa} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()

add_library(lockstep_kernels STATIC ${LOCKSTEP_KERNEL_DIR}/dispatch.cpp)
foreach(isa IN LISTS LOCKSTEP_ISAS)
  string(TOUPPER ${isa} name)
  lockstep_add_kernels(${isa} ${isa})
  target_compile_definitions(lockstep_kernels_${isa} PRIVATE LOCKSTEP_ISA_${name})
  target_sources(lockstep_kernels PRIVATE $<TARGET_OBJECTS:lockstep_kernels_${isa}>)
  target_compile_definitions(lockstep_kernels PRIVATE LOCKSTEP_HAVE_${name})
endforeach()
target_compile_features(lockstep_kernels PRIVATE cxx_std_17)
set_target_properties(lockstep_kernels PROPERTIES POSITION_INDEPENDENT_CODE ON)
