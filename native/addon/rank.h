// The class Rank of src/addon/binding.ts around a rank on the CPU or on a GPU.
#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "addon/gpu_group.h"
#include "cpu/rank.h"

namespace lockstep::addon {

class RankObject : public Napi::ObjectWrap<RankObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit RankObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value load(const Napi::CallbackInfo& info);
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value fault(const Napi::CallbackInfo& info);
  Napi::Value packed_use(const Napi::CallbackInfo& info);
  Napi::Value weight_bytes(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  bool is_open() const { return rank_ || gpu_; }

  std::shared_ptr<cpu::Group> group_;
  // One of them; none once closed.
  std::unique_ptr<cpu::Rank> rank_;
  std::unique_ptr<GpuSeat> gpu_;
  std::string fault_;
  cpu::PackedSource packed_;
};

// (group, rank) -> Rank
Napi::Value create_rank(const Napi::CallbackInfo& info);

}  // namespace lockstep::addon
