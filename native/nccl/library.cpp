#include "nccl/library.h"

namespace lockstep::nccl {
namespace {

// The name of a symbol that the library has not, or null.
const char* missing_symbol(void* handle, Functions* out) {
#define LOCKSTEP_FIND(member, name) \
  if (!find_symbol(handle, name, &out->member)) return name;
  LOCKSTEP_FIND(get_version, "ncclGetVersion")
  LOCKSTEP_FIND(get_unique_id, "ncclGetUniqueId")
  LOCKSTEP_FIND(comm_init_rank_config, "ncclCommInitRankConfig")
  LOCKSTEP_FIND(comm_get_async_error, "ncclCommGetAsyncError")
  LOCKSTEP_FIND(comm_finalize, "ncclCommFinalize")
  LOCKSTEP_FIND(comm_destroy, "ncclCommDestroy")
  LOCKSTEP_FIND(comm_abort, "ncclCommAbort")
  LOCKSTEP_FIND(all_reduce, "ncclAllReduce")
  LOCKSTEP_FIND(all_gather, "ncclAllGather")
  LOCKSTEP_FIND(get_error_string, "ncclGetErrorString")
  LOCKSTEP_FIND(get_last_error, "ncclGetLastError")
#undef LOCKSTEP_FIND
  return nullptr;
}

std::string check(void* handle, Library* out) {
  if (const char* name = missing_symbol(handle, &out->functions)) return std::string("it has no ") + name;
  int version = 0;
  if (out->functions.get_version(&version) != kSuccess) return "ncclGetVersion failed";
  if (version < kOldestVersion || version / 10000 != kNewestMajor) {
    return "it is NCCL " + version_text(version) + "; 2.x from " + version_text(kOldestVersion) + " on is needed";
  }
  out->version = version;
  return "";
}

}  // namespace

std::string version_text(int version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." + std::to_string(version % 100);
}

Library open_nccl(const std::string& path, const std::vector<std::string>& roots) {
  Library library;
  OpenLibrary opened = open_library({{"libnccl.so.2"}, "nccl", path, roots}, [&library](void* handle) { return check(handle, &library); });
  library.path = std::move(opened.path);
  library.refused = std::move(opened.refused);
  return library;
}

}  // namespace lockstep::nccl
