// Sums and gathers over memory that ranks read of each other (cuda/peers.h, cuda/peer.cu), on emulated devices whose kernels run side by
// side, a thread a rank: both ways against sums in rank order, the same bits on all ranks, recorded, and that nobody waits for ever.
#include "cuda/peers.h"

#include <functional>
#include <thread>

#include "check.h"
#include "cpu/shm_communicator.h"
#include "fake/clean.h"

namespace lockstep::test {
namespace {

using namespace cuda;

constexpr std::chrono::milliseconds kTimeout(20000);
constexpr int kRowsMax = 70, kN = 50, kLd = 56;  // more rows than blocks
constexpr size_t kPart = static_cast<size_t>(kRowsMax) * kLd;
constexpr size_t kLogits = 96;

// A rank, its device and what it has there.
struct Seat {
  Check& check;
  Peers& peers;
  const Device& device;
  const OwnStream& stream;
  Communicator& host;
  PeerMemory own;
  float *x, *weight, *whole;
  RowsOut out;
  int rank, world;

  void wait() const {
    const Status status = stream.wait({[this] { return peers.health(); }, kTimeout});
    check.expect(status.ok(), "rank %d of %d: %s", rank, world, status.text().c_str());
  }
  PeerJoinArgs args(int rows, bool two_shots) const {
    PeerJoinArgs args{};
    args.two_shots = two_shots;
    args.rows = rows, args.n = kN, args.ld = kLd;
    args.x = x;
    return args;
  }
};

// Ranks in threads that open their memory to each other; then `body`.
void run(Check& check, const FakeMachine& machine, std::chrono::milliseconds timeout, const std::function<void(const Seat&)>& body) {
  const int world = machine.devices;
  const Runtime* runtime = start_fake_cuda(machine);
  PeerGroup group(world, timeout);
  cpu::ShmGroup meeting(world, cpu::WaitPolicy(), kTimeout, nullptr);
  std::vector<Check> checks(world);
  std::vector<std::thread> ranks;
  for (int r = 0; r < world; r++) {
    ranks.emplace_back([&, r] {
      const Device device(runtime, r);
      OwnStream stream;
      Memory memory;
      checks[r].expect(device.bind().ok() && stream.create(device).ok(), "no device");
      const size_t floats = 6 * kPart + kLogits * (world + 1) + kLd;
      checks[r].expect(memory.reserve_device(device, floats * sizeof(float), "values").ok(), "no memory");
      float* at = memory.as<float>();
      const auto take = [&at](size_t count) { return std::exchange(at, at + count); };
      PeerMemory own{{take(kPart), take(kPart)}, take(kLogits), kRowsMax, kN, kLd, take(kPart)};
      float *x = take(kPart), *weight = take(kLd), *whole = take(kLogits * world);
      const RowsOut out = {take(kPart), reinterpret_cast<uint16_t*>(take(kPart)), kLd};
      cpu::ShmCommunicator host(&meeting, r);
      Peers peers(&group, &host, &device, &stream);
      const Status status = peers.open(own);
      checks[r].expect(status.ok(), "open: %s", status.text().c_str());
      body({checks[r], peers, device, stream, host, own, x, weight, whole, out, r, world});
      (void)host.barrier();
    });
  }
  for (std::thread& rank : ranks) rank.join();
  check.add(checks);
  expect_clean(check);
}

std::vector<float> values_of(int rank, int round, size_t count) { return Random(static_cast<uint64_t>(100 * round + rank)).values(count); }

std::vector<float> sum_of(int world, int round) {
  std::vector<float> sum = values_of(0, round, kPart);
  for (int r = 1; r < world; r++) {
    const std::vector<float> part = values_of(r, round, kPart);
    for (size_t i = 0; i < kPart; i++) sum[i] += part[i];
  }
  return sum;
}

void put(const std::vector<float>& values, float* to) { std::copy(values.begin(), values.end(), to); }

// What the plain kernels make of a sum that is there already.
struct Plain {
  std::vector<float> x, out;
  Plain(const Seat& seat, const std::vector<float>& sum, const std::vector<float>& before, const NormWeights& norm, const NormWeights& next,
        int rows) {
    Memory memory;
    seat.check.expect(memory.reserve_device(seat.device, 3 * kPart * sizeof(float), "plain").ok(), "no memory");
    float *y = memory.as<float>(), *at = y + kPart, *normed = at + kPart;
    put(sum, y), put(before, at);
    const Kernels& k = *seat.device.runtime().kernels;
    const AddArgs add{y, at, rows, kN, kLd, norm};
    const NormArgs then{at, nullptr, rows, kN, kLd, next, false, {normed, nullptr, kLd}};
    seat.check.expect(k.add(add, seat.stream.get()) == kSuccess && k.norm(then, seat.stream.get()) == kSuccess, "a launch failed");
    seat.wait();
    x.assign(at, at + kPart), out.assign(normed, normed + kPart);
  }
};

void sums(const Seat& s) {
  s.check.expect(s.peers.is_open() == (s.world > 1), "%d ranks: open is %d", s.world, s.peers.is_open());
  if (s.world == 1) return;
  const NormWeights weights{s.weight, nullptr, 1.0F, 1e-5F, false};
  put(values_of(50, 0, kLd), s.weight);
  int round = 0;
  for (const bool two_shots : {false, true}) {
    for (const int rows : {1, 2, 5, kRowsMax}) {
      for (const bool is_normed : {false, true}) {
        const int turn = ++round % 2;
        put(values_of(s.rank, round, kPart), s.own.part[turn]);
        const std::vector<float> before = values_of(60, round, kPart);
        put(before, s.x);
        PeerJoinArgs args = s.args(rows, two_shots);
        args.adds = true;
        if (is_normed) args.norm = weights;
        args.next = weights;
        args.out = s.out;
        s.check.expect(s.peers.join(args, turn) == kSuccess, "a launch failed");
        s.wait();
        const std::vector<float> sum = sum_of(s.world, round);
        const Plain plain(s, sum, before, args.norm, weights, rows);
        for (int row = 0; row < rows; row++) {
          for (int c = 0; c < kLd; c++) {
            const size_t i = static_cast<size_t>(row) * kLd + c;
            if (!is_normed && c < kN) s.check.expect(s.x[i] == before[i] + sum[i], "x of row %d is not the sum in rank order", row);
            if (c < kN) s.check.near(s.x[i], static_cast<double>(plain.x[i]), 1e-5 * (1 + std::fabs(plain.x[i])), "x", c);
            s.check.near(s.out.f32[i], static_cast<double>(plain.out[i]), c < kN ? 1e-5 * (1 + std::fabs(plain.out[i])) : 0.0, "normed", c);
          }
        }
        // Every rank has the same bits: as parts of one more gather, of rank 0's and of this one's.
        std::copy(s.out.f32, s.out.f32 + kLogits, s.own.logits);
        s.check.expect(s.peers.gather(s.whole, kLogits) == kSuccess, "a launch failed");
        s.wait();
        for (int r = 0; r < s.world; r++)
          s.check.expect(same_bits(s.whole + kLogits * r, s.own.logits, std::min<size_t>(kLogits, static_cast<size_t>(rows) * kLd)),
                         "rank %d has other bits", r);
      }
    }
  }
}

// Recorded sums meet the other ranks' in every launch, and a rank that comes late is waited for.
void recorded(const Seat& s) {
  if (s.world == 1) return;
  std::fill(s.own.part[0], s.own.part[0] + kLd, 1.0F);
  std::fill(s.x, s.x + kLd, 0.0F);
  PeerJoinArgs args = s.args(1, false);
  args.adds = true;
  {
    RecordedWork work;
    s.check.expect(work.begin(s.device, s.stream.get()).ok() && s.peers.join(args, 0) == kSuccess && work.end().ok(), "the capture failed");
    for (int i = 0; i < 3; i++) {
      if (i == s.rank % 3) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      s.check.expect(work.launch().ok(), "a launch failed");
      s.wait();
    }
  }
  s.check.expect(s.x[0] == static_cast<float>(3 * s.world), "three sums over %d ranks of 1 made %g", s.world, static_cast<double>(s.x[0]));
}

// What the table says, the same on all ranks, and that the library was asked.
void measured(const Seat& s) {
  struct Library final : Communicator {
    int calls = 0;
    Status all_reduce(float*, size_t) override {
      calls++;
      return Status();
    }
    Status all_gather(const float*, size_t, float*) override { return Status(); }
    Status barrier() override { return Status(); }
    void abort() noexcept override {}
    double take_wait_us() override { return 0; }
  };
  s.check.expect(s.peers.way_for(1) == JoinWay::kOneShot && s.peers.way_for(1 << 20) == JoinWay::kTwoShots, "the fixed table");
  Library library;  // that takes no time
  const Status status = s.peers.measure(&library);
  s.check.expect(status.ok() && library.calls > 0, "measure: %s", status.text().c_str());
  s.check.expect(s.peers.way_for(1) == JoinWay::kLibrary && s.peers.way_for(512) == JoinWay::kLibrary, "slower kernels are taken");
}

// A rank that never comes ends the others' waits by their deadline; an abort ends them at once.
void nobody_waits_for_ever(Check& check) {
  for (const bool aborts : {false, true}) {
    for (const int world : {2, 4, 8}) {
      const Runtime* runtime = start_fake_cuda({world});
      PeerGroup group(world, std::chrono::milliseconds(aborts ? 20000 : 200));
      cpu::ShmGroup meeting(world, cpu::WaitPolicy(), kTimeout, nullptr);
      std::atomic<int> late{0}, stopped{0};
      std::vector<std::thread> ranks;
      for (int r = 0; r < world; r++) {
        ranks.emplace_back([&, r] {
          const Device device(runtime, r);
          OwnStream stream;
          Memory memory;
          if (!device.bind().ok() || !stream.create(device).ok() ||
              !memory.reserve_device(device, 6 * kPart * sizeof(float), "values").ok())
            return;
          float* at = memory.as<float>();
          cpu::ShmCommunicator host(&meeting, r);
          Peers peers(&group, &host, &device, &stream);
          if (!peers.open({{at, at + kPart}, at + 2 * kPart, kRowsMax, kN, kLd, at + 3 * kPart}).ok()) return;
          if (r == world - 1) {
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
            if (aborts) group.abort();
          } else {
            PeerJoinArgs args{};
            args.rows = 3, args.n = kN, args.ld = kLd, args.x = at + 4 * kPart;
            (void)peers.join(args, 0);
            const Status status = stream.wait({[&peers] { return peers.health(); }, kTimeout});
            const Status health = peers.health();
            if (health.fault() == Fault::kTimeout && health.text() == "another GPU made no progress for 200 ms") late++;
            if (status.ok() && health.ok()) stopped++;
          }
          (void)host.barrier();
        });
      }
      for (std::thread& rank : ranks) rank.join();
      check.expect((aborts ? stopped : late) == world - 1, "%d ranks: %d were late, %d stopped", world, late.load(), stopped.load());
      check.expect(cuda_leaks().empty(), "not given back: %s", cuda_leaks().c_str());
    }
  }
}

}  // namespace

void test_peers(Check& check) {
  for (const int world : {1, 2, 3, 4, 8}) {
    run(check, {world}, kTimeout, sums);
    run(check, {world}, kTimeout, recorded);
  }
  run(check, {3}, kTimeout, measured);
  FakeMachine apart{2};
  apart.peers = false;
  run(check, apart, kTimeout, [](const Seat& s) {
    s.check.expect(!s.peers.is_open() && s.peers.problem() == "the GPUs do not reach each other's memory", "problem: %s",
                   s.peers.problem().c_str());
  });
  FakeMachine liar{3};
  liar.lost = 1;
  run(check, liar, kTimeout, [](const Seat& s) {
    s.check.expect(!s.peers.is_open() && s.peers.problem().find("came out wrong, though the driver") != std::string::npos, "problem: %s",
                   s.peers.problem().c_str());
    s.check.expect(s.peers.health().ok(), "what was tried at start fails the steps: %s", s.peers.health().text().c_str());
  });
  nobody_waits_for_ever(check);
}

}  // namespace lockstep::test
