// What checks of kernels need of a device, real or emulated: values on the host's side that are there on the device when a kernel runs, and
// back when it has run. Host and device have an arena each, of one layout, so that a pointer is carried over by adding a distance: checks
// read and write where `take` says, and `run` moves the arena over and back and the pointers among a kernel's arguments with it.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <type_traits>

#include "check.h"
#include "cuda/device.h"
#include "cuda/kernels.h"

namespace lockstep::test {

inline double wide(float x) { return static_cast<double>(x); }
inline uint16_t to_bf16(float x) {
  const float rounded = bf16_round(x);
  uint32_t bits;
  std::memcpy(&bits, &rounded, 4);
  return static_cast<uint16_t>(bits >> 16);
}
inline float from_bf16(uint16_t half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
// Elements of a row of n values.
inline int padded(int n) { return (n + cuda::kAlign - 1) / cuda::kAlign * cuda::kAlign; }

struct Bench {
  static constexpr size_t kArenaBytes = size_t{192} << 20;

  Check& check;
  const cuda::Runtime* const runtime;
  const cuda::Device device;
  cuda::OwnStream stream;
  Random random{11};
  std::set<const void*> kernels_run;  // functions of the table

  // On device 0.
  Bench(Check& check, const cuda::Runtime* runtime);

  // Memory on both sides, of bytes of 1s (floats that are no numbers), and such bytes behind it that nothing may write.
  template <class T>
  T* take(size_t count) {
    return reinterpret_cast<T*>(take_bytes(count * sizeof(T)));
  }
  // Everything that was taken is free again.
  void clear();

  // Rows of values in -scale … scale, zeros behind them.
  float* rows(int count, int n, int ld, float scale = 1);
  // The same as bf16; `x` is rounded too, so that both hold the same values.
  uint16_t* halves(float* x, size_t count);
  template <class T>
  T* values(const std::vector<T>& from) {
    T* out = take<T>(from.size());
    std::copy(from.begin(), from.end(), out);
    return out;
  }
  cuda::RowsOut out(int count, int ld) {
    return {take<float>(static_cast<size_t>(count) * ld), take<uint16_t>(static_cast<size_t>(count) * ld), ld};
  }

  template <class Args>
  void run(cuda::Error (*kernel)(const Args&, cuda::Stream), const Args& args) {
    run_together(kernel, std::vector<Args>{args});
  }
  // The same kernel with each of these arguments, side by side: each in a stream and on a thread of its own.
  template <class Args>
  void run_together(cuda::Error (*kernel)(const Args&, cuda::Stream), const std::vector<Args>& args) {
    static_assert(std::is_trivially_copyable<Args>::value, "what a kernel takes is copied as bytes");
    kernels_run.insert(reinterpret_cast<const void*>(kernel));
    std::vector<std::function<cuda::Error(cuda::Stream)>> launches;
    for (Args there : args) {
      carry_over(&there, sizeof(there));
      launches.push_back([kernel, there](cuda::Stream in) { return kernel(there, in); });
    }
    launch(launches);
  }

  // Rows of `out` against float64, and zeros behind them.
  void expect_rows(const cuda::RowsOut& out, const std::vector<double>& want, int rows, int n, double tolerance, const char* what);

 private:
  struct Piece {
    size_t at, bytes;
  };
  uint8_t* take_bytes(size_t bytes);
  // Pointers of the host's arena become the device's.
  void carry_over(void* args, size_t bytes) const;
  void launch(const std::vector<std::function<cuda::Error(cuda::Stream)>>& launches);
  void expect_ok(const Status& status, const char* what);

  cuda::Memory on_host_, on_device_;
  std::vector<Piece> pieces_;
  size_t used_ = 0;
};

// A check that runs on any device.
struct DeviceCheck {
  const char* name;
  void (*run)(Bench&);
};
// All of them: what is added to the kernels' table gets a row here. scripts/gpu-check fails for a kernel that none of them runs.
const std::vector<DeviceCheck>& device_checks();
// That of sampling, in a file of its own (cuda_sampler_test.cpp): some three hundred rows, others each time.
void check_sampling(Bench& b);
// That of products by wgmma: gemm_wide_checks.cpp.
void check_gemm_wide(Bench& b);
// And of quantised weights: bricks_checks.cpp.
void check_bricks(Bench& b);
// And of what products take on of other kernels: fused_checks.cpp. expect_fused: of this one by gemm's kernels; expect_ends: what comes
// behind it, by all of these, which have the bits of the first. They write `args.out`.
struct Maker {
  const char* name;
  std::function<void(const cuda::GemmArgs&)> make;
};
void check_fused(Bench& b);
void expect_fused(Bench& b, const cuda::GemmArgs& args);
void expect_ends(Bench& b, const cuda::GemmArgs& args, const std::vector<Maker>& makers);
// That of attention in tiles (attention_tiles_test.cpp).
void attention_tiles(Bench& b);
// Kernels of the table that the bench has not run.
int unchecked_kernels(const Bench& bench);

}  // namespace lockstep::test
