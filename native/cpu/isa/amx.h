// AVX-512 with AMX beside it (Sapphire Rapids and later): matrix products in tiles of 16 rows by 64 bytes. Everything that is no matrix
// product is AVX-512's. A product of bf16 rounds otherwise than vdpbf16ps (two sums, of the even and of the odd k of 32, joined at the
// end), so that in this table bf16 is multiplied in tiles alone, whatever the number of rows; sums of integers are exact either way.
// A vdpbf16ps of 512 bits takes 3 cycles on these processors, a tile of 16 x 16 x 32 products 16.
#pragma once

#include "avx512.h"

#define LOCKSTEP_HAS_TILES 1

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

#if defined(LOCKSTEP_EMULATED_TILES)  // native/test/fake/tiles.h
constexpr const char* kIsaName = "amx emulated";
#else
constexpr const char* kIsaName = "amx";
#endif
constexpr int kTileSide = 16;   // rows of a tile, and 4-byte words of one
constexpr int kTileBytes = 64;  // of a row

// Shapes of the eight tile registers, as ldtilecfg reads them.
struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes[16] = {};  // of a row
  uint8_t rows[16] = {};

  void set(int tile, int num_rows, int row_bytes) {
    rows[tile] = static_cast<uint8_t>(num_rows);
    bytes[tile] = static_cast<uint16_t>(row_bytes);
  }
};

#if defined(LOCKSTEP_EMULATED_TILES)
LOCKSTEP_INLINE void configure_tiles(const TileShapes& shapes) { test::fake_tiles.configure(&shapes); }
LOCKSTEP_INLINE void release_tiles() { test::fake_tiles.release(); }
#else
// Shapes for the tiles of this thread, which become zeros. GCC's own intrinsic tells the compiler of 8 of the 64 bytes.
LOCKSTEP_INLINE void configure_tiles(const TileShapes& shapes) { asm volatile("ldtilecfg %0" : : "m"(shapes)); }
// The system saves tiles that are in use at every switch: they are let go of when they are done with.
LOCKSTEP_INLINE void release_tiles() { asm volatile("tilerelease"); }
#endif

// What was written before is there for the tiles that are loaded next: GCC's intrinsics do not say that they read memory.
LOCKSTEP_INLINE void written_for_tiles() { asm volatile("" : : : "memory"); }

// Rows of one pass where `m` rows are done in as few passes of at most `most` as there must be, all of one shape: the last one goes back
// over rows that are done, since another shape would be a configuration of its own.
LOCKSTEP_INLINE int pass_rows(int m, int most) {
  const int passes = (m + most - 1) / most;
  return (m + passes - 1) / passes;
}

}  // namespace
}  // namespace lockstep::cpu::LOCKSTEP_ISA
