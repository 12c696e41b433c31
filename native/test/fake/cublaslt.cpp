// A libcublasLt for tests: the symbols that native/cuda/cublaslt.cpp uses. A product is work in its stream. It holds its callers to what
// cuBLASLt asks: layouts that agree with each other and with the memory, an algorithm of its own for this very shape, a workspace.
#include "fake/cublaslt.h"

#include <cstring>
#include <vector>

using lockstep::cuda::Stream;
using lockstep::test::FakeLt;

namespace {

constexpr int kSuccess = 0, kInvalidValue = 7, kNotSupported = 15;
constexpr int kFloat32 = 0, kBfloat16 = 14, kComputeFloat32 = 68;
constexpr int kTransposeA = 3, kEpilogue = 7, kBiasPointer = 8, kMaxWorkspace = 1;
constexpr uint64_t kMark = 0x6c74;

FakeLt& fake() {
  static FakeLt one;
  return one;
}

struct Layout {
  int type;
  uint64_t rows, cols;
  int64_t ld;
  size_t bytes() const { return (static_cast<size_t>(ld) * (cols - 1) + rows) * (type == kFloat32 ? 4 : 2); }
};

struct Desc {
  int transpose_a = 0, epilogue = 1;
  const float* bias = nullptr;
};

struct Algorithm {
  uint64_t mark, rows, cols, depth, rest[4];
};
struct Heuristic {
  Algorithm algorithm;
  size_t workspace_bytes;
  int status;
  float waves;
  int reserved[4];
};

float value_at(const void* values, int type, size_t at) {
  if (type == kFloat32) return static_cast<const float*>(values)[at];
  const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(values)[at]) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

bool agree(const Desc* desc, const Layout* a, const Layout* b, const Layout* d) {
  return desc->transpose_a == 1 && a->type == b->type && (a->type == kFloat32 || a->type == kBfloat16) && d->type == kFloat32 &&
         a->rows == b->rows && a->cols == d->rows && b->cols == d->cols && a->ld >= static_cast<int64_t>(a->rows) &&
         b->ld >= static_cast<int64_t>(b->rows) && d->ld >= static_cast<int64_t>(d->rows);
}

template <class Thing>
int destroy(Thing* thing) {
  delete thing;
  fake().alive--;
  return kSuccess;
}

}  // namespace

extern "C" {

FakeLt* fakeLt() { return &fake(); }

size_t cublasLtGetVersion() { return fake().version; }

int cublasLtCreate(void** handle) {
  if (fake().create_fails) return 1;
  *handle = new int(0);
  fake().alive++;
  return kSuccess;
}
int cublasLtDestroy(int* handle) { return destroy(handle); }

int cublasLtMatmulDescCreate(Desc** desc, int compute_type, int scale_type) {
  if (compute_type != kComputeFloat32 || scale_type != kFloat32) return kInvalidValue;
  *desc = new Desc();
  fake().alive++;
  return kSuccess;
}
int cublasLtMatmulDescDestroy(Desc* desc) { return destroy(desc); }

int cublasLtMatmulDescSetAttribute(Desc* desc, int attribute, const void* value, size_t bytes) {
  if (attribute == kTransposeA && bytes == sizeof(int))
    std::memcpy(&desc->transpose_a, value, bytes);
  else if (attribute == kEpilogue && bytes == sizeof(int))
    std::memcpy(&desc->epilogue, value, bytes);
  else if (attribute == kBiasPointer && bytes == sizeof(void*))
    std::memcpy(&desc->bias, value, bytes);
  else
    return kInvalidValue;
  return kSuccess;
}

int cublasLtMatrixLayoutCreate(Layout** layout, int type, uint64_t rows, uint64_t cols, int64_t ld) {
  *layout = new Layout{type, rows, cols, ld};
  fake().alive++;
  return kSuccess;
}
int cublasLtMatrixLayoutDestroy(Layout* layout) { return destroy(layout); }

int cublasLtMatmulPreferenceCreate(size_t** preference) {
  *preference = new size_t(0);
  fake().alive++;
  return kSuccess;
}
int cublasLtMatmulPreferenceDestroy(size_t* preference) { return destroy(preference); }
int cublasLtMatmulPreferenceSetAttribute(size_t* preference, int attribute, const void* value, size_t bytes) {
  if (attribute != kMaxWorkspace || bytes != sizeof(*preference)) return kInvalidValue;
  std::memcpy(preference, value, bytes);
  return kSuccess;
}

int cublasLtMatmulAlgoGetHeuristic(int*, Desc* desc, Layout* a, Layout* b, Layout* c, Layout* d, size_t* preference, int wanted,
                                   Heuristic* found, int* num_found) {
  fake().heuristics++;
  *num_found = 0;
  if (wanted < 1 || c != d || *preference == 0 || !agree(desc, a, b, d)) return kInvalidValue;
  if (fake().knows_nothing) return kNotSupported;
  *found = {};
  found->algorithm = {kMark, d->rows, d->cols, a->rows, {}};
  found->workspace_bytes = *preference;
  *num_found = 1;
  return kSuccess;
}

int cublasLtMatmul(int*, Desc* desc, const float* alpha, const void* a, Layout* la, const void* b, Layout* lb, const float* beta,
                   const void* c, Layout*, float* d, Layout* ld, const Algorithm* algorithm, void* workspace, size_t workspace_bytes,
                   Stream stream) {
  if (fake().matmul_fails.exchange(false)) return 13;
  const bool is_known =
      algorithm->mark == kMark && algorithm->rows == ld->rows && algorithm->cols == ld->cols && algorithm->depth == la->rows;
  if (!is_known || !agree(desc, la, lb, ld) || *alpha != 1 || *beta != 0 || c != d) return kInvalidValue;
  if (desc->epilogue != (desc->bias == nullptr ? 1 : 4)) return kInvalidValue;
  const auto can_use = [&](const void* pointer, size_t bytes) { return fake().can_use(stream, pointer, bytes); };
  if (!can_use(a, la->bytes()) || !can_use(b, lb->bytes()) || !can_use(d, ld->bytes()) || !can_use(workspace, workspace_bytes))
    return kInvalidValue;
  if (desc->bias != nullptr && !can_use(desc->bias, ld->rows * sizeof(float))) return kInvalidValue;
  const Layout x = *lb, w = *la, out = *ld;
  const float* bias = desc->bias;
  fake().products++;
  return fake().put(stream, [=] {
    for (uint64_t row = 0; row < out.cols; row++) {
      for (uint64_t n = 0; n < out.rows; n++) {
        double sum = bias == nullptr ? 0 : static_cast<double>(bias[n]);
        for (uint64_t k = 0; k < w.rows; k++)
          sum += static_cast<double>(value_at(a, w.type, n * w.ld + k)) * static_cast<double>(value_at(b, x.type, row * x.ld + k));
        d[row * out.ld + n] = static_cast<float>(sum);
      }
    }
    return lockstep::cuda::kSuccess;
  });
}

}  // extern "C"
