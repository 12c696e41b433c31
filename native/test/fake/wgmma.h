// What native/cuda/wgmma.cuh has, on the processor: a part of emulate.h, which includes it. What is asynchronous on a device happens here
// as late as it may: a copy when the phase that counts it is found to have ended, while from its beginning on its place holds no numbers; a
// product when it is waited for. So whoever reads, writes or gives back too early gets what is wrong.
#pragma once

#include <cstdint>

#include "cuda/runtime.h"

namespace lockstep::cuda {

struct TensorMap;
struct TensorMapShape;
Error encode_tensor_map(TensorMap* map, const TensorMapShape& shape);

// Shared memory begins at an address that is a multiple of 16 and of no more.
uint32_t shared_address(const void* at);
void init_phases(uint64_t* barrier, uint32_t arrivals);
void show_to_async();
void arrive(uint64_t* barrier);
void arrive_expecting(uint64_t* barrier, uint32_t bytes);
void wait_for_phase(uint64_t* barrier, uint32_t parity);
void begin_tile(void* to, const TensorMap* map, uint64_t* barrier, int column, int row);
// Fences are asked for after every wait, which is more than the PTX ISA does.
void begin_products(float* d);
void end_products();
void finish_products(int pending);
template <int pending>
void wait_for_products(float*) {
  finish_products(pending);
}
void multiply_async(float* d, uint64_t a, uint64_t b, bool adds);

}  // namespace lockstep::cuda

namespace lockstep::test {

// What a block that has ended has left.
void forget_async();

}  // namespace lockstep::test
