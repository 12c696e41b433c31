// y = W x with q5_0, q5_1 or iq4_nl weights: groups of 32 along K with a half scale, q5_1 with a half minimum too, as isa/gemm_groups.h
// says. q5_0 stands for scale * (code - 16); a code of iq4_nl is an index of a table of int8 values. Bound: 0.6875, 0.75 and 0.5625 bytes
// a weight, 2 ops a weight and row.
#include "isa/gemm_groups.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

template <bool has_min>
struct FiveBits : PlainGroups {
  static constexpr size_t kGroupBytes = has_min ? kQ51Group : kQ50Group;
  static constexpr int kOffset = has_min ? 0 : 16;
  static constexpr bool kHasMin = has_min;
  LOCKSTEP_INLINE Bytes codes(const uint8_t* group, int i, int lane) { return wide_codes_of(group, i, lane, 1); }
  LOCKSTEP_INLINE Int dot(Int acc, Bytes w, Bytes a) { return dot_u4s8(acc, w, a); }
  LOCKSTEP_INLINE Float scale(const uint8_t*, const uint8_t* group, int, int lane) {
    return load_half(group + kQ4Bytes + kBitBytes + lane * 2);
  }
  LOCKSTEP_INLINE Float least(const uint8_t*, const uint8_t* group, int lane) {
    return load_half(group + kQ4Bytes + kBitBytes + kScaleBytes + lane * 2);
  }
};

struct Table : PlainGroups {
  static constexpr size_t kGroupBytes = kQ40Group;
  static constexpr int kOffset = kByteZero;
  static constexpr bool kHasMin = false;
  LOCKSTEP_INLINE Bytes codes(const uint8_t* group, int i, int lane) { return lookup(kIq4Values, nibbles_of(group, i, lane)); }
  LOCKSTEP_INLINE Int dot(Int acc, Bytes w, Bytes a) { return dot_u8s8(acc, w, a); }
  LOCKSTEP_INLINE Float scale(const uint8_t*, const uint8_t* group, int, int lane) { return load_half(group + kQ4Bytes + lane * 2); }
  LOCKSTEP_INLINE Float least(const uint8_t*, const uint8_t*, int) { return zero(); }
};

}  // namespace

void gemm_q5_0(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  gemm_groups<FiveBits<false>>(w, first, count, in, m, out);
}

void gemm_q5_1(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  gemm_groups<FiveBits<true>>(w, first, count, in, m, out);
}

void gemm_iq4_nl(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  gemm_groups<Table>(w, first, count, in, m, out);
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
