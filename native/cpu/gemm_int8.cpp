// y = W x with q8_0 weights (int8, a half scale each 32 along K), as isa/gemm_groups.h says. Weights are stored as q + kByteZero, so the
// group's sum has -kByteZero * (sum of the activations' codes) added. Bound: 1.0625 bytes a weight, 2 ops a weight and row.
#include "isa/gemm_groups.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

struct Q8_0 : PlainGroups {
  static constexpr size_t kGroupBytes = kQ8Group;
  static constexpr int kOffset = kByteZero;
  static constexpr bool kHasMin = false;
  LOCKSTEP_INLINE Bytes codes(const uint8_t* group, int i, int lane) { return load_bytes(group + (i * kBlockRows + lane) * 4); }
  LOCKSTEP_INLINE Int dot(Int acc, Bytes w, Bytes a) { return dot_u8s8(acc, w, a); }
  LOCKSTEP_INLINE Float scale(const uint8_t*, const uint8_t* group, int, int lane) { return load_half(group + kQ8Bytes + lane * 2); }
  LOCKSTEP_INLINE Float least(const uint8_t*, const uint8_t*, int) { return zero(); }
};

}  // namespace

void gemm_q8_0(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  gemm_groups<Q8_0>(w, first, count, in, m, out);
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
