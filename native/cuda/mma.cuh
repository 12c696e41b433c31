// A warp's products of small matrices on tensor cores, and what feeds them: the one place with their PTX. As with device.cuh, nvcc gets
// these from here, and native/test gives its own before the file is included (native/test/fake/tensor_core.h), so that kernels that use
// them run on the processor too.
//
// All lanes of a warp call together. Lane l holds of a matrix of bf16, two to a word, the even column or row in the lower half:
//   a[16][16], rows times k:     words 0 … 3: rows l / 4, l / 4 + 8, l / 4, l / 4 + 8 at k = 2 (l % 4), + 1; in words 2 and 3 k + 8
//   b[16][8], k times columns:   words 0, 1: column l / 4 at k = 2 (l % 4), + 1, and at k + 8
//   d[16][8], float:             values 0 … 3: rows l / 4, l / 4, l / 4 + 8, l / 4 + 8 at columns 2 (l % 4), + 1 in turn
#pragma once

#include "cuda/device.cuh"

#ifdef __CUDACC__
namespace lockstep::cuda {

// d += a b. The products are exact, the sum float32; a value of d depends on its row of a, its column of b and what it was before, and not
// on which row or column that is.
__device__ inline void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four matrices of 8 x 8 bf16 from shared memory: lane 8 m + r gives the address of row r, 16 bytes, of matrix m. Word m of lane l is
// row l / 4 of it, at columns 2 (l % 4), + 1.
__device__ inline void load_matrices(uint32_t (&words)[4], const void* row) {
  const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(at)
               : "memory");
}

// The same of the transposed matrices: word m of lane l is column l / 4 of it, at rows 2 (l % 4), + 1.
__device__ inline void load_matrices_transposed(uint32_t (&words)[4], const void* row) {
  const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(at)
               : "memory");
}

// Begins to copy 16 bytes, or where not `present` to write zeros; both addresses are multiples of 16. A thread's copies between two
// `end_copies` are a group; what others copied is seen after their wait and a __syncthreads.
__device__ inline void begin_copy(void* shared, const void* global, bool present) {
  const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  const unsigned bytes = present ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes) : "memory");
}
__device__ inline void end_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until all of the calling thread's groups but the last `pending` are there.
template <int pending>
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

}  // namespace lockstep::cuda
#endif

namespace lockstep::cuda {

// Two floats as a word of bf16, the first in the lower half.
__device__ inline uint32_t pack_bf16(float low, float high) {
  return static_cast<uint32_t>(float_to_bf16(low)) | static_cast<uint32_t>(float_to_bf16(high)) << 16;
}

}  // namespace lockstep::cuda
