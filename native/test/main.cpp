// The native test program: every kernel of every instruction set that this CPU can run, against float64, and the sampler and whole ranks on
// each; the compute threads and the communicator. Run by sanitizers and qemu-user as it is, without Node. Arguments: part of a group's
// name, to run those alone; or --part I/N, to run every N-th group from the I-th on. Exits 1 when anything failed.
#include <cstdio>
#include <cstring>

#include "check.h"

#if defined(LOCKSTEP_HAVE_EMULATED_TILES)
namespace lockstep::cpu::amx_emulated {
extern const Kernels kTable;
}
#endif

namespace lockstep::test {
namespace {

constexpr KernelTest kKernelTests[] = {
    {"pack", test_pack},
    {"quantize weights", test_quantize_weights},
    {"activations", test_activations},
    {"norms", test_norms},
    {"rope", test_rope},
    {"gemm accuracy", test_gemm_accuracy},
    {"gemm sameness", test_gemm_sameness},
    {"gemm epilogues", test_gemm_epilogues},
    {"attention accuracy", test_attention_accuracy},
    {"attention sameness", test_attention_sameness},
    {"attention edges", test_attention_edges},
    {"attention merge", test_attention_merge},
    {"vocabulary", test_vocabulary},
    {"sampler", test_sampler},
    {"ranks", test_ranks},
    {"pooling", test_pooling},
};

struct PlainTest {
  const char* name;
  void (*run)(Check&);
};
constexpr PlainTest kPlainTests[] = {
    {"dequantize", test_dequantize},
    {"float formats", test_float_formats},
    {"threads", test_threads},
    {"communicator", test_communicator},
    {"lookup", test_lookup},
    {"grammar", test_grammar},
    {"cuda runtime", test_cuda_runtime},
    {"cuda kernels", test_cuda_kernels},
    {"tensor cores", test_tensor_cores},
    {"early kernels", test_early_kernels},
    {"wgmma", test_wgmma},
    {"cuda sampler", test_cuda_sampler},
    {"upload", test_upload},
    {"cublaslt", test_cublaslt},
    {"nccl", test_nccl},
    {"peers", test_peers},
    {"discovery", test_discovery},
    {"gpu ranks", test_gpu_ranks},
};

bool report(const std::string& name, const Check& check) {
  std::printf("%s %-28s %7ld expectations", check.failures == 0 ? "ok  " : "FAIL", name.c_str(), check.expectations);
  if (check.worst > 0) std::printf(", at most %.0f %% of a tolerance", check.worst * 100);
  if (check.failures > 0) std::printf(", %ld failed", check.failures);
  std::printf("\n");
  std::fflush(stdout);
  return check.failures == 0;
}

// Of every instruction set that this CPU can run; the kernels for AMX over tiles in plain code too (fake/tiles.h).
std::vector<const cpu::Kernels*> all_kernels() {
  std::vector<const cpu::Kernels*> all;
  for (const char* const* isa = cpu::available_isas(); *isa != nullptr; isa++) all.push_back(cpu::kernels_for(*isa));
#if defined(LOCKSTEP_HAVE_EMULATED_TILES)
  if (cpu::kernels_for("avx512") != nullptr) all.push_back(&cpu::amx_emulated::kTable);
#endif
  return all;
}

int run(const char* filter, int part, int parts) {
  bool ok = true;
  int group = 0;
  const auto wanted = [&](const std::string& name) {
    return group++ % parts == part && (filter == nullptr || name.find(filter) != std::string::npos);
  };
  for (const PlainTest& test : kPlainTests) {
    if (!wanted(test.name)) continue;
    Check check;
    test.run(check);
    ok = report(test.name, check) && ok;
  }
  for (const cpu::Kernels* kernels : all_kernels()) {
    for (const KernelTest& test : kKernelTests) {
      const std::string name = std::string(kernels->name) + " " + test.name;
      if (!wanted(name)) continue;
      Check check;
      test.run(check, *kernels);
      ok = report(name, check) && ok;
    }
  }
  return ok ? 0 : 1;
}

}  // namespace
}  // namespace lockstep::test

int main(int argc, char** argv) {
  int part = 1;
  int parts = 1;
  if (argc == 3 && std::strcmp(argv[1], "--part") == 0) {
    if (std::sscanf(argv[2], "%d/%d", &part, &parts) == 2 && part >= 1 && part <= parts)
      return lockstep::test::run(nullptr, part - 1, parts);
    std::fprintf(stderr, "--part takes I/N, as 1/2\n");
    return 2;
  }
  return lockstep::test::run(argc > 1 ? argv[1] : nullptr, 0, 1);
}
