// AMX's tiles in plain code, for kernels that are compiled with LOCKSTEP_EMULATED_TILES: their results can be tested on processors without
// AMX. Included before all else (-include). A tile that was not configured, or with shapes that do not go together, ends the program.
// A product of bf16 sums the even and the odd k of a row apart, in float32, and adds both to the result (Intel SDM, TDPBF16PS).
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace lockstep::test {
namespace {

struct FakeTiles {
  static constexpr int kTiles = 8, kRows = 16, kRowBytes = 64;
  uint8_t bytes[kTiles][kRows][kRowBytes];
  int rows[kTiles] = {};
  int row_bytes[kTiles] = {};

  static void expect(bool ok, const char* what) {
    if (ok) return;
    std::fprintf(stderr, "fake tiles: %s\n", what);
    std::abort();
  }

  void configure(const void* shapes) {  // the 64 bytes that ldtilecfg reads
    const uint8_t* at = static_cast<const uint8_t*>(shapes);
    expect(at[0] == 1 && at[1] == 0, "a configuration of another palette");
    for (int t = 0; t < kTiles; t++) {
      uint16_t width;
      std::memcpy(&width, at + 16 + 2 * t, sizeof(width));
      row_bytes[t] = width;
      rows[t] = at[48 + t];
      expect(row_bytes[t] <= kRowBytes && row_bytes[t] % 4 == 0 && rows[t] <= kRows, "a tile larger than there are");
      expect((row_bytes[t] == 0) == (rows[t] == 0), "a tile without rows or without columns");
    }
    std::memset(bytes, 0, sizeof(bytes));
  }
  void release() { *this = FakeTiles(); }

  void zero(int t) {
    expect(rows[t] > 0, "a tile that is not configured is zeroed");
    std::memset(bytes[t], 0, sizeof(bytes[t]));
  }
  void load(int t, const void* from, size_t stride) {
    zero(t);
    for (int r = 0; r < rows[t]; r++)
      std::memcpy(bytes[t][r], static_cast<const uint8_t*>(from) + r * stride, static_cast<size_t>(row_bytes[t]));
  }
  void store(int t, void* to, size_t stride) {
    expect(rows[t] > 0, "a tile that is not configured is stored");
    for (int r = 0; r < rows[t]; r++) std::memcpy(static_cast<uint8_t*>(to) + r * stride, bytes[t][r], static_cast<size_t>(row_bytes[t]));
  }

  // Tile c += a * b, whose rows are c's rows and the groups of four bytes that they are multiplied with. dot(r, n): row r of a with column
  // n of b.
  template <class T, class Dot>
  void multiply(int c, int a, int b, Dot dot) {
    expect(rows[c] > 0 && rows[a] == rows[c] && row_bytes[b] == row_bytes[c] && row_bytes[a] == 4 * rows[b], "shapes do not go together");
    for (int r = 0; r < rows[c]; r++) {
      T sums[kRowBytes / sizeof(T)];
      std::memcpy(sums, bytes[c][r], kRowBytes);
      for (int n = 0; n < row_bytes[c] / 4; n++) sums[n] += dot(r, n);
      std::memcpy(bytes[c][r], sums, kRowBytes);
    }
  }
  void multiply_bytes(int c, int a, int b) {
    multiply<int32_t>(c, a, b, [&](int r, int n) {
      int32_t sum = 0;
      for (int k = 0; k < row_bytes[a]; k++)
        sum += static_cast<int8_t>(bytes[a][r][k]) * static_cast<int8_t>(bytes[b][k / 4][4 * n + k % 4]);
      return sum;
    });
  }
  static float bf16_at(const uint8_t* from) {
    const uint32_t bits = static_cast<uint32_t>(from[0]) << 16 | static_cast<uint32_t>(from[1]) << 24;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
  }
  void multiply_bf16(int c, int a, int b) {
    multiply<float>(c, a, b, [&](int r, int n) {
      float parts[2] = {};
      for (int k = 0; k < row_bytes[a] / 2; k++)
        parts[k % 2] += bf16_at(bytes[a][r] + 2 * k) * bf16_at(bytes[b][k / 2] + 4 * n + k % 2 * 2);
      return parts[0] + parts[1];
    });
  }
};

thread_local FakeTiles fake_tiles;

}  // namespace
}  // namespace lockstep::test

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbssd
#undef _tile_dpbf16ps
#define _tile_zero(t) ::lockstep::test::fake_tiles.zero(t)
#define _tile_loadd(t, from, stride) ::lockstep::test::fake_tiles.load(t, from, stride)
#define _tile_stored(t, to, stride) ::lockstep::test::fake_tiles.store(t, to, stride)
#define _tile_dpbssd(c, a, b) ::lockstep::test::fake_tiles.multiply_bytes(c, a, b)
#define _tile_dpbf16ps(c, a, b) ::lockstep::test::fake_tiles.multiply_bf16(c, a, b)
