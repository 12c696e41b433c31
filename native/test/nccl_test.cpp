// native/nccl over the fake libnccl and the fake CUDA runtime: which library is taken, collectives of 1 to 8 ranks in threads, and that
// every failure ends on every rank, in time.
#include <functional>
#include <thread>

#include "check.h"
#include "cpu/shm_communicator.h"
#include "fake/clean.h"
#include "fake/nccl_hooks.h"
#include "nccl/communicator.h"

namespace lockstep::test {
namespace {

using cpu::ShmCommunicator;
using cpu::ShmGroup;
using cuda::Device;
using cuda::Memory;
using cuda::OwnStream;
using nccl::NcclCommunicator;

constexpr std::chrono::milliseconds kTimeout(20000);

nccl::Library open_fake(Check& check, FakeNccl** fake) {
  nccl::Library library = nccl::open_nccl(LOCKSTEP_FAKE_NCCL, {});
  if (!check.expect(library.is_open(), "the fake was refused: %s", library.refused.empty() ? "" : library.refused[0].c_str())) std::abort();
  *fake = open_fake_nccl(LOCKSTEP_FAKE_NCCL);
  return library;
}

void the_right_library_is_taken(Check& check) {
  FakeNccl* fake = nullptr;
  const nccl::Library library = open_fake(check, &fake);
  check.expect(library.version == 22809 && nccl::version_text(library.version) == "2.28.9", "version %d", library.version);
  check.expect(library.path == LOCKSTEP_FAKE_NCCL, "taken from %s", library.path.c_str());
  for (const auto& [version, text] : std::vector<std::pair<int, const char*>>{{22706, "it is NCCL 2.27.6; 2.x from 2.28.0 on is needed"},
                                                                              {30000, "it is NCCL 3.0.0; 2.x from 2.28.0 on is needed"}}) {
    fake->version = version;
    const nccl::Library other = nccl::open_nccl(LOCKSTEP_FAKE_NCCL, {});
    const std::string want = std::string(LOCKSTEP_FAKE_NCCL) + ": " + text;
    check.expect(!other.is_open() && other.refused == std::vector<std::string>{want}, "version %d: %s", version,
                 other.refused.empty() ? "taken" : other.refused[0].c_str());
  }
  fake->version = 22809;
  const nccl::Library lacking = nccl::open_nccl(LOCKSTEP_LACKING_NCCL, {});
  check.expect(
      !lacking.is_open() && lacking.refused.size() == 1 && lacking.refused[0].find("it has no ncclGetLastError") != std::string::npos,
      "a library that lacks a symbol: %s", lacking.refused.empty() ? "taken" : lacking.refused[0].c_str());
  const nccl::Library missing = nccl::open_nccl("/nowhere/libnccl.so.2", {});
  check.expect(!missing.is_open() && missing.refused.size() == 1 && missing.refused[0].find("/nowhere/libnccl.so.2") != std::string::npos,
               "a file that is not there: %s", missing.refused.empty() ? "taken" : missing.refused[0].c_str());
}

struct Seat {
  Check& check;
  NcclCommunicator& communicator;
  const Device& device;
  const OwnStream& stream;
  int rank;
};

// Ranks of one group, each on a thread and device of its own, connected unless `connects` is false; then `body`.
struct Machine {
  const cuda::Runtime* runtime;
  FakeNccl* fake = nullptr;
  nccl::Library library;
  std::vector<std::string> ends;  // what close() said, by rank

  Machine(Check& check, int devices) : runtime(start_fake_cuda({devices})), library(open_fake(check, &fake)) {
    fake->polls_in_progress = 3;
    fake->hanging_rank = -1;
    fake->async_error = 0;
    fake->abort_hangs = false;
    fake->aborts = fake->finalizes = 0;
    fake->failures.clear();
  }

