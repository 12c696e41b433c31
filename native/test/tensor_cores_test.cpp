// The emulated form of native/cuda/mma.cuh: where a lane holds what, and that a copy is there only when it was waited for. The kernels here
// are compiled as those of native/cuda are.
#include "cuda/mma.cuh"
#include "device_bench.h"
#include "fake/clean.h"

namespace lockstep::test {
namespace {

using namespace cuda;

struct ProductArgs {
  const uint16_t* a;  // [16, 16]
  const uint16_t* b;  // [16, 8], or where it is transposed [8, 16]
  float* d;           // [16, 8]
  bool transposed;
};

// d += a b, by way of shared memory.
void product_kernel(ProductArgs args) {
  uint16_t* a = reinterpret_cast<uint16_t*>(dynamic_shared());
  uint16_t* b = a + 256;
  const int lane = threadIdx.x;
  begin_copy(a + lane * 8, args.a + lane * 8, true);
  if (lane < 16) begin_copy(b + lane * 8, args.b + lane * 8, true);
  end_copies();
  wait_for_copies<0>();
  __syncthreads();
  uint32_t x[4], y[4];
  load_matrices(x, a + lane % 16 * 16 + lane / 16 * 8);
  if (args.transposed) {
    load_matrices(y, b + lane % 8 * 16 + lane / 8 % 2 * 8);
  } else {
    load_matrices_transposed(y, b + lane % 16 * 8);
  }
  const int row = lane / 4, column = lane % 4 * 2;
  float* to[2] = {args.d + row * 8 + column, args.d + (row + 8) * 8 + column};
  float d[4] = {to[0][0], to[0][1], to[1][0], to[1][1]};
  multiply_add(d, x, y[0], y[1]);
  for (int i = 0; i < 4; i++) to[i / 2][i % 2] = d[i];
}
Error product(const ProductArgs& args, Stream stream) { return launch(product_kernel, {1, 1}, kWarp, args, stream, 768); }

struct CopyArgs {
  const uint8_t* from;
  uint8_t* to;  // [3, 16]
};

// Of two groups the first is waited for; then what is there is written out.
void copy_kernel(CopyArgs args) {
  uint8_t* shared = dynamic_shared();
  if (threadIdx.x != 0) return;
  begin_copy(shared, args.from, true);
  begin_copy(shared + 16, args.from, false);
  end_copies();
  begin_copy(shared + 32, args.from, true);
  end_copies();
  wait_for_copies<1>();
  for (int i = 0; i < 48; i++) args.to[i] = shared[i];
}
Error copy_two_groups(const CopyArgs& args, Stream stream) { return launch(copy_kernel, {1, 1}, kWarp, args, stream, 48); }

void products(Bench& b) {
  float* a = b.rows(16, 16, 16);
  float* x = b.rows(16, 8, 8);
  const uint16_t* a_half = b.halves(a, 256);
  const uint16_t* x_half = b.halves(x, 128);
  std::vector<uint16_t> turned(128);
  for (int k = 0; k < 16; k++) {
    for (int n = 0; n < 8; n++) turned[n * 16 + k] = x_half[k * 8 + n];
  }
  for (const bool transposed : {false, true}) {
    float* d = b.rows(16, 8, 8);
    const std::vector<float> before(d, d + 128);
    b.run(product, {a_half, transposed ? b.values(turned) : x_half, d, transposed});
    for (int i = 0; i < 128; i++) {
      double want = wide(before[i]);
      for (int k = 0; k < 16; k++) want += wide(a[i / 8 * 16 + k]) * wide(x[k * 8 + i % 8]);
      b.check.near(wide(d[i]), want, 1e-5, "product", i);
    }
  }
}

void copies(Bench& b) {
  uint8_t* to = b.take<uint8_t>(48);
  b.run(copy_two_groups, {b.values(std::vector<uint8_t>(16, 7)), to});
  for (int i = 0; i < 48; i++) b.check.expect(to[i] == (i < 16 ? 7 : i < 32 ? 0 : 255), "byte %d of the copies is %d", i, to[i]);
}

}  // namespace

void test_tensor_cores(Check& check) {
  {
    Bench b(check, start_fake_cuda({1, 13000, size_t{256} << 20}));
    products(b);
    copies(b);
    check.expect(launch(copy_kernel, {1, 1}, kWarp, {}, b.stream.get(), kMaxSharedOf90 + 1) == kInvalidValue, "too much shared memory");
  }
  expect_clean(check);
}

}  // namespace lockstep::test
