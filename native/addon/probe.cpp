#include "addon/probe.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "addon/convert.h"
#include "common/tensor_type.h"

namespace lockstep::addon {
namespace {

// Cores that the cgroup's quota amounts to; 0: no quota. Version 2 first, then version 1.
double cgroup_cores() {
  std::ifstream unified("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (unified >> quota >> period) return quota == "max" || period <= 0 ? 0 : std::atof(quota.c_str()) / period;
  double us = 0;
  std::ifstream quota_us("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream period_us("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (quota_us >> us && period_us >> period && us > 0 && period > 0) return us / period;
  return 0;
}

Napi::Value fail(const Napi::CallbackInfo& info, const std::string& text) {
  Napi::TypeError::New(info.Env(), text).ThrowAsJavaScriptException();
  return info.Env().Undefined();
}

}  // namespace

int usable_cores() {
  int cores = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) cores = CPU_COUNT(&set);
#endif
  const double quota = cgroup_cores();
  if (quota > 0) cores = std::min(cores, static_cast<int>(std::ceil(quota)));
  return std::max(cores, 1);
}

const cpu::Kernels* chosen_kernels(std::string* error) {
  const char* wanted = std::getenv("LOCKSTEP_ISA");
  if (wanted != nullptr && *wanted == '\0') wanted = nullptr;
  const cpu::Kernels* kernels = cpu::kernels_for(wanted);
  if (kernels == nullptr) {
    *error = std::string("LOCKSTEP_ISA=") + wanted + " cannot run here; this CPU has:";
    for (const char* const* name = cpu::available_isas(); *name != nullptr; name++) *error += std::string(" ") + *name;
  }
  return kernels;
}

Napi::Value info(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  std::string error;
  const cpu::Kernels* kernels = chosen_kernels(&error);
  if (kernels == nullptr) return fail(call, error);
  Napi::Object out = Napi::Object::New(env);
  Napi::Array available = Napi::Array::New(env);
  uint32_t count = 0;
  for (const char* const* name = cpu::available_isas(); *name != nullptr; name++) available.Set(count++, Napi::String::New(env, *name));
  out.Set("isa", Napi::String::New(env, kernels->name));
  out.Set("available", available);
  out.Set("cores", Napi::Number::New(env, usable_cores()));
#if defined(__clang__)
  out.Set("compiler", Napi::String::New(env, std::string("clang ") + __clang_version__));
#else
  out.Set("compiler", Napi::String::New(env, std::string("gcc ") + __VERSION__));
#endif
  return out;
}

Napi::Value dequantize(const Napi::CallbackInfo& info) {
  if (info.Length() != 3 || !info[0].IsString() || !info[1].IsTypedArray() || !info[2].IsNumber()) {
    return fail(info, "dequantize takes a type, its bytes and the number of values");
  }
  const std::string name = info[0].As<Napi::String>().Utf8Value();
  const char* const* type = std::find(kElementTypeNames, kElementTypeNames + kNumElementTypes, name);
  if (type == kElementTypeNames + kNumElementTypes) return fail(info, "dequantize: unknown type " + name);
  const auto bytes = info[1].As<Napi::Uint8Array>();
  const int64_t count = info[2].As<Napi::Number>().Int64Value();
  const auto element = static_cast<ElementType>(type - kElementTypeNames);
  const quant::TypeInfo& shape = type_info(element);
  if (bytes.TypedArrayType() != napi_uint8_array || count < 0 || count > INT32_MAX || count % shape.block_values != 0 ||
      static_cast<int64_t>(bytes.ByteLength()) != count / shape.block_values * shape.block_bytes) {
    return fail(info, "dequantize: " + std::to_string(count) + " values of " + name + " do not fill the bytes given");
  }
  Napi::Float32Array out = Napi::Float32Array::New(info.Env(), static_cast<size_t>(count));
  to_floats(element, bytes.Data(), static_cast<int>(count), out.Data());
  return out;
}

}  // namespace lockstep::addon
