// The class Rank of src/addon/binding.ts around cpu::Rank.
#pragma once

#include <napi.h>

#include <memory>
#include <string>

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

  std::shared_ptr<cpu::Group> group_;
  std::unique_ptr<cpu::Rank> rank_;  // null once closed
  std::string fault_;
  cpu::PackedSource packed_;
};

// (group, rank) -> Rank
Napi::Value create_rank(const Napi::CallbackInfo& info);

}  // namespace lockstep::addon
