#include "addon/group.h"

#include <map>
#include <mutex>

#include "addon/addon.h"
#include "addon/convert.h"
#include "addon/probe.h"
#include "cpu/packed_file.h"

namespace lockstep::addon {
namespace {

struct Registry {
  std::mutex mutex;
  std::map<int, std::shared_ptr<cpu::Group>> groups;
  std::map<int, std::shared_ptr<GpuGroup>> gpu_groups;  // of those that are on GPUs
  int next = 1;
};
Registry& registry() {
  static auto* registry = new Registry();  // never destroyed: threads may outlive static destructors
  return *registry;
}

Napi::Value fail(const Napi::CallbackInfo& info, const std::string& text) {
  Napi::TypeError::New(info.Env(), text).ThrowAsJavaScriptException();
  return info.Env().Undefined();
}

int handle_of(const Napi::CallbackInfo& info) { return info[0].IsNumber() ? info[0].As<Napi::Number>().Int32Value() : 0; }

template <class Kind>
std::shared_ptr<Kind> find(const std::map<int, std::shared_ptr<Kind>>& groups, int handle) {
  const std::lock_guard<std::mutex> lock(registry().mutex);
  const auto found = groups.find(handle);
  return found == groups.end() ? nullptr : found->second;
}

class Save : public Napi::AsyncWorker {
 public:
  Save(Napi::Env env, std::shared_ptr<cpu::Group> group, std::shared_ptr<const cpu::Weights> weights, std::string path)
      : Napi::AsyncWorker(env),
        done_(Napi::Promise::Deferred::New(env)),
        group_(std::move(group)),
        weights_(std::move(weights)),
        path_(std::move(path)) {}
  Napi::Promise promise() const { return done_.Promise(); }

 protected:
  void Execute() override {
    const Status status = cpu::write_packed(path_, weights_->arena, group_->ending);
    if (!status.ok()) SetError(status.text());
  }
  void OnOK() override { done_.Resolve(Env().Undefined()); }
  void OnError(const Napi::Error& error) override { done_.Reject(error.Value()); }

 private:
  const Napi::Promise::Deferred done_;
  const std::shared_ptr<cpu::Group> group_;
  const std::shared_ptr<const cpu::Weights> weights_;
  const std::string path_;
};

}  // namespace

std::shared_ptr<cpu::Group> find_group(int handle) { return find(registry().groups, handle); }
std::shared_ptr<GpuGroup> find_gpu_group(int handle) { return find(registry().gpu_groups, handle); }

Napi::Value create_group(const Napi::CallbackInfo& info) {
  if (info.Length() != 3 || !info[1].IsTypedArray() || !info[2].IsTypedArray()) {
    return fail(info, "createGroup takes options, a Uint8Array over the step buffer and the offsets of its columns");
  }
  Reader reader;
  cpu::GroupConfig config = read_group_config(info[0], &reader);
  const GpuOptions gpu = read_gpu_options(info[0], &reader);
  if (!reader.ok()) return fail(info, "createGroup: " + reader.error());
  auto shared = info[1].As<Napi::Uint8Array>();
  auto places = info[2].As<Napi::Float64Array>();
  if (shared.TypedArrayType() != napi_uint8_array || places.TypedArrayType() != napi_float64_array) {
    return fail(info, "createGroup takes a Uint8Array and a Float64Array");
  }
  if (shared.Data() == nullptr) return fail(info, "createGroup: the step buffer has no memory");
  std::vector<int64_t> offsets;
  for (size_t i = 0; i < places.ElementLength(); i++) {
    const double at = places.Data()[i];
    if (!(at >= 0 && at < static_cast<double>(shared.ByteLength())))
      return fail(info, "createGroup: a column lies outside the step buffer");
    offsets.push_back(static_cast<int64_t>(at));
  }
  std::string error;
  const cpu::Kernels* kernels = chosen_kernels(&error);
  if (kernels == nullptr) return fail(info, error);
  std::shared_ptr<cpu::Group> group = cpu::Group::create(std::move(config), shared.Data(), offsets, kernels, usable_cores(), &error);
  if (!group) return fail(info, "createGroup: " + error);
  std::shared_ptr<GpuGroup> on_gpus = gpu.present ? GpuGroup::create(group, gpu, &error) : nullptr;
  if (gpu.present && !on_gpus) return fail(info, "createGroup: " + error);

  int handle = 0;
  {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    handle = registry().next++;
    registry().groups.emplace(handle, std::move(group));
    if (on_gpus) registry().gpu_groups.emplace(handle, std::move(on_gpus));
  }
  info.Env().GetInstanceData<AddonData>()->buffers.emplace(handle, Napi::Persistent(shared));
  return Napi::Number::New(info.Env(), handle);
}

void end_group(int handle) {
  const std::shared_ptr<cpu::Group> group = find_group(handle);
  if (!group) return;
  group->ending.store(true);
  group->meeting()->abort();
  if (const std::shared_ptr<GpuGroup> on_gpus = find_gpu_group(handle)) on_gpus->abort();
  const std::lock_guard<std::mutex> lock(registry().mutex);
  registry().groups.erase(handle);
  registry().gpu_groups.erase(handle);
}

Napi::Value destroy_group(const Napi::CallbackInfo& info) {
  const int handle = handle_of(info);
  end_group(handle);
  info.Env().GetInstanceData<AddonData>()->buffers.erase(handle);
  return info.Env().Undefined();
}

Napi::Value save_weights(const Napi::CallbackInfo& info) {
  const std::shared_ptr<cpu::Group> group = find_group(handle_of(info));
  const int rank = info[1].IsNumber() ? info[1].As<Napi::Number>().Int32Value() : -1;
  if (!group || rank < 0 || rank >= group->world_size() || !info[2].IsString())
    return fail(info, "saveWeights takes a group, a rank and a path");
  std::shared_ptr<const cpu::Weights> weights = group->keep_weights(rank);
  if (!weights) return fail(info, "saveWeights: rank " + std::to_string(rank) + " has not loaded");
  auto* save = new Save(info.Env(), group, std::move(weights), info[2].As<Napi::String>().Utf8Value());  // deletes itself
  save->Queue();
  return save->promise();
}

Napi::Value abort_group(const Napi::CallbackInfo& info) {
  const std::shared_ptr<cpu::Group> group = find_group(handle_of(info));
  if (group) group->meeting()->abort();
  if (const std::shared_ptr<GpuGroup> on_gpus = find_gpu_group(handle_of(info))) on_gpus->abort();
  return info.Env().Undefined();
}

}  // namespace lockstep::addon
