// What Hopper (compute capability 9.0, code for sm_90a) has for products of large matrices, and the one place with its PTX: barriers whose
// phases count bytes, copies of tiles that a thread begins and the hardware makes (TMA), and products of a warpgroup that read shared
// memory by themselves and add to registers while the threads go on (wgmma). As with mma.cuh, nvcc gets these from here, and native/test
// gives its own before the file is included (native/test/fake/wgmma.h), which read the same descriptors and keep the same rules.
//
// After the PTX ISA 8.x/9.0 (chapters on mbarrier, cp.async.bulk.tensor, "Asynchronous warpgroup level matrix shared memory layout" and
// wgmma.mma_async), the documentation of cuTensorMapEncodeTiled in cuda.h, and how these are used by NVIDIA's CUTLASS
// (include/cute/arch/mma_sm90_desc.hpp: the bits of a descriptor; cutlass/arch/barrier.h), by DeepGEMM and by pranjalssh/fast.cu
// (examples/matmul/matmul_8.cuh).
//
// Layout of a tile of 64 columns of bf16 in shared memory: rows of 128 bytes behind each other, whose 16 byte pieces change places: the
// piece at an address is found where bits 4 … 6 are exclusive-ored with bits 7 … 9, the row in an atom of 8 rows, 1024 bytes, at whose
// multiples tiles begin. Copies write so and products read so; nobody meets a bank twice.
//
// Fragment of a product of 64 rows and 256 columns: warp w of the four has rows 16 w … 16 w + 15, lane l of it rows l / 4 and l / 4 + 8,
// and of each eight columns j columns 8 j + 2 (l % 4), + 1: values 4 j, 4 j + 1 of the first row and 4 j + 2, 4 j + 3 of the second.
#pragma once

#include "cuda/device.cuh"

namespace lockstep::cuda {

// Whether what is compiled is for such a device. For others kernels of this are empty, and the host never starts them.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDACC__)
constexpr bool kHasWgmma = true;
#else
constexpr bool kHasWgmma = false;
#endif
constexpr int kWarpgroup = 4 * kWarp;  // threads, of warps from a multiple of four on
constexpr int kTileColumns = 64;       // of bf16, 128 bytes
constexpr int kTileAtom = 1024;        // bytes of 8 rows
constexpr int kProductRows = 64, kProductColumns = 256, kProductDepth = 16;
constexpr int kFragment = kProductRows * kProductColumns / kWarpgroup;  // values of a lane

// CUtensorMap: what a copy knows of a matrix in device memory. A kernel takes it as a part of a __grid_constant__ parameter.
struct alignas(128) TensorMap {
  uint64_t words[16];
};

// The arguments of cuTensorMapEncodeTiled for a matrix of rows, and its numbers.
constexpr int kMapBf16 = 9, kMapSwizzle128 = 3, kMapPromote256 = 3;
struct TensorMapShape {
  const void* data;    // 16 bytes aligned
  int type;            // kMapBf16
  uint64_t size[2];    // columns, rows: what a copy meets outside is zeros
  uint64_t row_bytes;  // a multiple of 16
  uint32_t box[2];     // columns, rows of a copy, at most 256 each
  int swizzle, promotion;
};

}  // namespace lockstep::cuda

#ifdef __CUDACC__
#include <cuda.h>  // types alone: the function is asked of the driver

namespace lockstep::cuda {

static_assert(sizeof(TensorMap) == sizeof(CUtensorMap) && alignof(TensorMap) >= alignof(CUtensorMap));
static_assert(kMapBf16 == CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 && kMapSwizzle128 == CU_TENSOR_MAP_SWIZZLE_128B &&
              kMapPromote256 == CU_TENSOR_MAP_L2_PROMOTION_L2_256B);

struct MapEncoder {
  Error error;
  decltype(&cuTensorMapEncodeTiled) encode;
};
inline MapEncoder find_map_encoder() {
  constexpr unsigned kSince = 12000;
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, kSince, cudaEnableDefault, &result);
  if (error == cudaSuccess && result != cudaDriverEntryPointSuccess) return {cudaErrorSymbolNotFound, nullptr};
  return {error, reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(found)};
}

