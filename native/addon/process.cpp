#include "addon/process.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace lockstep::addon {

Napi::Value duplicate_descriptor(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int descriptor = info.Length() == 1 && info[0].IsNumber() ? info[0].As<Napi::Number>().Int32Value() : -1;
  const int copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) {
    Napi::Error::New(env, std::string("the descriptor cannot be duplicated: ") + std::strerror(errno)).ThrowAsJavaScriptException();
    return env.Undefined();
  }
  return Napi::Number::New(env, copy);
}

Napi::Value exit_now(const Napi::CallbackInfo& info) {
  _exit(info.Length() == 1 && info[0].IsNumber() ? info[0].As<Napi::Number>().Int32Value() : 1);
}

}  // namespace lockstep::addon
