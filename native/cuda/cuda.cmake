# CUDA where nvcc 12.8 or later is found (CUDACXX, or nvcc on the path): LOCKSTEP_CUDA. Defines lockstep_cuda, the kernels and the
# runtime's table: compiled by nvcc with the static runtime, or without it one function that says that there is none.
set(LOCKSTEP_CUDA_DIR ${CMAKE_CURRENT_LIST_DIR})
set(LOCKSTEP_CUDA_KERNELS activation.cu attention.cu attention_few.cu attention_many.cu dequantize.cu embedding.cu experts.cu gemm.cu
  gemm_f32.cu gemm_gated.cu gemm_tiles.cu gemm_wide.cu generate.cu norm.cu peer.cu rope.cu sample.cu
  sample_score.cu)
list(TRANSFORM LOCKSTEP_CUDA_KERNELS PREPEND ${LOCKSTEP_CUDA_DIR}/)
# Machine code for Ampere and Ada (8.x), Hopper and Blackwell (12.x), and what a driver compiles for the others from 9.0 on.
set(LOCKSTEP_CUDA_ARCHITECTURES 80-real 90a-real 120-real 90-virtual CACHE STRING "what CUDA code is compiled for")

set(LOCKSTEP_CUDA OFF)
if(NOT LOCKSTEP_TESTS AND NOT CMAKE_CROSSCOMPILING)  # native/test has devices of its own, and nvcc compiles for this machine
  include(CheckLanguage)
  if(NOT CMAKE_CUDA_COMPILER)
    unset(CMAKE_CUDA_COMPILER CACHE)  # that there was none is no reason not to look again
  endif()
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --version OUTPUT_VARIABLE version)
    string(REGEX MATCH "release ([0-9]+\\.[0-9]+)" version "${version}")
    if(CMAKE_MATCH_1 VERSION_GREATER_EQUAL 12.8)
      set(LOCKSTEP_CUDA ON)
    else()
      message(STATUS "CUDA code is not built: ${CMAKE_CUDA_COMPILER} is older than 12.8")
    endif()
  endif()
endif()

if(LOCKSTEP_CUDA)
  set(CMAKE_CUDA_ARCHITECTURES ${LOCKSTEP_CUDA_ARCHITECTURES})
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  enable_language(CUDA)
  set(CMAKE_CUDA_STANDARD 17)
  add_library(lockstep_cuda STATIC ${LOCKSTEP_CUDA_KERNELS} ${LOCKSTEP_CUDA_DIR}/runtime_cudart.cu ${LOCKSTEP_CUDA_DIR}/table.cpp)
  set_target_properties(lockstep_cuda PROPERTIES CUDA_VISIBILITY_PRESET hidden POSITION_INDEPENDENT_CODE ON)
  target_compile_options(lockstep_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Xptxas=-v>)
  # The CPU's sampler rounds a product before it adds, and the same id comes of the same bits.
  set_source_files_properties(${LOCKSTEP_CUDA_DIR}/sample.cu ${LOCKSTEP_CUDA_DIR}/sample_score.cu PROPERTIES COMPILE_OPTIONS --fmad=false)
else()
  add_library(lockstep_cuda STATIC ${LOCKSTEP_CUDA_DIR}/no_runtime.cpp)
endif()
target_include_directories(lockstep_cuda PRIVATE ${LOCKSTEP_CUDA_DIR}/..)
