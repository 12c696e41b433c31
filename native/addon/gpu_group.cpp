#include "addon/gpu_group.h"

#include "cpu/vocabulary_ops.h"
#include "cuda/discovery.h"
#include "cuda/one_device.h"

namespace lockstep::addon {

namespace {

// Whose sums have one order takes no library: neither NCCL nor cuBLASLt promises one.
bool needs_nccl(const cpu::Group& group, const GpuOptions& options) {
  return group.world_size() > 1 && options.sums != nccl::SumChoice::kPeersAlone;
}

}  // namespace

GpuGroup::GpuGroup(std::shared_ptr<cpu::Group> group, const cuda::Runtime* runtime, const GpuOptions& options)
    : group_(std::move(group)),
      runtime_(runtime),
      library_(needs_nccl(*group_, options) ? nccl::open_nccl(options.nccl, options.roots) : nccl::Library()),
      cublaslt_(options.sums == nccl::SumChoice::kPeersAlone
                    ? cuda::CublasLt()
                    : cuda::open_cublaslt(options.cublaslt, options.roots, cuda::cublaslt_major(runtime))),
      sums_(options.sums),
      records_(options.records),
      nccl_(library_.is_open() ? &library_ : nullptr, group_->world_size(), group_->timeout()) {}

std::shared_ptr<GpuGroup> GpuGroup::create(std::shared_ptr<cpu::Group> group, const GpuOptions& options, std::string* error) {
  const int wanted = group->world_size();
  const cuda::Runtime* runtime = cuda::built_in_runtime();
  if (options.one_device) runtime = cuda::share_device(runtime, wanted);
  const cuda::Discovery found = cuda::discover(runtime, cuda::has_driver_library());
  const auto refuse = [error](const std::string& reason) {
    *error = reason;
    return nullptr;
  };
  if (!found.problem.empty()) return refuse(found.problem);
  if (group->gather()) return refuse("GPUs work in reduce mode");
  if (group->config().kv_type == cpu::KvType::kInt8) return refuse("an int8 KV cache is the CPU's alone");
  if (wanted > static_cast<int>(found.devices.size()))
    return refuse(std::to_string(wanted) + " ranks need as many GPUs, and there are " + std::to_string(found.devices.size()));
  std::shared_ptr<GpuGroup> made(new GpuGroup(std::move(group), runtime, options));
  const Status status = made->nccl_.init();
  return status.ok() ? made : refuse(status.text());
}

nccl::RankContext GpuGroup::context() {
  const cpu::Kernels& k = group_->kernels();
  const VocabularyOps vocabulary = cpu::vocabulary_ops(k);
  const cuda::Type kv_type = cuda_kv_type(group_->config().kv_type);
  std::string no_library = library_.is_open() ? "" : "; no libnccl was taken (`lockstep doctor` looks in the same places)";
  for (const std::string& reason : library_.refused) no_library += "; " + reason;
  nccl::RankContext context{};
  context.runtime = runtime_;
  context.group = &nccl_;
  context.spec = &group_->config().spec;
  context.buffers = &group_->buffers();
  context.grammars = group_->grammars();
  context.mask_maker = group_->mask_maker();
  context.vocabulary = vocabulary;
  context.kv_type = kv_type;
  context.sums = sums_;
  context.no_library = std::move(no_library);
  context.records = records_;
  context.quantize = [&k](WeightFormat format, const float* const* rows, int num_rows, int cols, uint8_t* const* blocks) {
    k.quantize_blocks(static_cast<cpu::Format>(format), rows, num_rows, cols, blocks);
  };
  context.cublaslt = cublaslt_.is_open() ? &cublaslt_.functions : nullptr;
  return context;
}

}  // namespace lockstep::addon
