// Anonymous memory in huge pages. Pages come into being when first touched, so size is a bound and not a cost.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lockstep::cpu {

constexpr size_t kHugePage = size_t{2} << 20;  // reading weights from 4 KiB pages is 10 to 20 % slower (measured on Zen 4)

class Arena {
 public:
  Arena() = default;
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Reserves `bytes`, zeroed and aligned to kHugePage. False when the system refuses.
  bool reserve(size_t bytes, bool huge_pages);
  uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
  void* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
};

// Hands out parts of an arena, each on a cache line of its own. Run once with data null to learn the size.
class ArenaCursor {
 public:
  explicit ArenaCursor(uint8_t* data) : data_(data) {}
  template <typename T>
  T* take(size_t count) {
    T* at = data_ == nullptr ? nullptr : reinterpret_cast<T*>(data_ + used_);
    used_ += (count * sizeof(T) + 63) / 64 * 64;
    return at;
  }
  size_t used() const { return used_; }

 private:
  uint8_t* data_;
  size_t used_ = 0;
};

}  // namespace lockstep::cpu
