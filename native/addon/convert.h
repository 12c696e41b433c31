// JavaScript values to native ones. Everything is checked here, so that a wrong value is a text and not a crash; nothing throws.
#pragma once

#include <napi.h>

#include <string>

#include "addon/gpu_group.h"
#include "cpu/group.h"

namespace lockstep::addon {

// Reads the fields of objects and remembers the first thing that is wrong, with its path.
class Reader {
 public:
  bool ok() const { return error_.empty(); }
  const std::string& error() const { return error_; }
  void fail(const std::string& path, const char* expected);

  Napi::Value get(const Napi::Object& object, const char* name, const std::string& path);
  Napi::Object object(const Napi::Value& value, const std::string& path);
  Napi::Array array(const Napi::Value& value, const std::string& path);
  double number(const Napi::Object& object, const char* name, const std::string& path);
  // An integer of [low, high].
  int64_t integer(const Napi::Object& object, const char* name, const std::string& path, int64_t low, int64_t high);
  float optional_number(const Napi::Object& object, const char* name, const std::string& path);  // null: 0
  bool boolean(const Napi::Object& object, const char* name, const std::string& path);
  std::string text(const Napi::Object& object, const char* name, const std::string& path);
  // Index of the text among `names`.
  int choice(const Napi::Object& object, const char* name, const std::string& path, const char* const* names, int count);

 private:
  std::string error_;
};

cpu::GroupConfig read_group_config(const Napi::Value& value, Reader* reader);
GpuOptions read_gpu_options(const Napi::Value& value, Reader* reader);
// Strings of an array.
std::vector<std::string> read_texts(const Napi::Value& value, const std::string& path, Reader* reader);
RankShard read_shard(const Napi::Value& value, const cpu::GroupConfig& config, Reader* reader);
WeightMap read_weights(const Napi::Value& value, Reader* reader);

}  // namespace lockstep::addon
