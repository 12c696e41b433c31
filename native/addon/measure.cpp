#include "addon/measure.h"

#include "addon/convert.h"
#include "addon/gpu_group.h"
#include "cuda/backend.h"

namespace lockstep::addon {
namespace {

class Measure : public Napi::AsyncWorker {
 public:
  Measure(Napi::Env env, cpu::GroupConfig config, RankShard shard, WeightMap weights)
      : Napi::AsyncWorker(env),
        measured_(Napi::Promise::Deferred::New(env)),
        config_(std::move(config)),
        shard_(std::move(shard)),
        weights_(std::move(weights)) {}
  Napi::Promise promise() const { return measured_.Promise(); }

 protected:
  void Execute() override {
    const Status status = measure();
    if (!status.ok()) SetError(status.text());
  }
  void OnOK() override {
    Napi::Object out = Napi::Object::New(Env());
    out.Set("totalBytes", Napi::Number::New(Env(), static_cast<double>(total_bytes_)));
    out.Set("freeBytes", Napi::Number::New(Env(), static_cast<double>(free_bytes_)));
    out.Set("weightBytes", Napi::Number::New(Env(), static_cast<double>(weight_bytes_)));
    out.Set("stepBytes", Napi::Number::New(Env(), static_cast<double>(step_bytes_)));
    measured_.Resolve(out);
  }
  void OnError(const Napi::Error& error) override { measured_.Reject(error.Value()); }

 private:
  Status measure() {
    const cuda::Runtime* runtime = cuda::built_in_runtime();
    if (runtime == nullptr) return Status(Fault::kLoad, "this build has no CUDA");
    const cuda::Device device(runtime, shard_.rank);
    LOCKSTEP_RETURN_IF_ERROR(device.bind());
    LOCKSTEP_RETURN_IF_ERROR(device.check(runtime->memory_info(&free_bytes_, &total_bytes_), "memory_info"));
    LOCKSTEP_RETURN_IF_ERROR(cuda::weight_bytes(config_.spec, shard_, weights_, &weight_bytes_));
    return cuda::CudaBackend::step_bytes(device, config_.spec, config_.dims, shard_, cuda_kv_type(config_.kv_type), &step_bytes_);
  }

  const Napi::Promise::Deferred measured_;
  const cpu::GroupConfig config_;
  const RankShard shard_;
  const WeightMap weights_;
  size_t total_bytes_ = 0, free_bytes_ = 0, weight_bytes_ = 0, step_bytes_ = 0;
};

}  // namespace

Napi::Value measure_gpu(const Napi::CallbackInfo& info) {
  Reader reader;
  cpu::GroupConfig config = read_group_config(info[0], &reader);
  RankShard shard = read_shard(info[1], config, &reader);
  WeightMap weights = read_weights(info[2], &reader);
  if (!reader.ok()) {
    Napi::TypeError::New(info.Env(), "measureGpu: " + reader.error()).ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  auto* measure = new Measure(info.Env(), std::move(config), std::move(shard), std::move(weights));  // deletes itself
  measure->Queue();
  return measure->promise();
}

}  // namespace lockstep::addon
