// Float weights into GGUF blocks of q8_0, q4_0 and q4_1 (pack.cpp packs those). Runs at load: plain loops over sixteen rows at once, a row
// a lane, so that no sum crosses lanes: the same bytes from every instruction set, on any number of threads.
//
// q8_0: nearest codes. The 4-bit types look for the scale (and minimum) that leave the least squared error: codes for a dozen scales
// around the one that spans the group, each followed by the least-squares fit to its codes.
#include <cstring>

#include "families.h"
#include "isa/layout.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

constexpr int kRows = 16;
constexpr float kFewest = 1e-30F;  // a group that spans less is constant

struct Lanes {
  float v[kRows];
};
using Tile = Lanes[kGroup];  // [k] of the group, [lane] a row

float nearest(float x) { return (x + 12582912.0F) - 12582912.0F; }  // ties to even; |x| < 2^22
float clamped(float x, float low, float high) {
  const float up = x > low ? x : low;  // NaN: low
  return up < high ? up : high;
}

// As quant::float_to_half, which may not be shared between instruction sets.
uint16_t to_half(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  bits &= 0x7fffffffU;
  if (bits > 0x7f800000U) return static_cast<uint16_t>(sign | 0x7e00);
  if (bits >= 0x477ff000U) return static_cast<uint16_t>(sign | 0x7c00);
  if (bits < 0x38800000U) {
    float shifted;
    memcpy(&shifted, &bits, sizeof(shifted));
    shifted += 0.5F;
    memcpy(&bits, &shifted, sizeof(bits));
    return static_cast<uint16_t>(sign | (bits - 0x3f000000U));
  }
  return static_cast<uint16_t>(sign | (bits - 0x38000000U + 0xfff + (bits >> 13 & 1)) >> 13);
}
float from_half(uint16_t h) {
  uint32_t bits = static_cast<uint32_t>(h & 0x7fff) << 13;
  float magnitude;
  memcpy(&magnitude, &bits, sizeof(magnitude));
  magnitude *= 0x1p112F;
  return (h & 0x8000) != 0 ? -magnitude : magnitude;
}

// Of each lane's group: w = scale * (code - centre), and q4_1 adds the mean of the weights.
struct Grid {
  Lanes scale, centre;
};

void largest(const Tile& x, Lanes* out) {
  *out = Lanes{};
  for (int k = 0; k < kGroup; k++) {
    for (int l = 0; l < kRows; l++) {
      const float a = x[k].v[l] < 0 ? -x[k].v[l] : x[k].v[l];
      out->v[l] = a > out->v[l] ? a : out->v[l];
    }
  }
}

// Codes low … high of x * inverse + shift, and the sums that a fit needs.
struct Sums {
  Lanes q, qq, xq;
};
void sum_codes(const Tile& x, const Lanes& inverse, const Lanes& shift, float low, float high, Sums* out) {
  *out = Sums{};
  for (int k = 0; k < kGroup; k++) {
    for (int l = 0; l < kRows; l++) {
      const float q = nearest(clamped(x[k].v[l] * inverse.v[l] + shift.v[l], low, high));
      out->q.v[l] += q;
      out->qq.v[l] += q * q;
      out->xq.v[l] += x[k].v[l] * q;
    }
  }
}

// q4_0: scale * code, codes -8 … 7. The scale that fits codes q best is sum(xq) / sum(qq), and leaves sum(xx) - sum(xq)^2 / sum(qq).
// The end with one code more may hold either sign, so scales of both signs are tried.
void fit_symmetric(const Tile& x, Grid* grid) {
  constexpr float kSpans[] = {6.4F, 6.8F, 7.2F, 7.6F, 8.0F, 8.4F, 8.8F};  // codes that the largest value is away from 0
  Lanes most;
  largest(x, &most);
  Lanes best{};
  const Lanes none{};
  *grid = Grid{};
  for (int sign = -1; sign <= 1; sign += 2) {
    for (const float span : kSpans) {
      Lanes inverse;
      for (int l = 0; l < kRows; l++) inverse.v[l] = most.v[l] > kFewest ? static_cast<float>(sign) * span / most.v[l] : 0;
      Sums sums;
      sum_codes(x, inverse, none, -8, 7, &sums);
      for (int l = 0; l < kRows; l++) {
        const float scale = sums.xq.v[l] / (sums.qq.v[l] > 0 ? sums.qq.v[l] : 1);
        const float gain = scale * sums.xq.v[l];
        const bool better = gain > best.v[l];
        best.v[l] = better ? gain : best.v[l];
        grid->scale.v[l] = better ? scale : grid->scale.v[l];
      }
    }
  }
}

