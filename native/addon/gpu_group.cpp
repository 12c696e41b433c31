#include "addon/gpu_group.h"

#include "cuda/discovery.h"

namespace lockstep::addon {

GpuGroup::GpuGroup(std::shared_ptr<cpu::Group> group, const cuda::Runtime* runtime, nccl::Library library, bool records)
    : group_(std::move(group)),
      runtime_(runtime),
      library_(std::move(library)),
      records_(records),
      nccl_(library_.is_open() ? &library_ : nullptr, group_->world_size(), group_->timeout()) {}

std::shared_ptr<GpuGroup> GpuGroup::create(std::shared_ptr<cpu::Group> group, const GpuOptions& options, std::string* error) {
  const cuda::Runtime* runtime = cuda::built_in_runtime();
  const cuda::Discovery found = cuda::discover(runtime, cuda::has_driver_library());
  const int wanted = group->world_size();
  const auto refuse = [error](const std::string& reason) {
    *error = reason;
    return nullptr;
  };
  if (!found.problem.empty()) return refuse(found.problem);
  if (group->gather()) return refuse("GPUs work in reduce mode");
  if (group->config().kv_type == cpu::KvType::kInt8) return refuse("an int8 KV cache is the CPU's alone");
  if (wanted > static_cast<int>(found.devices.size()))
    return refuse(std::to_string(wanted) + " ranks need as many GPUs, and there are " + std::to_string(found.devices.size()));
  nccl::Library library = wanted > 1 ? nccl::open_nccl(options.nccl, options.roots) : nccl::Library();
  std::string refused;
  for (const std::string& reason : library.refused) refused += "; " + reason;
  std::shared_ptr<GpuGroup> made(new GpuGroup(std::move(group), runtime, std::move(library), options.records));
  const Status status = made->nccl_.init();
  return status.ok() ? made : refuse(status.text() + refused);
}

nccl::RankContext GpuGroup::context() {
  const cpu::Kernels& k = group_->kernels();
  const VocabularyOps vocabulary = {k.argmax, k.sum_exp, k.fixed_exp, k.softcap, cpu::kFixedExpBits};
  const cuda::Type kv_type = group_->config().kv_type == cpu::KvType::kF32 ? cuda::Type::kF32 : cuda::Type::kBf16;
  return {runtime_, &nccl_,  &group_->config().spec, &group_->buffers(), group_->grammars(), group_->mask_maker(), vocabulary,
          kv_type,  records_};
}

}  // namespace lockstep::addon