// Arithmetic on the host, without a call to the device: it may stand where a stream is captured.
inline Error encode_tensor_map(TensorMap* map, const TensorMapShape& shape) {
  static const MapEncoder encoder = find_map_encoder();
  if (encoder.error != kSuccess) return encoder.error;
  const cuuint64_t size[2] = {shape.size[0], shape.size[1]}, stride[1] = {shape.row_bytes};
  const cuuint32_t box[2] = {shape.box[0], shape.box[1]}, every[2] = {1, 1};
  // Of the numbers of CUresult that this gives the runtime has the same.
  return encoder.encode(reinterpret_cast<CUtensorMap*>(map), static_cast<CUtensorMapDataType>(shape.type), 2, const_cast<void*>(shape.data),
                        size, stride, box, every, CU_TENSOR_MAP_INTERLEAVE_NONE, static_cast<CUtensorMapSwizzle>(shape.swizzle),
                        static_cast<CUtensorMapL2promotion>(shape.promotion), CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

// Of memory of dynamic_shared().
__device__ inline uint32_t shared_address(const void* at) { return static_cast<uint32_t>(__cvta_generic_to_shared(at)); }

// --- phases: a barrier's phase ends when `arrivals` threads have arrived and all bytes that they expect have come ---

__device__ inline void init_phases(uint64_t* barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
// What the calling thread has written to shared memory is seen by copies and products that are begun behind this.
__device__ inline void show_to_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
__device__ inline void arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
__device__ inline void arrive_expecting(uint64_t* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
}
// Until the phase of that parity has ended: the first has 0, and the one before it, which nobody began, 1. Whoever arrives is a thread of
// this block, or the hardware, and waits for nothing outside of it: the wait needs no bound of its own.
__device__ inline void wait_for_phase(uint64_t* barrier, uint32_t parity) {
  uint32_t has_ended = 0;
  while (has_ended == 0) {
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.b32 %0, 1, 0, p;\n}"
        : "=r"(has_ended)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
  }
}

// Begins to copy the map's box from there on to `to`, whose bytes, those outside of the matrix too, the barrier's phase counts.
__device__ inline void begin_tile(void* to, const TensorMap* map, uint64_t* barrier, int column, int row) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
                   shared_address(to)),
               "l"(map), "r"(shared_address(barrier)), "r"(column), "r"(row)
               : "memory");
}

// --- products: all threads of a warpgroup call together ---

// The compiler may move no use of the values over this.
__device__ inline void pin(float (&d)[kFragment]) {
#pragma unroll
  for (int i = 0; i < kFragment; i++) asm volatile("" : "+f"(d[i])::"memory");
}
// Before the first product, and whenever the values have been used since the last.
__device__ inline void begin_products(float (&d)[kFragment]) {
  pin(d);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
// The products that were begun are a group.
__device__ inline void end_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Until all groups but the last `pending` are done.
template <int pending>
__device__ void wait_for_products(float (&d)[kFragment]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
  pin(d);
}

#define LOCKSTEP_VALUES_4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define LOCKSTEP_VALUES_16(i) LOCKSTEP_VALUES_4(i), LOCKSTEP_VALUES_4(i + 4), LOCKSTEP_VALUES_4(i + 8), LOCKSTEP_VALUES_4(i + 12)
#define LOCKSTEP_VALUES_64(i) LOCKSTEP_VALUES_16(i), LOCKSTEP_VALUES_16(i + 16), LOCKSTEP_VALUES_16(i + 32), LOCKSTEP_VALUES_16(i + 48)
// d = a b, or with `adds` d += a b, of 64 rows of a and 256 rows of b over 16 columns: see matrix_at.
__device__ inline void multiply_async(float (&d)[kFragment], uint64_t a, uint64_t b, bool adds) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "setp.ne.b32 p, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
      "%128, %129, p, 1, 1, 0, 0;\n}"
      : LOCKSTEP_VALUES_64(0), LOCKSTEP_VALUES_64(64)
      : "l"(a), "l"(b), "r"(static_cast<int>(adds)));
}
#undef LOCKSTEP_VALUES_64
#undef LOCKSTEP_VALUES_16
#undef LOCKSTEP_VALUES_4

}  // namespace lockstep::cuda
#endif

namespace lockstep::cuda {

// A matrix in shared memory for a product, 16 columns of a tile: bits 0 … 13 the address / 16; 16 … 29 the step between pieces along k,
// which has no meaning in this layout (1); 32 … 45 the step from eight rows to the next / 16; 49 … 51 the row of the atom that it begins in
// (0); 62 and 63 the layout, 1: that of 128 bytes.
__device__ inline uint64_t matrix_at(uint32_t shared_address) {
  return (shared_address & 0x3ffffU) >> 4 | uint64_t{1} << 16 | uint64_t{kTileAtom >> 4} << 32 | uint64_t{1} << 62;
}

// The map of a matrix of bf16 whose rows are `ld` apart, for copies of tiles of `tile_rows` rows.
inline Error map_rows(TensorMap* map, const void* data, int rows, int columns, int ld, int tile_rows) {
  TensorMapShape shape{};
  shape.data = data;
  shape.type = kMapBf16;
  shape.size[0] = static_cast<uint64_t>(columns), shape.size[1] = static_cast<uint64_t>(rows);
  shape.row_bytes = static_cast<uint64_t>(ld) * sizeof(uint16_t);
  shape.box[0] = kTileColumns, shape.box[1] = static_cast<uint32_t>(tile_rows);
  shape.swizzle = kMapSwizzle128;
  shape.promotion = kMapPromote256;
  return encode_tensor_map(map, shape);
}

}  // namespace lockstep::cuda
