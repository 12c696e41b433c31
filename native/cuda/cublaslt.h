// cuBLASLt, opened at run time: declared here by hand, so that neither its headers nor the library are needed to build. Its numbers are
// those of cublasLt.h and library_types.h of CUDA 13, which 12 has too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "cuda/device.h"
#include "cuda/kernels.h"

namespace lockstep::cuda {

using LtStatus = int;  // cublasStatus_t
constexpr LtStatus kLtSuccess = 0;
constexpr LtStatus kLtNotSupported = 15;
using LtHandle = struct LtHandleTag*;
using LtDesc = struct LtDescTag*;
using LtLayout = struct LtLayoutTag*;
using LtPreference = struct LtPreferenceTag*;

constexpr int kLtFloat32 = 0, kLtBfloat16 = 14;                        // cudaDataType
constexpr int kLtComputeFloat32 = 68;                                  // cublasComputeType_t
constexpr int kLtTransposeA = 3, kLtEpilogue = 7, kLtBiasPointer = 8;  // attributes of a product
constexpr int32_t kLtTransposed = 1, kLtEpilogueBias = 4;
constexpr int kLtMaxWorkspace = 1;  // attribute of a preference

struct LtAlgorithm {
  uint64_t words[8];
};
struct LtHeuristic {
  LtAlgorithm algorithm;
  size_t workspace_bytes;
  LtStatus status;
  float waves;
  int reserved[4];
};

struct LtFunctions {
  LtStatus (*create)(LtHandle* handle);
  LtStatus (*destroy)(LtHandle handle);
  LtStatus (*matmul)(LtHandle handle, LtDesc desc, const void* alpha, const void* a, LtLayout a_layout, const void* b, LtLayout b_layout,
                     const void* beta, const void* c, LtLayout c_layout, void* d, LtLayout d_layout, const LtAlgorithm* algorithm,
                     void* workspace, size_t workspace_bytes, Stream stream);
  LtStatus (*desc_create)(LtDesc* desc, int compute_type, int scale_type);
  LtStatus (*desc_destroy)(LtDesc desc);
  LtStatus (*desc_set)(LtDesc desc, int attribute, const void* value, size_t bytes);
  LtStatus (*layout_create)(LtLayout* layout, int type, uint64_t rows, uint64_t cols, int64_t ld);
  LtStatus (*layout_destroy)(LtLayout layout);
  LtStatus (*preference_create)(LtPreference* preference);
  LtStatus (*preference_destroy)(LtPreference preference);
  LtStatus (*preference_set)(LtPreference preference, int attribute, const void* value, size_t bytes);
  LtStatus (*heuristic)(LtHandle handle, LtDesc desc, LtLayout a, LtLayout b, LtLayout c, LtLayout d, LtPreference preference, int wanted,
                        LtHeuristic* found, int* num_found);
  size_t (*get_version)();
};

struct CublasLt {
  LtFunctions functions{};
  int version = 0;  // 130002 is 13.0.2; 0: none was taken
  std::string path;
  std::vector<std::string> refused;  // "path: why"
  bool is_open() const { return version != 0; }
};

// That of the runtime's own major version: a process with two of them would have two CUDA runtimes' worth of state.
// `path`: "" for a search; roots as in LibraryQuery. `major`: the runtime's.
int cublaslt_major(const Runtime* runtime);  // null: that of a build with CUDA
CublasLt open_cublaslt(const std::string& path, const std::vector<std::string>& roots, int major);

// A rank's products of many rows. What they need is found when their shape first comes, and kept.
class LtProducts {
 public:
  LtProducts(const LtFunctions* functions, const Device* device, const OwnStream* stream);
  ~LtProducts();
  LtProducts(const LtProducts&) = delete;
  LtProducts& operator=(const LtProducts&) = delete;
  // Without a library this does nothing, and can() is always false.
  Status init();
  bool is_open() const { return functions_ != nullptr; }
  // Whether there is an algorithm for a product of this shape, which takes on nothing of what comes behind it; not for one of nothing,
  // which a rank without heads has.
  bool can(const GemmArgs& args);
  // One that can(), into the stream.
  Status multiply(const GemmArgs& args);
  void abandon_memory() { workspace_.abandon(); }

 private:
  struct Plan;
  using Shape = std::tuple<Type, bool, int, int, int, int, int, int>;  // type, biased, rows, n, k, ld of x, w and out
  static Shape shape_of(const GemmArgs& args);
  Plan* plan_for(const GemmArgs& args);
  Status failed(LtStatus status, const char* what) const;

  const LtFunctions* const functions_;  // null: there is no library
  const Device* const device_;
  const OwnStream* const stream_;
  LtHandle handle_ = nullptr;
  Memory workspace_;
  std::map<Shape, std::unique_ptr<Plan>> plans_;
};

}  // namespace lockstep::cuda