  void run(Check& check, int world, std::chrono::milliseconds timeout, const std::function<void(const Seat&)>& body) {
    nccl::Group group(&library, world, timeout);
    check.expect(group.init().ok(), "no unique id");
    ShmGroup meeting(world, cpu::WaitPolicy(), timeout, nullptr);
    std::vector<Check> checks(world);
    std::vector<std::thread> ranks;
    ends.assign(world, "");
    for (int r = 0; r < world; r++) {
      ranks.emplace_back([&, r] {
        const Device device(runtime, r);
        OwnStream stream;
        checks[r].expect(device.bind().ok() && stream.create(device).ok(), "no device");
        ShmCommunicator host(&meeting, r);
        const cuda::Peers peers(group.peers(), &host, &device, &stream);
        NcclCommunicator communicator(&group, &host, &stream, &peers, r);
        body({checks[r], communicator, device, stream, r});
        ends[r] = communicator.close().text();
      });
    }
    for (std::thread& rank : ranks) rank.join();
    check.add(checks);
    expect_clean(check);
  }
};

std::vector<float> part_of(int rank, int round, size_t count) { return Random(static_cast<uint64_t>(1000 * round + rank)).values(count); }

float* reserve(const Seat& seat, Memory* memory, size_t count) {
  seat.check.expect(memory->reserve_device(seat.device, count * sizeof(float), "values").ok(), "no memory");
  return memory->as<float>();
}

void collectives(const Seat& seat, int world) {
  seat.check.expect(seat.communicator.connect().ok(), "connect failed");
  constexpr size_t kCount = 1000;
  Memory x_memory, whole_memory;
  float* x = reserve(seat, &x_memory, kCount);
  float* whole = reserve(seat, &whole_memory, kCount * world);
  for (int round = 1; round <= 3; round++) {
    const std::vector<float> mine = part_of(seat.rank, round, kCount);
    std::copy(mine.begin(), mine.end(), x);
    std::vector<float> sum = part_of(0, round, kCount);
    for (int r = 1; r < world; r++) {
      const std::vector<float> part = part_of(r, round, kCount);
      for (size_t i = 0; i < kCount; i++) sum[i] += part[i];
    }
    seat.check.expect(seat.communicator.all_gather(x, kCount, whole).ok(), "all_gather failed");
    seat.check.expect(seat.communicator.all_reduce(x, kCount).ok(), "all_reduce failed");
    seat.check.expect(seat.communicator.barrier().ok(), "barrier failed");
    seat.check.expect(same_bits(x, sum.data(), kCount), "all_reduce over %d ranks is not the sum in rank order", world);
    for (int r = 0; r < world; r++) {
      const std::vector<float> part = part_of(r, round, kCount);
      seat.check.expect(same_bits(whole + kCount * r, part.data(), kCount), "all_gather has not rank %d's part", r);
    }
  }
}

// A captured collective meets the other ranks' in every launch.
void captured(const Seat& seat, int world) {
  seat.check.expect(seat.communicator.connect().ok(), "connect failed");
  Memory memory;
  float* x = reserve(seat, &memory, 16);
  std::fill(x, x + 16, 1.0F);
  {
    cuda::RecordedWork work;
    seat.check.expect(work.begin(seat.device, seat.stream.get()).ok() && seat.communicator.all_reduce(x, 16).ok() && work.end().ok(),
                      "the capture failed");
    for (int i = 0; i < 3; i++) seat.check.expect(work.launch().ok(), "a launch failed");
    seat.check.expect(seat.communicator.barrier().ok(), "barrier failed");
  }
  seat.check.expect(x[0] == static_cast<float>(world * world * world), "three launches over %d ranks made %g of 1", world,
                    static_cast<double>(x[0]));
}

// Every rank ends with what is expected: one that ends by the deadline, which is far away where nothing hangs, says something else.
void failures_end(Check& check) {
  // One rank fails, tells the others, and all are out of their waits.
  const auto step = [](const Seat& seat) {
    Memory memory;
    float* x = reserve(seat, &memory, 8);
    Status status = seat.communicator.connect();
    if (status.ok()) status = seat.communicator.all_reduce(x, 8);
    if (status.ok()) status = seat.communicator.barrier();
    if (!status.ok() && status.fault() != Fault::kAborted) seat.communicator.abort();
    return status;
  };
  struct Case {
    const char* what;
    std::function<void(FakeNccl*)> damage;
    const char* text;  // of the rank that found it
    int finders;       // ranks that find it themselves, at most
  };
  const std::vector<Case> cases = {
      {"an error in init", [](FakeNccl* fake) { fake->failures["ncclCommInitRankConfig"] = 3; }, "ncclCommInitRankConfig: internal error",
       4},
      {"an error of a collective's launch", [](FakeNccl* fake) { fake->failures["ncclAllReduce"] = 3; },
       "ncclAllReduce: internal error - please report this issue to the NCCL developers: as the test asked", 1},
      {"an error that is found by polling", [](FakeNccl* fake) { fake->failures["ncclCommGetAsyncError"] = 6; }, "NCCL: ", 1},
      {"a collective that one rank never begins", [](FakeNccl* fake) { fake->hanging_rank = 2; }, "made no progress for 300 ms", 4},
      {"a sticky error of one device", [](FakeNccl*) { fail_cuda_work(1, cuda::kIllegalAddress, 0); }, "cudaErrorIllegalAddress", 1},
  };
  for (const Case& one : cases) {
    Machine machine(check, 4);
    one.damage(machine.fake);
    std::atomic<int> found{0}, aborted{0};
    const bool hangs = machine.fake->hanging_rank >= 0;
    machine.run(check, 4, hangs ? std::chrono::milliseconds(300) : kTimeout, [&](const Seat& seat) {
      const Status status = step(seat);
      if (status.fault() == Fault::kAborted) aborted++;
      if (status.text().find(one.text) != std::string::npos) found++;
    });
    check.expect(found >= 1 && found <= one.finders && found + aborted == 4, "%s: found by %d ranks, %d were woken", one.what, found.load(),
                 aborted.load());
    check.expect(machine.fake->communicators == 0, "%s: %d communicators are left", one.what, machine.fake->communicators.load());
  }
  {
    Machine machine(check, 2);
    std::atomic<int> failed{0};
    machine.run(check, 2, kTimeout, [&](const Seat& seat) {
      (void)seat.communicator.connect();
      (void)seat.communicator.barrier();
      machine.fake->async_error = 3;
      const Status status = seat.communicator.health();
      if (status.fault() == Fault::kDevice && status.text().find("a collective: internal error") != std::string::npos) failed++;
    });
    check.expect(failed == 2 && machine.fake->aborts == 2 && machine.fake->finalizes == 0,
                 "an asynchronous error: %d ranks saw it, %d aborted", failed.load(), machine.fake->aborts.load());
  }
  {
    // An abort that never returns is left behind.
    Machine machine(check, 1);
    machine.fake->abort_hangs = true;
    machine.run(check, 1, std::chrono::milliseconds(50), [&](const Seat& seat) {
      (void)seat.communicator.connect();
      seat.communicator.abort();
    });
    check.expect(machine.ends[0] == "the rank group was stopped", "close() said: %s", machine.ends[0].c_str());
    machine.fake->abort_hangs = false;
    while (machine.fake->communicators > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  {
    Machine machine(check, 1);
    machine.fake->failures["ncclGetUniqueId"] = 3;
    nccl::Group group(&machine.library, 1, kTimeout);
    check.expect(group.init().text().find("ncclGetUniqueId: internal error") != std::string::npos, "no unique id, and no reason");
  }
}

}  // namespace

void test_nccl(Check& check) {
  the_right_library_is_taken(check);
  for (const int world : {1, 2, 3, 4, 8}) {
    for (const auto body : {collectives, captured}) {
      Machine machine(check, world);
      machine.run(check, world, kTimeout, [&](const Seat& seat) { body(seat, world); });
      check.expect(machine.fake->finalizes == world && machine.fake->aborts == 0 && machine.fake->communicators == 0,
                   "%d ranks: %d clean ends, %d others", world, machine.fake->finalizes.load(), machine.fake->aborts.load());
    }
  }
  failures_end(check);
}

}  // namespace lockstep::test
