// What this machine can do at most for seconds, as one line of JSON, for benches that run no kernels: bytes read a second, and operations a
// second of the widest dot products in bf16 and int8 (0: this processor has none).
//   lockstep_roof THREADS
#include <cstdio>
#include <cstdlib>

#include "bench/roof.h"
#include "cpu/kernels.h"

int main(int argc, char** argv) {
  using namespace lockstep::bench;
  const int threads = argc == 2 ? std::atoi(argv[1]) : 0;
  if (threads < 1 || threads > 64) {
    std::fprintf(stderr, "usage: lockstep_roof THREADS\n");
    return 2;
  }
  const char* isa = lockstep::cpu::kernels_for(nullptr)->name;
  const Pick pick = Pick::kMedian;
  std::printf("{\"bytesPerS\":%.0f,\"bf16PerS\":%.0f,\"int8PerS\":%.0f}\n", read_bandwidth(threads, pick),
              dot_peak_bf16(isa, threads, pick), dot_peak_int8(isa, threads, pick));
  return 0;
}
