#include "cpu/packed_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace lockstep::cpu {
namespace {

// The file: this header, a digest for each chunk, zeros up to kAlignment, the arena.
struct Header {
  char magic[8];
  uint64_t chunk_bytes;
  uint64_t arena_bytes;
  uint64_t table_digest;  // of the chunks' digests
};
constexpr char kMagic[8] = {'L', 'S', 'P', 'A', 'C', 'K', '0', '1'};
constexpr size_t kAlignment = 4096;
constexpr size_t kChunk = size_t{256} << 10;  // is still in L2 when its digest is made: memory is gone through once

struct Plan {
  explicit Plan(size_t arena_bytes) : bytes(arena_bytes), chunks((arena_bytes + kChunk - 1) / kChunk) {
    data = (sizeof(Header) + chunks * sizeof(uint64_t) + kAlignment - 1) / kAlignment * kAlignment;
  }
  size_t chunk_bytes(size_t chunk) const { return std::min(kChunk, bytes - chunk * kChunk); }
  size_t file_bytes() const { return data + bytes; }
  size_t bytes, chunks, data;  // data: offset in the file
};

struct Descriptor {
  explicit Descriptor(int fd) : fd(fd) {}
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  const int fd;
};

bool read_at(int fd, size_t offset, size_t bytes, void* out) {
  auto* to = static_cast<uint8_t*>(out);
  while (bytes > 0) {
    const ssize_t got = pread(fd, to, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got;
    offset += static_cast<size_t>(got);
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

bool write_at(int fd, size_t offset, size_t bytes, const void* from) {
  auto* at = static_cast<const uint8_t*>(from);
  while (bytes > 0) {
    const ssize_t put = pwrite(fd, at, bytes, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    at += put;
    offset += static_cast<size_t>(put);
    bytes -= static_cast<size_t>(put);
  }
  return true;
}

// [chunks] the thread that reads each.
std::vector<int> readers(const Plan& plan, const std::vector<Stretch>& stretches, int threads) {
  std::vector<int> reader(plan.chunks, 0);
  for (const Stretch& stretch : stretches) {
    for (int t = 0; t < threads; t++) {
      const size_t first = (stretch.first + stretch.bytes * t / threads + kChunk - 1) / kChunk;
      const size_t end = (stretch.first + stretch.bytes * (t + 1) / threads + kChunk - 1) / kChunk;
      for (size_t chunk = first; chunk < std::min(end, plan.chunks); chunk++) reader[chunk] = t;
    }
  }
  return reader;
}

}  // namespace

// NH of UMAC (Black et al. 1999): sums of 32 × 32-bit products of words to which a key was applied, here by exclusive or, and the key of a
// word follows from its place. Eight sums side by side, so that compilers make vector code of it: it runs faster than memory can be read.
uint64_t digest(const uint8_t* data, size_t bytes) {
  constexpr int kLanes = 8;
  constexpr uint64_t kStep = 0x9e3779b97f4a7c15U;  // 2^64 over the golden ratio: keys of neighbours have little in common
  constexpr uint64_t kMix = 0xff51afd7ed558ccdU;   // of MurmurHash3's finaliser
  uint64_t sum[kLanes];
  uint64_t key[kLanes];
  for (int i = 0; i < kLanes; i++) {
    sum[i] = 0;
    key[i] = kStep * static_cast<uint64_t>(2 * i + 1);
  }
  const size_t words = bytes / sizeof(uint64_t);
  for (size_t first = 0; first < words; first += kLanes) {
    uint64_t word[kLanes] = {};
    memcpy(word, data + first * sizeof(uint64_t), std::min<size_t>(kLanes, words - first) * sizeof(uint64_t));
    for (int i = 0; i < kLanes; i++) {
      const uint64_t keyed = word[i] ^ key[i];
      sum[i] += (keyed & 0xffffffffU) * (keyed >> 32) + word[i];
      key[i] += kStep * 2 * kLanes;
    }
  }
  uint64_t all = bytes * kMix;
  for (const uint64_t lane : sum) {
    all = (all ^ lane) * kMix;
    all ^= all >> 32;
  }
  return all;
}

bool read_packed(const std::string& path, const std::vector<Stretch>& stretches, Threads* threads, Arena* arena, std::string* reason) {
  reason->clear();
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd < 0) {
    if (errno != ENOENT) *reason = std::strerror(errno);
    return false;
  }
  const Plan plan(arena->bytes());
  struct stat info;
  if (fstat(file.fd, &info) != 0 || static_cast<size_t>(info.st_size) != plan.file_bytes()) {
    *reason = "it should have " + std::to_string(plan.file_bytes()) + " bytes";
    return false;
  }
  Header header;
  std::vector<uint64_t> digests(plan.chunks);
  const size_t table_bytes = plan.chunks * sizeof(uint64_t);
  const bool whole = read_at(file.fd, 0, sizeof(header), &header) && read_at(file.fd, sizeof(header), table_bytes, digests.data());
  if (!whole || memcmp(header.magic, kMagic, sizeof(kMagic)) != 0 || header.chunk_bytes != kChunk || header.arena_bytes != plan.bytes ||
      header.table_digest != digest(reinterpret_cast<const uint8_t*>(digests.data()), table_bytes)) {
    *reason = "its header is damaged";
    return false;
  }
  const std::vector<int> reader = readers(plan, stretches, threads->count());
  std::atomic<bool> good{true};
  threads->run_in_place(threads->count(), [&](int, int first, int count) {
    for (size_t chunk = 0; chunk < plan.chunks && good.load(std::memory_order_relaxed); chunk++) {
      if (reader[chunk] < first || reader[chunk] >= first + count) continue;
      uint8_t* to = arena->data() + chunk * kChunk;
      const size_t bytes = plan.chunk_bytes(chunk);
      if (!read_at(file.fd, plan.data + chunk * kChunk, bytes, to) || digest(to, bytes) != digests[chunk])
        good.store(false, std::memory_order_relaxed);
    }
  });
  if (good.load() && threads->status().ok()) return true;
  *reason = "its bytes are not those that were written";
  return false;
}

Status write_packed(const std::string& path, const Arena& arena, const std::atomic<bool>& stop) {
  const auto failed = [&] { return Status(Fault::kLoad, std::strerror(errno)); };
  const Descriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (file.fd < 0) return failed();
  const Plan plan(arena.bytes());
  std::vector<uint64_t> digests(plan.chunks);
  for (size_t chunk = 0; chunk < plan.chunks; chunk++) {
    if (stop.load(std::memory_order_relaxed)) return Status(Fault::kAborted, "stopped");
    const uint8_t* from = arena.data() + chunk * kChunk;
    digests[chunk] = digest(from, plan.chunk_bytes(chunk));
    if (!write_at(file.fd, plan.data + chunk * kChunk, plan.chunk_bytes(chunk), from)) return failed();
  }
  Header header;
  memcpy(header.magic, kMagic, sizeof(kMagic));
  header.chunk_bytes = kChunk;
  header.arena_bytes = plan.bytes;
  const size_t table_bytes = plan.chunks * sizeof(uint64_t);
  header.table_digest = digest(reinterpret_cast<const uint8_t*>(digests.data()), table_bytes);
  // The header comes last, and the file gets its name only after it is on the disk: a crash leaves nothing that could be taken for whole.
  if (!write_at(file.fd, sizeof(header), table_bytes, digests.data()) || !write_at(file.fd, 0, sizeof(header), &header) ||
      fsync(file.fd) != 0)
    return failed();
  return Status();
}

}  // namespace lockstep::cpu
