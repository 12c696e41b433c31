// What the ranks of a group on GPUs share beside what every group has: the runtime, NCCL and their meeting there.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cpu/group.h"
#include "nccl/rank.h"

namespace lockstep::addon {

// A GPU has no int8 cache: GpuGroup::create refuses it.
inline cuda::Type cuda_kv_type(cpu::KvType type) { return type == cpu::KvType::kF32 ? cuda::Type::kF32 : cuda::Type::kBf16; }

struct GpuOptions {
  bool present = false;  // false: the CPU
  std::string nccl;      // a file; "": a search below `roots`
  std::string cublaslt;  // the same
  std::vector<std::string> roots;
  nccl::SumChoice sums = nccl::SumChoice::kQuickest;
  bool records = true;  // see cuda::BackendParts
  bool one_device = false;
};

class GpuGroup {
 public:
  // null and a reason when there are no such devices.
  static std::shared_ptr<GpuGroup> create(std::shared_ptr<cpu::Group> group, const GpuOptions& options, std::string* error);
  nccl::RankContext context();
  cpu::ShmGroup* meeting() { return group_->meeting(); }
  void abort() { nccl_.abort(); }

 private:
  GpuGroup(std::shared_ptr<cpu::Group> group, const cuda::Runtime* runtime, const GpuOptions& options);

  const std::shared_ptr<cpu::Group> group_;
  const cuda::Runtime* const runtime_;
  const nccl::Library library_;
  const cuda::CublasLt cublaslt_;
  const nccl::SumChoice sums_;
  const bool records_;
  nccl::Group nccl_;
};

// One rank of it, on the thread that makes it.
struct GpuSeat {
  GpuSeat(std::shared_ptr<GpuGroup> of, int rank)
      : group(std::move(of)), host(group->meeting(), rank), rank(group->context(), &host, rank) {}
  const std::shared_ptr<GpuGroup> group;
  cpu::ShmCommunicator host;
  nccl::GpuRank rank;
};

}  // namespace lockstep::addon
