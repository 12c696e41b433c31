// y = W x with q4_K, q5_K or q6_K weights: super-blocks of 256 along K with half scales, whose groups of 32 (q6_K: 16) have scales of
// their own in 6 or 8 bits. The product of the two scales is exact in float32 (11 + 8 bits), so a group is one of a format with float
// scales. Bound: 0.578, 0.703 and 0.82 bytes a weight; 2 ops a weight and row.
#include "isa/gemm_groups.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

// q4_K and q5_K: weight = scale * code - minimum, the header's second halves being negative.
template <int bits>
struct WithMin {
  static constexpr int kSuperGroups = cpu::LOCKSTEP_ISA::kSuperGroups;
  static constexpr size_t kHeader = 2 * kScaleBytes;
  static constexpr size_t kGroupBytes = bits == 4 ? kQ4KGroup : kQ5KGroup;
  static constexpr size_t kScales = kQ8Bytes * bits / 8;
  static constexpr int kParts = 1;
  static constexpr int kOffset = 0;
  static constexpr bool kHasMin = true;
  LOCKSTEP_INLINE Bytes codes(const uint8_t* group, int i, int lane) {
    return bits == 4 ? nibbles_of(group, i, lane) : wide_codes_of(group, i, lane, 1);
  }
  LOCKSTEP_INLINE Int dot(Int acc, Bytes w, Bytes a) { return dot_u4s8(acc, w, a); }
  LOCKSTEP_INLINE Float scale(const uint8_t* header, const uint8_t* group, int, int lane) {
    return load_half(header + lane * 2) * load_u8(group + kScales + lane);
  }
  LOCKSTEP_INLINE Float least(const uint8_t* header, const uint8_t* group, int lane) {
    return load_half(header + kScaleBytes + lane * 2) * load_u8(group + kScales + kSmallScaleBytes + lane);
  }
};

struct SixBits {
  static constexpr int kSuperGroups = cpu::LOCKSTEP_ISA::kSuperGroups;
  static constexpr size_t kHeader = kScaleBytes;
  static constexpr size_t kGroupBytes = kQ6KGroup;
  static constexpr int kParts = 2;
  static constexpr int kOffset = 32;
  static constexpr bool kHasMin = false;
  LOCKSTEP_INLINE Bytes codes(const uint8_t* group, int i, int lane) { return wide_codes_of(group, i, lane, 2); }
  LOCKSTEP_INLINE Int dot(Int acc, Bytes w, Bytes a) { return dot_u4s8(acc, w, a); }
  LOCKSTEP_INLINE Float scale(const uint8_t* header, const uint8_t* group, int part, int lane) {
    return load_half(header + lane * 2) * load_s8(group + kQ4Bytes + 2 * kBitBytes + part * kSmallScaleBytes + lane);
  }
  LOCKSTEP_INLINE Float least(const uint8_t*, const uint8_t*, int) { return zero(); }
};

}  // namespace

void gemm_q4_k(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  gemm_groups<WithMin<4>>(w, first, count, in, m, out);
}

void gemm_q5_k(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  gemm_groups<WithMin<5>>(w, first, count, in, m, out);
}

void gemm_q6_k(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  gemm_groups<SixBits>(w, first, count, in, m, out);
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
