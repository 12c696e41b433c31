// What of a device bounds everything that runs there, measured: beside it every other figure is read.
#pragma once

#include <string>

#include "cuda/runtime.h"

namespace lockstep::test {

// Prints a line of JSON for each: {"probe": name, "value": number, "unit": text, "note": text}. 0, or 1 and a line on stderr.
//   copy         bytes read and written by a copy on the device, GB/s
//   product      bfloat16, 8192 x 8192 x 8192, by cuBLASLt where it is found below `roots`, else by our own kernel, TFLOP/s
//   own product, wgmma product  the same by our own kernels, the second on 9.0 alone
//   product of R rows, bfloat16 | 4 bits, own | wgmma | cuBLASLt   us
//   norm and product of R rows of K   of bfloat16, the product of q, k and v, or gate and up, with the norm in it, us; in the note apart
//   launch       a kernel of one row after another, and the same out of a recording, us
//   sum over N ranks, SIZE in one shot | two shots   all on this one device, us
int run_probes(const cuda::Runtime* runtime, const std::string& roots, bool small);

}  // namespace lockstep::test
