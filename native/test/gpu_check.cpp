// What scripts/gpu-check runs of native code, on the device of the runtime that is linked: a line of JSON for each result, as it comes.
//   lockstep_gpu_check checks                  the checks of device_bench.h
//   lockstep_gpu_check probes ROOTS [small]    what bounds everything else: gpu_probes.h. ROOTS: below which libcublasLt is looked for,
//   with
//                                              colons between; small: sizes for an emulated device
#include <cstring>

#include "device_bench.h"
#include "gpu_probes.h"

namespace lockstep::test {
namespace {

bool tell(const char* name, const Check& check) {
  std::printf(R"({"check":"%s","expectations":%ld,"failures":%ld,"worst":%.4f})"
              "\n",
              name, check.expectations, check.failures, check.worst);
  std::fflush(stdout);
  return check.failures == 0;
}

int run_checks(const cuda::Runtime* runtime) {
  bool ok = true;
  Check all;
  Bench bench(all, runtime);
  if (!tell("a device", all)) return 1;
  for (const DeviceCheck& one : device_checks()) {
    all = Check();
    bench.clear();
    std::fprintf(stderr, "%s\n", one.name);
    one.run(bench);
    ok = tell(one.name, all) && ok;
  }
  all = Check();
  all.expect(unchecked_kernels(bench) == 0, "%d kernels of the table have no check", unchecked_kernels(bench));
  return tell("every kernel of the table has a check", all) && ok ? 0 : 1;
}

}  // namespace
}  // namespace lockstep::test

int main(int argc, char** argv) {
  using namespace lockstep;
  const cuda::Runtime* runtime = cuda::built_in_runtime();
  const std::string command = argc > 1 ? argv[1] : "";
  if (runtime != nullptr && command == "checks") return test::run_checks(runtime);
  if (runtime != nullptr && command == "probes" && argc > 2)
    return test::run_probes(runtime, argv[2], argc > 3 && std::strcmp(argv[3], "small") == 0);
  std::fprintf(stderr, runtime == nullptr ? "this program was built without CUDA\n" : "usage: see gpu_check.cpp\n");
  return 2;
}
