// A group's grammars, and one grammar without a group.
#pragma once

#include <napi.h>

#include <memory>

#include "common/grammar.h"

namespace lockstep::addon {

Napi::Value set_vocabulary(const Napi::CallbackInfo& info);
Napi::Value add_grammar(const Napi::CallbackInfo& info);
Napi::Value remove_grammar(const Napi::CallbackInfo& info);
Napi::Value create_grammar_run(const Napi::CallbackInfo& info);

// One output that follows a grammar, as a rank's row does; for tests.
class GrammarRunObject : public Napi::ObjectWrap<GrammarRunObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit GrammarRunObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value mask(const Napi::CallbackInfo& info);
  Napi::Value push(const Napi::CallbackInfo& info);
  Napi::Value is_complete(const Napi::CallbackInfo& info);
  Napi::Value is_exhausted(const Napi::CallbackInfo& info);
  Napi::Value forced(const Napi::CallbackInfo& info);
  Napi::Value reset(const Napi::CallbackInfo& info);

  std::unique_ptr<GrammarRun> run_;
  GrammarRun::Position at_ = GrammarRun::kDead;
};

}  // namespace lockstep::addon
