// Libraries that are opened when they are there and never linked: where they are looked for, and why one was not taken.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace lockstep {

struct LibraryQuery {
  std::vector<std::string> names;  // best first: "libnccl.so.2"
  std::string wheel;               // its folder below site-packages/nvidia: "nccl"
  std::string path;                // not "": this file and no other
  std::vector<std::string> roots;  // Python environments and the like: their lib/ and their wheels are looked at
};

struct OpenLibrary {
  void* handle = nullptr;  // null: none was taken. Never closed: such libraries leave threads behind
  std::string path;
  std::vector<std::string> refused;  // "path: why", of those that are there or were asked for by name
};

// The first that opens and for which `accept` answers "" and not a reason: the file of `path`, else what the system's loader finds, then
// the wheels and lib/ of the roots, then CUDA's own folders.
OpenLibrary open_library(const LibraryQuery& query, const std::function<std::string(void* handle)>& accept);

// Puts the symbol into *out; false: the library has none of that name.
template <class Function>
bool find_symbol(void* handle, const char* name, Function* out);

// --- the body of the template ---
void* symbol_address(void* handle, const char* name);
template <class Function>
bool find_symbol(void* handle, const char* name, Function* out) {
  *out = reinterpret_cast<Function>(symbol_address(handle, name));
  return *out != nullptr;
}

}  // namespace lockstep
