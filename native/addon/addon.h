// What one thread's instance of the addon holds.
#pragma once

#include <napi.h>

#include <map>

namespace lockstep::addon {

struct AddonData {
  // A thread that ends takes the memory of its step buffers with it, so its groups end too.
  ~AddonData();

  Napi::FunctionReference rank_class;
  Napi::FunctionReference grammar_run_class;
  // Step buffers of the groups that this thread has made: kept so that their memory stays while the group lives.
  std::map<int, Napi::Reference<Napi::Uint8Array>> buffers;
};

}  // namespace lockstep::addon
