// A rank's packed weights as a file: what a start reads instead of packing again. The file's name says what is in it (the caller makes it a
// digest of everything that decides the packed bytes); here it is only made sure that the bytes are those that were written.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "common/status.h"
#include "cpu/arena.h"
#include "cpu/threads.h"

namespace lockstep::cpu {

// A stretch of the arena; thread t of n reads bytes * t / n … bytes * (t + 1) / n of it first.
struct Stretch {
  size_t first;
  size_t bytes;
};

// Fills the arena, each thread the part that it will read: pages are touched first by their reader. False with a reason where the file is
// not what was written, "" where there is none; the arena's bytes are then of no use.
bool read_packed(const std::string& path, const std::vector<Stretch>& stretches, Threads* threads, Arena* arena, std::string* reason);

// Writes a new file and has the system put it on the disk. Returns early when *stop is set.
Status write_packed(const std::string& path, const Arena& arena, const std::atomic<bool>& stop);

// 64 bits of `bytes` bytes, a multiple of 8. Not against forgery: against bytes that a disk or a crash has changed.
uint64_t digest(const uint8_t* data, size_t bytes);

}  // namespace lockstep::cpu
