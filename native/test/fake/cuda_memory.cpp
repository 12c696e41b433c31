#include "fake/cuda_memory.h"

#include <sys/mman.h>

#include <cstring>

namespace lockstep::test {
namespace {

constexpr size_t kPage = 4096;
// Of addresses, not of memory: the upper half of four GiB, so that the low word of an address is above that of any size or stride. Whoever
// looks for pointers among the words of a struct would else take a stride and what happens to lie beside it for one.
constexpr size_t kStretch = size_t{2} << 30;
constexpr size_t kReserved = 4 * kStretch;

size_t whole_pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

}  // namespace

FakeMemory::FakeMemory(int devices, size_t bytes) {
  for (int i = 0; i <= devices; i++) {
    void* reserved = mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    const uintptr_t whole = (reinterpret_cast<uintptr_t>(reserved) + 2 * kStretch - 1) / (2 * kStretch) * (2 * kStretch);
    stretches_.push_back({reserved, reinterpret_cast<uint8_t*>(whole + kStretch), 0, 0, i == 0 ? bytes * devices : bytes});
  }
}

FakeMemory::~FakeMemory() {
  for (const Stretch& stretch : stretches_) munmap(stretch.reserved, kReserved);
}

void* FakeMemory::take(int device, size_t bytes) {
  Stretch& stretch = stretches_[device + 1];
  const size_t pages = whole_pages(bytes);
  if (stretch.used + bytes > stretch.bytes || stretch.next + pages + kPage > kStretch) return nullptr;
  uint8_t* pointer = stretch.base + stretch.next;
  stretch.next += pages + kPage;  // a page that faults lies behind each piece
  stretch.used += bytes;
  if (mprotect(pointer, pages, PROT_READ | PROT_WRITE) != 0) return nullptr;
  std::memset(pointer, 0xff, pages);
  pieces_.emplace(pointer, bytes);
  return pointer;
}

bool FakeMemory::give_back(void* pointer) {
  const auto piece = pieces_.find(static_cast<const uint8_t*>(pointer));
  if (piece == pieces_.end()) return false;
  stretches_[find(pointer).device + 1].used -= piece->second;
  madvise(pointer, whole_pages(piece->second), MADV_DONTNEED);
  mprotect(pointer, whole_pages(piece->second), PROT_NONE);
  pieces_.erase(piece);
  return true;
}

FakeMemory::Place FakeMemory::find(const void* pointer) const {
  const auto* at = static_cast<const uint8_t*>(pointer);
  for (size_t i = 0; i < stretches_.size(); i++) {
    const uint8_t* base = stretches_[i].base;
    if (at < base || at >= base + kStretch) continue;
    const auto behind = pieces_.upper_bound(at);
    size_t left = 0;
    if (behind != pieces_.begin()) {
      const auto piece = std::prev(behind);
      if (at < piece->first + piece->second) left = static_cast<size_t>(piece->first + piece->second - at);
    }
    return {true, static_cast<int>(i) - 1, left};
  }
  return {false, kHost, 0};
}

}  // namespace lockstep::test
