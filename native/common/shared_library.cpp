#include "common/shared_library.h"

#include <dlfcn.h>
#include <glob.h>
#include <link.h>

namespace lockstep {
namespace {

std::vector<std::string> matches(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> paths;
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0) paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  return paths;
}

// Patterns of files, in the order in which they are tried. A name without a slash is the loader's to find.
std::vector<std::string> places_of(const LibraryQuery& query) {
  std::vector<std::string> folders;
  for (const std::string& root : query.roots) {
    folders.push_back(root + "/lib/python3*/site-packages/nvidia/" + query.wheel + "/lib/");
    folders.push_back(root + "/lib/");
  }
  folders.push_back("/usr/local/cuda/lib64/");
  folders.push_back("/usr/local/cuda/targets/*-linux/lib/");
  std::vector<std::string> places = query.names;
  for (const std::string& folder : folders) {
    for (const std::string& name : query.names) {
      for (std::string& path : matches(folder + name)) places.push_back(std::move(path));
    }
  }
  return places;
}

std::string path_of(void* handle, const std::string& asked) {
  const link_map* map = nullptr;
  const bool known = dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr && map->l_name[0] != '\0';
  return known ? map->l_name : asked;
}

}  // namespace

void* symbol_address(void* handle, const char* name) { return dlsym(handle, name); }

OpenLibrary open_library(const LibraryQuery& query, const std::function<std::string(void* handle)>& accept) {
  OpenLibrary library;
  const std::vector<std::string> places = query.path.empty() ? places_of(query) : std::vector<std::string>{query.path};
  for (const std::string& place : places) {
    void* handle = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* reason = dlerror();
      const bool is_file = place.find('/') != std::string::npos;  // a bare name that the loader does not find is no news
      if (is_file) library.refused.push_back(reason != nullptr ? reason : place + ": cannot be opened");
      continue;
    }
    const std::string path = path_of(handle, place);
    const std::string reason = accept(handle);
    if (reason.empty()) {
      library.handle = handle;
      library.path = path;
      return library;
    }
    library.refused.push_back(path + ": " + reason);
    dlclose(handle);
  }
  return library;
}

}  // namespace lockstep
