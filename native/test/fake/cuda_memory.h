// Memory of the fake devices: a stretch of addresses for each, of which nothing is given out twice, so that an address tells whose it is
// and a freed one stays recognisable, and faults when touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace lockstep::test {

constexpr int kHost = -1;  // pinned memory

class FakeMemory {
 public:
  // `bytes`: of each device; of pinned memory there is as much as of all devices.
  FakeMemory(int devices, size_t bytes);
  ~FakeMemory();
  // Filled with bytes of 1s: floats that are not numbers. null: no more is free.
  void* take(int device, size_t bytes);
  bool give_back(void* pointer);

  struct Place {
    bool is_ours;  // lies in one of the stretches
    int device;
    size_t left;  // bytes of its piece from there on; 0: it is not allocated, or no more
  };
  Place find(const void* pointer) const;
  size_t used(int device) const { return stretches_[device + 1].used; }
  size_t alive() const { return pieces_.size(); }

 private:
  struct Stretch {
    void* reserved;
    uint8_t* base;
    size_t next, used, bytes;
  };
  std::vector<Stretch> stretches_;           // pinned memory, then the devices
  std::map<const uint8_t*, size_t> pieces_;  // bytes by address, of what is allocated
};

}  // namespace lockstep::test