// q4_1: scale * code + least, codes 0 … 15. x has its mean taken off, so that the best scale for codes q is sum(xq) / (sum(qq) - sum(q)^2 /
// n) and leaves sum(xx) - scale * sum(xq).
void fit_affine(const Tile& x, Grid* grid) {
  constexpr float kSpans[] = {12.8F, 13.2F, 13.6F, 14.0F, 14.4F, 14.8F, 15.0F, 15.2F, 15.6F, 16.0F, 16.4F};
  constexpr int kRefits = 2;
  Lanes low = x[0];
  Lanes high = x[0];
  for (int k = 1; k < kGroup; k++) {
    for (int l = 0; l < kRows; l++) {
      low.v[l] = x[k].v[l] < low.v[l] ? x[k].v[l] : low.v[l];
      high.v[l] = x[k].v[l] > high.v[l] ? x[k].v[l] : high.v[l];
    }
  }
  Lanes best{};
  *grid = Grid{};
  constexpr int kTrials = static_cast<int>(sizeof(kSpans) / sizeof(kSpans[0]));
  for (int trial = 0; trial < kTrials + kRefits; trial++) {
    Lanes inverse;
    Lanes shift;
    for (int l = 0; l < kRows; l++) {
      const float range = high.v[l] - low.v[l];
      const float scale = grid->scale.v[l];
      inverse.v[l] = trial < kTrials ? (range > kFewest ? kSpans[trial] / range : 0) : scale > 0 ? 1 / scale : 0;
      shift.v[l] = trial < kTrials ? -low.v[l] * inverse.v[l] : grid->centre.v[l];
    }
    Sums sums;
    sum_codes(x, inverse, shift, 0, 15, &sums);
    for (int l = 0; l < kRows; l++) {
      const float spread = sums.qq.v[l] - sums.q.v[l] * sums.q.v[l] * (1.0F / kGroup);
      const float scale = spread > 0 ? sums.xq.v[l] / spread : 0;
      const float gain = scale * sums.xq.v[l];
      const bool better = gain > best.v[l];
      best.v[l] = better ? gain : best.v[l];
      grid->scale.v[l] = better ? scale : grid->scale.v[l];
      grid->centre.v[l] = better ? sums.q.v[l] * (1.0F / kGroup) : grid->centre.v[l];
    }
  }
}

// The nearest codes, from `low` on, once scale and minimum are the halves that will be multiplied with.
void choose_codes(const Tile& x, const Lanes& scale, const Lanes& least, float low, float high, uint8_t (*codes)[kRows]) {
  Lanes inverse;
  for (int l = 0; l < kRows; l++) inverse.v[l] = scale.v[l] != 0 ? 1 / scale.v[l] : 0;
  for (int k = 0; k < kGroup; k++) {
    for (int l = 0; l < kRows; l++) {
      const float q = nearest(clamped((x[k].v[l] - least.v[l]) * inverse.v[l], low, high));
      codes[k][l] = static_cast<uint8_t>(static_cast<int>(q - low));
    }
  }
}

struct Shape {
  size_t head;  // bytes of scale and minimum
  size_t bytes;
  float low, high;
};
Shape shape_of(Format format) {
  if (format == Format::kQ8_0) return {2, 34, -127, 127};
  if (format == Format::kQ4_0) return {2, 18, -8, 7};
  return {4, 20, 0, 15};
}

void quantize_group(Format format, const Shape& shape, const Tile& values, int rows, uint8_t* const* blocks, size_t at) {
  Tile x;
  Lanes mean{};
  const bool affine = format == Format::kQ4_1;
  if (affine) {
    for (int k = 0; k < kGroup; k++) {
      for (int l = 0; l < kRows; l++) mean.v[l] += values[k].v[l];
    }
    for (int l = 0; l < kRows; l++) mean.v[l] *= 1.0F / kGroup;
  }
  for (int k = 0; k < kGroup; k++) {
    for (int l = 0; l < kRows; l++) x[k].v[l] = values[k].v[l] - mean.v[l];
  }
  Grid grid{};
  if (format == Format::kQ8_0) {
    largest(x, &grid.scale);
    for (int l = 0; l < kRows; l++) grid.scale.v[l] *= 1.0F / 127;
  } else {
    affine ? fit_affine(x, &grid) : fit_symmetric(x, &grid);
  }
  uint16_t halves[2][kRows];
  Lanes least{};
  for (int l = 0; l < kRows; l++) {
    halves[0][l] = to_half(grid.scale.v[l]);
    grid.scale.v[l] = from_half(halves[0][l]);
    // The minimum makes up for the scale's rounding in the middle of the codes.
    halves[1][l] = to_half(mean.v[l] - grid.scale.v[l] * grid.centre.v[l]);
    if (affine) least.v[l] = from_half(halves[1][l]);
  }
  uint8_t codes[kGroup][kRows];
  choose_codes(values, grid.scale, least, shape.low, shape.high, codes);
  for (int r = 0; r < rows; r++) {
    uint8_t* block = blocks[r] + at;
    memcpy(block, &halves[0][r], 2);
    if (affine) memcpy(block + 2, &halves[1][r], 2);
    if (format == Format::kQ8_0) {
      for (int k = 0; k < kGroup; k++) block[shape.head + k] = static_cast<uint8_t>(codes[k][r] - 127);
    } else {
      for (int k = 0; k < kGroup / 2; k++) block[shape.head + k] = static_cast<uint8_t>(codes[k][r] | codes[k + kGroup / 2][r] << 4);
    }
  }
}

}  // namespace

void quantize_blocks(Format format, const float* const* rows, int num_rows, int cols, uint8_t* const* blocks) {
  const Shape shape = shape_of(format);
  for (int first = 0; first < num_rows; first += kRows) {
    const int count = num_rows - first < kRows ? num_rows - first : kRows;
    for (int g = 0; g < cols / kGroup; g++) {
      Tile values = {};
      for (int l = 0; l < count; l++) {
        for (int k = 0; k < kGroup; k++) values[k].v[l] = rows[first + l][g * kGroup + k];
      }
      quantize_group(format, shape, values, count, blocks + first, g * shape.bytes);
    }
  }
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
