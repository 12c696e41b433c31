// y = W x with q4_0 or q4_1 weights (4 bits, a half scale each 32 along K; q4_1 a half minimum too), as isa/gemm_groups.h says. q4_0 stands
// for scale * (q - 8), so its group sum has -8 * (sum of the activations' codes) added. Bound: 0.5625 (0.625) bytes a weight, 2 ops a
// weight and row.
#include "isa/gemm_groups.h"

namespace lockstep::cpu::LOCKSTEP_ISA {
namespace {

template <bool has_min>
struct FourBits : PlainGroups {
  static constexpr size_t kGroupBytes = has_min ? kQ41Group : kQ40Group;
  static constexpr int kOffset = has_min ? 0 : 8;
  static constexpr bool kHasMin = has_min;
  LOCKSTEP_INLINE Bytes codes(const uint8_t* group, int i, int lane) { return nibbles_of(group, i, lane); }
  LOCKSTEP_INLINE Int dot(Int acc, Bytes w, Bytes a) { return dot_u4s8(acc, w, a); }
  LOCKSTEP_INLINE Float scale(const uint8_t*, const uint8_t* group, int, int lane) { return load_half(group + kQ4Bytes + lane * 2); }
  LOCKSTEP_INLINE Float least(const uint8_t*, const uint8_t* group, int lane) {
    return load_half(group + kQ4Bytes + kScaleBytes + lane * 2);
  }
};

}  // namespace

void gemm_q4_0(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  gemm_groups<FourBits<false>>(w, first, count, in, m, out);
}

void gemm_q4_1(const Packed& w, int first, int count, const Input& in, int m, const GemmOut& out) {
  gemm_groups<FourBits<true>>(w, first, count, in, m, out);
}

}  // namespace lockstep::cpu::LOCKSTEP_ISA
