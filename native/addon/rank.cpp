#include "addon/rank.h"

#include "addon/addon.h"
#include "addon/convert.h"
#include "addon/group.h"

namespace lockstep::addon {

Napi::Function RankObject::define(Napi::Env env) {
  return DefineClass(env, "Rank",
                     {InstanceMethod<&RankObject::load>("load"), InstanceMethod<&RankObject::step>("step"),
                      InstanceMethod<&RankObject::fault>("fault"), InstanceMethod<&RankObject::weight_bytes>("weightBytes"),
                      InstanceMethod<&RankObject::packed_use>("packedUse"), InstanceMethod<&RankObject::close>("close")});
}

RankObject::RankObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<RankObject>(info) {
  const int handle = info[0].IsNumber() ? info[0].As<Napi::Number>().Int32Value() : 0;
  const int rank = info[1].IsNumber() ? info[1].As<Napi::Number>().Int32Value() : -1;
  group_ = find_group(handle);
  if (!group_) {
    Napi::TypeError::New(info.Env(), "createRank: there is no group " + std::to_string(handle)).ThrowAsJavaScriptException();
    return;
  }
  if (rank < 0 || rank >= group_->world_size()) {
    Napi::TypeError::New(info.Env(), "createRank: rank " + std::to_string(rank) + " of " + std::to_string(group_->world_size()))
        .ThrowAsJavaScriptException();
    return;
  }
  if (std::shared_ptr<GpuGroup> on_gpus = find_gpu_group(handle)) {
    gpu_ = std::make_unique<GpuSeat>(std::move(on_gpus), rank);
  } else {
    rank_ = std::make_unique<cpu::Rank>(group_, rank);
  }
}

Napi::Value RankObject::load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!is_open()) return Napi::String::New(env, "the rank is closed");
  if (info.Length() < 2) return Napi::String::New(env, "load takes a shard, a weight map and perhaps a path");
  Reader reader;
  const RankShard shard = read_shard(info[0], group_->config(), &reader);
  const WeightMap weights = read_weights(info[1], &reader);
  if (!reader.ok()) return Napi::String::New(env, reader.error());
  if (weights.generated && !gpu_) return Napi::String::New(env, "weights that are in no file are a GPU's alone");
  packed_.path = info[2].IsString() ? info[2].As<Napi::String>().Utf8Value() : "";
  const Status status = gpu_ ? gpu_->rank.load(shard, weights) : rank_->load(shard, weights, &packed_);
  if (status.ok()) return env.Null();
  fault_ = status.text();
  return Napi::String::New(env, fault_);
}

Napi::Value RankObject::step(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!is_open() || !info[0].IsNumber()) {
    fault_ = is_open() ? "step takes an epoch" : "the rank is closed";
    return Napi::Number::New(env, static_cast<int>(Fault::kNotLoaded));
  }
  const int epoch = info[0].As<Napi::Number>().Int32Value();
  const Status status = gpu_ ? gpu_->rank.step(epoch) : rank_->step(epoch);
  if (!status.ok()) fault_ = status.text();
  return Napi::Number::New(env, static_cast<int>(status.fault()));
}

Napi::Value RankObject::fault(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), fault_); }

Napi::Value RankObject::packed_use(const Napi::CallbackInfo& info) {
  Napi::Object use = Napi::Object::New(info.Env());
  use.Set("used", Napi::Boolean::New(info.Env(), packed_.used));
  use.Set("problem", packed_.problem.empty() ? info.Env().Null() : Napi::String::New(info.Env(), packed_.problem));
  return use;
}

Napi::Value RankObject::weight_bytes(const Napi::CallbackInfo& info) {
  const size_t bytes = gpu_ ? gpu_->rank.weight_bytes() : rank_ ? rank_->weight_bytes() : 0;
  return Napi::Number::New(info.Env(), static_cast<double>(bytes));
}

Napi::Value RankObject::close(const Napi::CallbackInfo& info) {
  rank_.reset();
  gpu_.reset();
  group_.reset();
  return info.Env().Undefined();
}

Napi::Value create_rank(const Napi::CallbackInfo& info) {
  return info.Env().GetInstanceData<AddonData>()->rank_class.New({info[0], info[1]});
}

}  // namespace lockstep::addon
