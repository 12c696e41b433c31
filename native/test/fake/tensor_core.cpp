#include <array>
#include <deque>
#include <vector>

#include "fake/emulate.h"

namespace lockstep::test {
namespace {

using cuda::kWarp;

struct Multiply {
  float* d;
  const uint32_t* a;
  uint32_t b[2];
};
struct Load {
  uint32_t* words;
  const uint16_t* row;
};
struct Copy {
  uint8_t* to;
  std::array<uint8_t, 16> bytes;
};

float half_of(uint32_t word, int half) { return __uint_as_float(half == 0 ? word << 16 : word & 0xffff0000U); }

void multiply(void* const* lanes) {
  const auto lane = [lanes](int i) { return static_cast<const Multiply*>(lanes[i]); };
  float a[16][16], b[16][8], d[16][8];
  for (int l = 0; l < kWarp; l++) {
    for (int half = 0; half < 2; half++) {
      const int k = 2 * (l % 4) + half;
      for (int w = 0; w < 4; w++) a[l / 4 + w % 2 * 8][k + w / 2 * 8] = half_of(lane(l)->a[w], half);
      for (int w = 0; w < 2; w++) b[k + w * 8][l / 4] = half_of(lane(l)->b[w], half);
    }
    for (int i = 0; i < 4; i++) d[l / 4 + i / 2 * 8][2 * (l % 4) + i % 2] = lane(l)->d[i];
  }
  for (int row = 0; row < 16; row++) {
    for (int k = 0; k < 16; k++) {
      for (int column = 0; column < 8; column++) d[row][column] += a[row][k] * b[k][column];
    }
  }
  for (int l = 0; l < kWarp; l++) {
    for (int i = 0; i < 4; i++) lane(l)->d[i] = d[l / 4 + i / 2 * 8][2 * (l % 4) + i % 2];
  }
}

template <bool transposed>
void load(void* const* lanes) {
  for (int l = 0; l < kWarp; l++) {
    uint32_t* words = static_cast<const Load*>(lanes[l])->words;
    for (int m = 0; m < 4; m++) {
      words[m] = 0;
      for (int half = 0; half < 2; half++) {
        const int row = transposed ? 2 * (l % 4) + half : l / 4;
        const int column = transposed ? l / 4 : 2 * (l % 4) + half;
        words[m] |= static_cast<uint32_t>(static_cast<const Load*>(lanes[8 * m + row])->row[column]) << 16 * half;
      }
    }
  }
}

using Groups = std::deque<std::vector<Copy>>;

// Of the block that runs, by thread: copies that are begun, the last group not ended.
std::vector<Groups>& copies() {
  static thread_local std::vector<Groups> all;
  return all;
}

Groups& my_copies() {
  std::vector<Groups>& all = copies();
  if (all.empty()) all.resize(lane_now.block_dim.x);
  Groups& mine = all[lane_now.thread.x];
  if (mine.empty()) mine.emplace_back();
  return mine;
}

}  // namespace

void multiply_in_warp(float* d, const uint32_t* a, uint32_t b0, uint32_t b1) {
  Multiply mine = {d, a, {b0, b1}};
  do_in_warp(&mine, multiply);
}

void load_in_warp(uint32_t* words, const void* row, bool transposed) {
  Load mine = {words, static_cast<const uint16_t*>(row)};
  do_in_warp(&mine, transposed ? load<true> : load<false>);
}

void put_copy(void* to, const void* from, bool present) {
  Copy copy{static_cast<uint8_t*>(to), {}};
  if (present) std::memcpy(copy.bytes.data(), from, copy.bytes.size());
  my_copies().back().push_back(copy);
}

void end_copy_group() { my_copies().emplace_back(); }

void finish_copies(int pending) {
  Groups& groups = my_copies();
  while (static_cast<int>(groups.size()) > pending + 1) {
    for (const Copy& copy : groups.front()) std::copy(copy.bytes.begin(), copy.bytes.end(), copy.to);
    groups.pop_front();
  }
}

void forget_copies() { copies().clear(); }

}  // namespace lockstep::test
