// K and V of one token and KV head into the cache; kernels.h has the layout of its tiles. Tokens of a tile may be written by different
// threads: each touches its own bytes only.
#include "families.h"
#include "isa/attention.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

void append_f32(const KvView& kv, int pos, const float* k, const float* v) {
  const size_t key = static_cast<size_t>(pos % kKeyTile);
  const size_t dims = static_cast<size_t>(kv.head_dim);
  float* k_tile = reinterpret_cast<float*>(key_tile(kv, pos)) + key;
  memcpy(value_tile(kv, pos) + key * dims * sizeof(float), v, dims * sizeof(float));
  for (size_t d = 0; d < dims; d++) k_tile[d * kKeyTile] = k[d];
}

void append_bf16(const KvView& kv, int pos, const float* k, const float* v) {
  const size_t key = static_cast<size_t>(pos % kKeyTile);
  const size_t dims = static_cast<size_t>(kv.head_dim);
  uint16_t rounded[2][kMaxHeadDim];
  for (int d = 0; d < kv.head_dim; d += kLanes) {
    const int n = kv.head_dim - d < kLanes ? kv.head_dim - d : kLanes;
    store_bf16(rounded[0] + d, load_n(k + d, n, 0.0f));
    store_bf16(rounded[1] + d, load_n(v + d, n, 0.0f));
  }
  uint16_t* k_tile = reinterpret_cast<uint16_t*>(key_tile(kv, pos)) + key * 2;
  uint16_t* v_tile = reinterpret_cast<uint16_t*>(value_tile(kv, pos)) + key / 2 * dims * 2 + key % 2;
  for (size_t d = 0; d < dims; d += 2) memcpy(k_tile + d * kKeyTile, rounded[0] + d, 2 * sizeof(uint16_t));
  for (size_t d = 0; d < dims; d++) v_tile[d * 2] = rounded[1][d];
}

// Codes round(x / scale) of 8 bits as the dot product wants them, and the scale: max|x| / 127 rounded up to bf16, so that no code is cut.
// An infinity or NaN becomes some finite value: a slot that others pass over must hold one.
uint16_t to_bytes(const float* x, int n, uint8_t* bytes) {
  Float most = zero();
  for (int d = 0; d < n; d += kLanes) most = max(abs(load_n(x + d, n - d < kLanes ? n - d : kLanes, 0.0f)), most);
  const float largest = reduce_max(most);
  uint32_t bits = bit_cast<uint32_t>((largest < 1e38f ? largest : 1e38f) * (1.0f / 127.0f));
  bits = (bits + 0xffff) & 0xffff0000u;
  const float scale = bit_cast<float>(bits);
  const Float inverse = set1(scale > 1e-37f ? 1.0f / scale : 0.0f);
  for (int d = 0; d < n; d += kLanes) {
    const Float value = load_n(x + d, n - d < kLanes ? n - d : kLanes, 0.0f) * inverse;
    const Float code = round_even(min(set1(127.0f), max(value, set1(-127.0f))));
    store_bytes(reinterpret_cast<int8_t*>(bytes) + d, to_int(code));
  }
  for (int d = 0; d < n; d++) bytes[d] = static_cast<uint8_t>(bytes[d] + kByteZero);
  return static_cast<uint16_t>(bits >> 16);
}

void append_int8(const KvView& kv, int pos, const float* k, const float* v) {
  const size_t key = static_cast<size_t>(pos % kKeyTile);
  const size_t dims = static_cast<size_t>(kv.head_dim);
  uint8_t bytes[2][kMaxHeadDim];
  uint16_t* scales = reinterpret_cast<uint16_t*>(tile_scales(kv, pos)) + key;
  scales[0] = to_bytes(k, kv.head_dim, bytes[0]);
  scales[kKeyTile] = to_bytes(v, kv.head_dim, bytes[1]);
  // Head dims past the last keep what the arena has there: the query's codes are 0.
  uint8_t* k_tile = key_tile(kv, pos) + key * 4;
  uint8_t* v_tile = value_tile(kv, pos) + key / 4 * dims * 4 + key % 4;
  for (size_t d = 0; d < dims; d++) k_tile[d / 4 * kKeyTile * 4 + d % 4] = bytes[0][d];
  for (size_t d = 0; d < dims; d++) v_tile[d * 4] = bytes[1][d];
}

}  // namespace

void kv_append(const KvView& kv, int pos, const float* k, const float* v) {
  switch (kv.type) {
    case KvType::kF32:
      return append_f32(kv, pos, k, v);
    case KvType::kBf16:
      return append_bf16(kv, pos, k, v);
    case KvType::kInt8:
      return append_int8(kv, pos, k, v);
  }
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
