#include "addon/devices.h"

#include "addon/convert.h"
#include "cuda/cublaslt.h"
#include "cuda/discovery.h"
#include "nccl/library.h"

namespace lockstep::addon {
namespace {

template <class Item, class ToValue>
Napi::Array array_of(Napi::Env env, const std::vector<Item>& items, ToValue to_value) {
  Napi::Array out = Napi::Array::New(env, items.size());
  for (size_t i = 0; i < items.size(); i++) out.Set(static_cast<uint32_t>(i), to_value(items[i]));
  return out;
}

Napi::Array texts(Napi::Env env, const std::vector<std::string>& lines) {
  return array_of(env, lines, [env](const std::string& line) { return Napi::String::New(env, line); });
}

Napi::Object library(Napi::Env env, int version, const std::string& path, const std::vector<std::string>& refused) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("version", version == 0 ? env.Null() : Napi::Number::New(env, version));
  out.Set("path", Napi::String::New(env, path));
  out.Set("refused", texts(env, refused));
  return out;
}

Napi::Object device(Napi::Env env, const cuda::DeviceInfo& info) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("name", Napi::String::New(env, info.name));
  out.Set("busId", Napi::String::New(env, info.bus_id));
  out.Set("capability", Napi::String::New(env, std::to_string(info.major) + "." + std::to_string(info.minor)));
  out.Set("multiprocessors", Napi::Number::New(env, info.multiprocessors));
  out.Set("memoryBytes", Napi::Number::New(env, static_cast<double>(info.total_bytes)));
  return out;
}

}  // namespace

Napi::Value devices(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const cuda::Discovery found = cuda::discover(cuda::built_in_runtime(), cuda::has_driver_library());
  Napi::Object out = Napi::Object::New(env);
  out.Set("problem", found.problem.empty() ? env.Null() : Napi::String::New(env, found.problem));
  out.Set("runtimeVersion", found.runtime_version == 0 ? env.Null() : Napi::Number::New(env, found.runtime_version));
  out.Set("driverVersion", found.driver_version == 0 ? env.Null() : Napi::Number::New(env, found.driver_version));
  out.Set("devices", array_of(env, found.devices, [env](const cuda::DeviceInfo& one) { return device(env, one); }));
  out.Set("peers", array_of(env, found.peers, [env](const std::vector<bool>& row) {
            return array_of(env, row, [env](bool can) { return Napi::Boolean::New(env, can); });
          }));
  return out;
}

Napi::Value device_libraries(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Reader reader;
  const Napi::Object options = reader.object(info[0], "options");
  const std::vector<std::string> roots = read_texts(reader.get(options, "roots", "options"), "options.roots", &reader);
  const std::string nccl_path = reader.text(options, "nccl", "options");
  const std::string cublaslt_path = reader.text(options, "cublasLt", "options");
  if (!reader.ok()) {
    Napi::TypeError::New(env, "deviceLibraries: " + reader.error()).ThrowAsJavaScriptException();
    return env.Undefined();
  }
  Napi::Object out = Napi::Object::New(env);
  const nccl::Library nccl = nccl::open_nccl(nccl_path, roots);
  out.Set("nccl", library(env, nccl.version, nccl.path, nccl.refused));
  const cuda::CublasLt cublaslt = cuda::open_cublaslt(cublaslt_path, roots, cuda::cublaslt_major(cuda::built_in_runtime()));
  out.Set("cublasLt", library(env, cublaslt.version, cublaslt.path, cublaslt.refused));
  return out;
}

}  // namespace lockstep::addon
