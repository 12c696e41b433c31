#include "cpu/arena.h"

#include <sys/mman.h>

namespace lockstep::cpu {

Arena::~Arena() {
  if (mapping_ != nullptr) munmap(mapping_, mapping_bytes_);
}

bool Arena::reserve(size_t bytes, bool huge_pages) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#ifdef MAP_NORESERVE
  flags |= MAP_NORESERVE;
#endif
  const size_t mapping_bytes = bytes + kHugePage;
  void* mapping = mmap(nullptr, mapping_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (mapping == MAP_FAILED) return false;
  mapping_ = mapping;
  mapping_bytes_ = mapping_bytes;
  const uintptr_t aligned = (reinterpret_cast<uintptr_t>(mapping) + kHugePage - 1) / kHugePage * kHugePage;
  data_ = reinterpret_cast<uint8_t*>(aligned);
  bytes_ = bytes;
#ifdef MADV_HUGEPAGE
  // Only a wish: where it is refused, everything works with small pages.
  if (huge_pages) madvise(data_, (bytes + kHugePage - 1) / kHugePage * kHugePage, MADV_HUGEPAGE);
#else
  (void)huge_pages;
#endif
  return true;
}

}  // namespace lockstep::cpu
