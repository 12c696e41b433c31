// What the addon exports; src/addon/binding.ts has the types. Loaded once for each thread of the process: what belongs to a thread is in
// AddonData, what belongs to the process (the groups) in group.cpp.
#include "addon/addon.h"

#include "addon/devices.h"
#include "addon/grammar.h"
#include "addon/group.h"
#include "addon/measure.h"
#include "addon/probe.h"
#include "addon/process.h"
#include "addon/rank.h"

namespace lockstep::addon {

AddonData::~AddonData() {
  for (const auto& [handle, buffer] : buffers) end_group(handle);
}

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  auto* data = new AddonData();
  data->rank_class = Napi::Persistent(RankObject::define(env));
  data->grammar_run_class = Napi::Persistent(GrammarRunObject::define(env));
  env.SetInstanceData(data);
  exports.Set("info", Napi::Function::New(env, info));
  exports.Set("devices", Napi::Function::New(env, devices));
  exports.Set("deviceLibraries", Napi::Function::New(env, device_libraries));
  exports.Set("measureGpu", Napi::Function::New(env, measure_gpu));
  exports.Set("exitNow", Napi::Function::New(env, exit_now));
  exports.Set("dequantize", Napi::Function::New(env, dequantize));
  exports.Set("duplicateDescriptor", Napi::Function::New(env, duplicate_descriptor));
  exports.Set("createGroup", Napi::Function::New(env, create_group));
  exports.Set("destroyGroup", Napi::Function::New(env, destroy_group));
  exports.Set("abortGroup", Napi::Function::New(env, abort_group));
  exports.Set("saveWeights", Napi::Function::New(env, save_weights));
  exports.Set("setVocabulary", Napi::Function::New(env, set_vocabulary));
  exports.Set("addGrammar", Napi::Function::New(env, add_grammar));
  exports.Set("removeGrammar", Napi::Function::New(env, remove_grammar));
  exports.Set("createGrammarRun", Napi::Function::New(env, create_grammar_run));
  exports.Set("createRank", Napi::Function::New(env, create_rank));
  return exports;
}

}  // namespace

NODE_API_MODULE(lockstep_native, init)

}  // namespace lockstep::addon
