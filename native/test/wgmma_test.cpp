// The emulated form of native/cuda/wgmma.cuh: that a small kernel which keeps its rules gives the product, and that each rule that one does
// not keep is found, by a launch that fails or by what it gives.
#include "cuda/wgmma.cuh"

#include "device_bench.h"
#include "fake/clean.h"

namespace lockstep::test {
namespace {

using namespace cuda;

constexpr int kSteps = 5, kStages = 2, kDepth = kSteps * kTileColumns;

enum class Fault {
  kNone,
  kBarriersNotShown,   // to copies
  kBarriersNotShared,  // no __syncthreads behind their making
  kTooFewBytes,
  kTooManyBytes,
  kFullNotAwaited,
  kFullOfOtherParity,
  kEmptyNotAwaited,
  kEmptyOfOtherParity,
  kGivenBackEarly,  // before the products that read it are waited for
  kGivenBackByOne,  // of four warps
  kNoFence,
  kNotEnded,
  kNotAwaited,
  kOtherStep,     // from eight rows to the next
  kOtherLayout,   // of the descriptor
  kOtherSwizzle,  // of the map
  kOtherAddress,  // within an atom
  kOtherColumns,  // the descriptor does not go on along k
  kRingUnaligned,
  kCount
};

struct Stage {
  uint16_t a[kProductRows * kTileColumns], b[kProductColumns * kTileColumns];
};
struct Ring {
  Stage stages[kStages];
  uint64_t full[kStages], empty[kStages];
};

struct ProductArgs {
  const uint16_t* a;  // [kProductRows, kDepth]
  const uint16_t* b;  // [kProductColumns, kDepth]
  float* d;           // [kProductRows, kProductColumns]
  Fault fault;
};
struct MappedArgs {
  TensorMap a, b;
  ProductArgs product;
};

void copy_steps(const MappedArgs& args, Ring* ring) {
  const auto has = [&](Fault fault) { return args.product.fault == fault; };
  for (int step = 0; step < kSteps; step++) {
    const int stage = step % kStages;
    const uint32_t parity = step / kStages % 2;
    if (!has(Fault::kEmptyNotAwaited)) wait_for_phase(&ring->empty[stage], parity ^ (has(Fault::kEmptyOfOtherParity) ? 0U : 1U));
    const int wrong_by = has(Fault::kTooFewBytes) ? -128 : has(Fault::kTooManyBytes) ? 128 : 0;
    arrive_expecting(&ring->full[stage], static_cast<uint32_t>(sizeof(Stage)) + wrong_by);
    begin_tile(ring->stages[stage].a, &args.a, &ring->full[stage], step * kTileColumns, 0);
    begin_tile(ring->stages[stage].b, &args.b, &ring->full[stage], step * kTileColumns, 0);
  }
}

uint64_t descriptor(Fault fault, const uint16_t* tile, int column) {
  uint64_t matrix = matrix_at(shared_address(tile) + (fault == Fault::kOtherColumns ? 0 : column * 2));
  if (fault == Fault::kOtherStep) matrix += uint64_t{1} << 32;
  if (fault == Fault::kOtherLayout) matrix ^= uint64_t{3} << 62;
  if (fault == Fault::kOtherAddress) matrix += 128 >> 4;
  return matrix;
}

void multiply_steps(const MappedArgs& args, Ring* ring) {
  const auto has = [&](Fault fault) { return args.product.fault == fault; };
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const bool tells = lane == 0 && (warp == 0 || !has(Fault::kGivenBackByOne));
  float d[kFragment] = {};
  for (int step = 0; step < kSteps; step++) {
    const int stage = step % kStages;
    const uint32_t parity = step / kStages % 2;
    if (!has(Fault::kFullNotAwaited)) wait_for_phase(&ring->full[stage], parity ^ (has(Fault::kFullOfOtherParity) ? 1U : 0U));
    if (!has(Fault::kNoFence)) begin_products(d);
    for (int column = 0; column < kTileColumns; column += kProductDepth) {
      multiply_async(d, descriptor(args.product.fault, ring->stages[stage].a, column),
                     descriptor(args.product.fault, ring->stages[stage].b, column), step + column > 0);
    }
    if (!has(Fault::kNotEnded)) end_products();
    if (tells && has(Fault::kGivenBackEarly)) arrive(&ring->empty[stage]);
    if (!has(Fault::kNotAwaited)) wait_for_products<0>(d);
    if (tells && !has(Fault::kGivenBackEarly)) arrive(&ring->empty[stage]);
  }
  for (int i = 0; i < kFragment; i++) {
    const int row = warp * 16 + lane / 4 + i % 4 / 2 * 8;
    args.product.d[row * kProductColumns + i / 4 * 8 + lane % 4 * 2 + i % 2] = d[i];
  }
}

// The ring's maker comes last, so that whoever does not wait for it is there before.
void product_kernel(MappedArgs args) {
  const Fault fault = args.product.fault;
  uint8_t* shared = dynamic_shared();
  const uint32_t to_atom = (kTileAtom - shared_address(shared) % kTileAtom) % kTileAtom;
  Ring* ring = reinterpret_cast<Ring*>(shared + to_atom - (fault == Fault::kRingUnaligned ? 128 : 0));
  if (threadIdx.x == kWarpgroup) {
    for (int i = 0; i < kStages; i++) {
      init_phases(&ring->full[i], 1);
      init_phases(&ring->empty[i], kWarpgroup / kWarp);
    }
    if (fault != Fault::kBarriersNotShown) show_to_async();
  }
  if (fault != Fault::kBarriersNotShared) __syncthreads();
  if (threadIdx.x < kWarpgroup) {
    multiply_steps(args, ring);
  } else if (threadIdx.x == kWarpgroup) {
    copy_steps(args, ring);
  }
}

Error map_of(TensorMap* map, const uint16_t* rows, int count, Fault fault) {
  if (fault != Fault::kOtherSwizzle) return map_rows(map, rows, count, kDepth, kDepth, count);
  const TensorMapShape shape = {
      rows, kMapBf16, {kDepth, static_cast<uint64_t>(count)}, kDepth * 2, {kTileColumns, static_cast<uint32_t>(count)}, 0, kMapPromote256};
  return encode_tensor_map(map, shape);
}

Error product(const ProductArgs& args, Stream stream) {
  MappedArgs mapped{{}, {}, args};
  Error error = map_of(&mapped.a, args.a, kProductRows, args.fault);
  if (error == kSuccess) error = map_of(&mapped.b, args.b, kProductColumns, args.fault);
  if (error != kSuccess) return error;
  return launch(product_kernel, {1, 1}, kWarpgroup + kWarp, mapped, stream, static_cast<int>(sizeof(Ring)) + kTileAtom);
}

void run_product(Check& check, Fault fault) {
  Bench b(check, start_fake_cuda({1, 13000, size_t{256} << 20}));
  float* a = b.rows(kProductRows, kDepth, kDepth);
  float* w = b.rows(kProductColumns, kDepth, kDepth);
  float* d = b.take<float>(kProductRows * kProductColumns);
  b.run(product, {b.halves(a, kProductRows * kDepth), b.halves(w, kProductColumns * kDepth), d, fault});
  for (int i = 0; i < kProductRows * kProductColumns; i++) {
    double want = 0;
    for (int k = 0; k < kDepth; k++) want += wide(a[i / kProductColumns * kDepth + k]) * wide(w[i % kProductColumns * kDepth + k]);
    check.near(wide(d[i]), want, 3e-7 * kDepth, "product of a warpgroup", i);
  }
}

// What cuTensorMapEncodeTiled refuses.
void maps(Check& check) {
  alignas(16) static const uint16_t rows[64] = {};
  TensorMap map;
  check.expect(map_rows(&map, rows, 8, 8, 8, 8) == kSuccess, "a map was refused");
  check.expect(map_rows(&map, rows + 1, 8, 8, 8, 8) == kInvalidValue, "an address that is no multiple of 16");
  check.expect(map_rows(&map, rows, 8, 8, 12, 8) == kInvalidValue, "a stride that is no multiple of 16");
  check.expect(map_rows(&map, rows, 0, 8, 8, 8) == kInvalidValue, "no rows");
  check.expect(map_rows(&map, rows, 8, 8, 8, 257) == kInvalidValue, "a box of more than 256 rows");
}

}  // namespace

void test_wgmma(Check& check) {
  run_product(check, Fault::kNone);
  expect_clean(check);
  maps(check);
  for (int fault = 1; fault < static_cast<int>(Fault::kCount); fault++) {
    Check found = Check::silent();
    run_product(found, static_cast<Fault>(fault));
    check.expect(found.failures > 0, "fault %d is not found", fault);
  }
}

}  // namespace lockstep::test
