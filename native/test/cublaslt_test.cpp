// native/cuda/cublaslt over the fake libcublasLt: which library is taken, products against our own kernel's, and what becomes of failures.
#include "cuda/cublaslt.h"

#include "check.h"
#include "fake/clean.h"
#include "fake/cublaslt.h"

namespace lockstep::test {
namespace {

using namespace cuda;

const WaitBounds kBounds{nullptr, std::chrono::milliseconds(20000)};

CublasLt open_fake(Check& check, FakeLt** fake) {
  *fake = open_fake_cublaslt(LOCKSTEP_FAKE_CUBLASLT);
  (*fake)->version = 130002;
  CublasLt library = open_cublaslt(LOCKSTEP_FAKE_CUBLASLT, {}, 13);
  check.expect(library.is_open() && library.version == 130002 && library.path == LOCKSTEP_FAKE_CUBLASLT, "the fake was refused: %s",
               library.refused.empty() ? "" : library.refused[0].c_str());
  return library;
}

void the_right_library_is_taken(Check& check) {
  FakeLt* fake = nullptr;
  (void)open_fake(check, &fake);
  fake->version = 120805;
  const CublasLt other = open_cublaslt(LOCKSTEP_FAKE_CUBLASLT, {}, 13);
  const std::string want = std::string(LOCKSTEP_FAKE_CUBLASLT) + ": it is of CUDA 12, and this build of CUDA 13";
  check.expect(!other.is_open() && other.refused == std::vector<std::string>{want}, "a library of CUDA 12: %s",
               other.refused.empty() ? "taken" : other.refused[0].c_str());
}

// Operands on the device, in both types.
struct Operands {
  Memory memory;
  GemmArgs args{};

  Operands(Check& check, const Device& device, Type type, int rows, int n, int k, bool biased) {
    const auto pad = [](int count) { return (count + kAlign - 1) / kAlign * kAlign; };
    const size_t values = static_cast<size_t>(pad(k)) * (rows + n);
    const size_t bytes = values * type_bytes(type) + sizeof(float) * (static_cast<size_t>(pad(n)) * rows + n);
    check.expect(memory.reserve_device(device, bytes, "operands").ok(), "no memory");
    uint8_t* at = memory.data();
    Random random(static_cast<uint64_t>(rows + n));
    for (size_t i = 0; i < values; i++) {
      const float value = i % pad(k) < static_cast<size_t>(k) ? bf16_round(random.values(1)[0]) : 0.0F;
      uint32_t bits;
      std::memcpy(&bits, &value, sizeof(bits));
      const auto half = static_cast<uint16_t>(bits >> 16);
      std::memcpy(at + i * type_bytes(type), type == Type::kF32 ? static_cast<const void*>(&value) : &half, type_bytes(type));
    }
    auto* out = reinterpret_cast<float*>(at + values * type_bytes(type));
    float* bias = out + static_cast<size_t>(pad(n)) * rows;
    const std::vector<float> biases = random.values(n);
    std::copy(biases.begin(), biases.end(), bias);
    args.x = at;
    args.w = at + type_bytes(type) * pad(k) * rows;
    args.type = type;
    args.bias = biased ? bias : nullptr;
    args.rows_per_input = 1;
    args.rows = rows, args.n = n, args.k = k;
    args.ld_x = args.ld_w = pad(k);
    args.out = out;
    args.ld_out = pad(n);
  }
};

void products(Check& check) {
  FakeLt* fake = nullptr;
  const CublasLt library = open_fake(check, &fake);
  const Runtime* runtime = start_fake_cuda({1});
  {
    const Device device(runtime, 0);
    OwnStream stream;
    check.expect(device.bind().ok() && stream.create(device).ok(), "no device");
    LtProducts products(&library.functions, &device, &stream);
    check.expect(products.init().ok(), "init failed");
    for (const Type type : {Type::kF32, Type::kBf16}) {
      for (const bool biased : {false, true}) {
        for (const int rows : {1, 9, 33}) {
          const int before = fake->heuristics;
          for (int layer = 0; layer < 2; layer++) {  // of one shape: other memory, one plan
            const Operands o(check, device, type, rows, 21, 45, biased);
            check.expect(runtime->kernels->gemm(o.args, stream.get()) == kSuccess && stream.wait(kBounds).ok(), "our own kernel failed");
            std::vector<float> own(o.args.out, o.args.out + static_cast<size_t>(o.args.ld_out) * rows);
            std::fill(o.args.out, o.args.out + own.size(), 0.0F);
            check.expect(products.can(o.args) && products.multiply(o.args).ok() && stream.wait(kBounds).ok(), "a product failed");
            for (int row = 0; row < rows; row++) {
              for (int n = 0; n < o.args.n; n++) {
                const size_t i = static_cast<size_t>(row) * o.args.ld_out + n;
                check.near(o.args.out[i], static_cast<double>(own[i]), 1e-5, "product", static_cast<int>(i));
              }
            }
          }
          check.expect(fake->heuristics == before + 1, "%d heuristics for one shape", fake->heuristics - before);
        }
      }
    }
    GemmArgs experts = Operands(check, device, Type::kF32, 9, 8, 8, false).args;
    const int32_t expert = 0;
    experts.expert_of = &expert;
    check.expect(!products.can(experts), "rows of several matrices are no product");
    const Operands unknown(check, device, Type::kF32, 10, 16, 16, false);
    fake->knows_nothing = true;
    check.expect(!products.can(unknown.args), "a product without an algorithm");
    fake->knows_nothing = false;
    const Operands failing(check, device, Type::kF32, 11, 16, 16, false);
    fake->matmul_fails = true;
    const Status status = products.can(failing.args) ? products.multiply(failing.args) : Status();
    check.expect(status.fault() == Fault::kDevice && status.text() == "cuBLASLt: cublasLtMatmul: status 13", "a failure: %s",
                 status.text().c_str());
  }
  check.expect(fake->alive == 0, "%d things of cuBLASLt are left", fake->alive.load());
  expect_clean(check);

  const Device device(runtime, 0);
  OwnStream stream;
  check.expect(device.bind().ok() && stream.create(device).ok(), "no device");
  fake->create_fails = true;
  LtProducts failing(&library.functions, &device, &stream);
  check.expect(failing.init().text() == "cuBLASLt: cublasLtCreate: status 1", "no handle, and no reason");
  fake->create_fails = false;
  LtProducts none(nullptr, &device, &stream);
  check.expect(none.init().ok() && !none.can(Operands(check, device, Type::kF32, 9, 8, 8, false).args), "products without a library");
}

}  // namespace

void test_cublaslt(Check& check) {
  the_right_library_is_taken(check);
  products(check);
}

}  // namespace lockstep::test
