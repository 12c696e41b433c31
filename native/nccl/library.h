// libnccl, opened at run time: declared here by hand, so that neither its headers nor the library are needed to build.
// Layouts and numbers are those of NCCL 2.28 (nccl.h), which later versions read by the size and version that stand in them.
#pragma once

#include <climits>
#include <cstddef>
#include <string>

#include "common/shared_library.h"
#include "cuda/runtime.h"

namespace lockstep::nccl {

using Result = int;  // ncclResult_t
constexpr Result kSuccess = 0;
constexpr Result kInProgress = 7;
using Comm = struct CommTag*;

constexpr int kFloat32 = 7;  // ncclDataType_t
constexpr int kSum = 0;      // ncclRedOp_t

struct UniqueId {
  char bytes[128];
};

constexpr int kUndefined = INT_MIN;
struct Config {
  size_t size = sizeof(Config);
  unsigned magic = 0xcafebeef;
  unsigned version = 22809;
  int blocking = kUndefined;
  int cga_cluster_size = kUndefined;
  int min_ctas = kUndefined;
  int max_ctas = kUndefined;
  const char* net_name = nullptr;
  int split_share = kUndefined;
  int traffic_class = kUndefined;
  const char* comm_name = nullptr;
  int collnet_enable = kUndefined;
  int cta_policy = kUndefined;
  int shrink_share = kUndefined;
  int nvls_ctas = kUndefined;
  int channels_per_net_peer = kUndefined;
  int nvlink_centric_sched = kUndefined;
};

constexpr int kOldestVersion = 22800;
constexpr int kNewestMajor = 2;

struct Functions {
  Result (*get_version)(int* version);
  Result (*get_unique_id)(UniqueId* id);
  Result (*comm_init_rank_config)(Comm* comm, int num_ranks, UniqueId id, int rank, Config* config);
  Result (*comm_get_async_error)(Comm comm, Result* error);
  Result (*comm_finalize)(Comm comm);
  Result (*comm_destroy)(Comm comm);
  Result (*comm_abort)(Comm comm);
  Result (*all_reduce)(const void* send, void* receive, size_t count, int type, int op, Comm comm, cuda::Stream stream);
  Result (*all_gather)(const void* send, void* receive, size_t send_count, int type, Comm comm, cuda::Stream stream);
  const char* (*get_error_string)(Result result);
  const char* (*get_last_error)(Comm comm);
};

struct Library {
  Functions functions{};
  int version = 0;  // 22809 is 2.28.9; 0: none was taken
  std::string path;
  std::vector<std::string> refused;  // "path: why"
  bool is_open() const { return version != 0; }
};

// `path`: "" for a search; roots as in LibraryQuery.
Library open_nccl(const std::string& path, const std::vector<std::string>& roots);
// "2.28.9"
std::string version_text(int version);

}  // namespace lockstep::nccl
