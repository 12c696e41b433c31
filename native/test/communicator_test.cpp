// Collectives over shared memory: sums in rank order on every rank, waits that end by abort or deadline, more ranks than cores.
#include <chrono>
#include <functional>
#include <thread>

#include "check.h"
#include "cpu/shm_communicator.h"

namespace lockstep::test {
namespace {

using cpu::ShmCommunicator;
using cpu::ShmGroup;
constexpr std::chrono::milliseconds kTimeout(20000);

// Runs `body` once a rank, each on its own thread, with a Check of its own.
void on_ranks(Check& check, ShmGroup& group, const std::function<void(Check&, ShmCommunicator&)>& body) {
  std::vector<Check> checks(static_cast<size_t>(group.world_size()));
  std::vector<std::thread> ranks;
  for (int r = 0; r < group.world_size(); r++) {
    ranks.emplace_back([&, r] {
      ShmCommunicator communicator(&group, r);
      body(checks[static_cast<size_t>(r)], communicator);
    });
  }
  for (std::thread& rank : ranks) rank.join();
  check.add(checks);
}

std::vector<float> part_of(int rank, int round, size_t count) { return Random(static_cast<uint64_t>(1000 * round + rank)).values(count); }

void collectives(Check& check, ShmCommunicator& communicator, int round, size_t count) {
  const int world = communicator.world_size;
  std::vector<float> expected = part_of(0, round, count);
  for (int r = 1; r < world; r++) {
    const std::vector<float> part = part_of(r, round, count);
    for (size_t i = 0; i < count; i++) expected[i] += part[i];
  }
  std::vector<float> x = part_of(communicator.rank, round, count);
  check.expect(communicator.all_reduce(x.data(), count).ok(), "all_reduce failed");
  check.expect(same_bits(x.data(), expected.data(), count), "all_reduce of %zu over %d ranks is not the sum in rank order", count, world);

  const std::vector<float> part = part_of(communicator.rank, round + 1, count);
  std::vector<float> whole(count * static_cast<size_t>(world));
  check.expect(communicator.all_gather(part.data(), count, whole.data()).ok(), "all_gather failed");
  for (int r = 0; r < world; r++) {
    const std::vector<float> theirs = part_of(r, round + 1, count);
    check.expect(same_bits(whole.data() + count * static_cast<size_t>(r), theirs.data(), count), "all_gather has not rank %d's part", r);
  }
}

// Plain memory between barriers: the thread sanitizer sees when a barrier orders nothing.
void barriers_order(Check& check, ShmGroup& group) {
  const int world = group.world_size();
  std::vector<int> seats(static_cast<size_t>(world), 0);
  on_ranks(check, group, [&](Check& own, ShmCommunicator& communicator) {
    for (int round = 1; round <= 200; round++) {
      seats[static_cast<size_t>(communicator.rank)] = round;
      own.expect(communicator.barrier().ok(), "barrier failed");
      int sum = 0;
      for (const int seat : seats) sum += seat;
      own.expect(sum == round * world, "a rank was seen before it came");
      own.expect(communicator.barrier().ok(), "barrier failed");
    }
  });
}

void waits_end(Check& check) {
  {
    ShmGroup group(2, cpu::WaitPolicy(), std::chrono::milliseconds(50), nullptr);
    ShmCommunicator alone(&group, 0);
    check.expect(alone.barrier().fault() == Fault::kTimeout, "a rank alone did not time out");
  }
  {
    ShmGroup group(2, cpu::WaitPolicy(), kTimeout, nullptr);
    std::thread waker([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      group.abort();
    });
    ShmCommunicator alone(&group, 1);
    check.expect(alone.barrier().fault() == Fault::kAborted, "abort() did not wake a waiting rank");
    check.expect(alone.barrier().fault() == Fault::kAborted, "an aborted group goes on");
    waker.join();
  }
  {
    int32_t word = 0;
    ShmGroup group(2, cpu::WaitPolicy(), kTimeout, &word);
    std::thread waker([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      __atomic_store_n(&word, 1, __ATOMIC_RELEASE);
    });
    ShmCommunicator alone(&group, 0);
    check.expect(alone.barrier().fault() == Fault::kAborted, "the abort word in shared memory was not seen");
    waker.join();
  }
}

}  // namespace

void test_communicator(Check& check) {
  for (const int world : {1, 2, 3, 8}) {
    cpu::WaitPolicy policy;
    policy.spin = world <= 2;
    ShmGroup group(world, policy, kTimeout, nullptr);
    barriers_order(check, group);
    ShmGroup reducing(world, policy, kTimeout, nullptr);
    on_ranks(check, reducing, [](Check& own, ShmCommunicator& communicator) {
      int round = 1;
      for (const size_t count : {size_t{1}, size_t{15}, size_t{16}, size_t{17}, size_t{576}, size_t{5000}}) {
        for (int repeat = 0; repeat < 5; repeat++) collectives(own, communicator, round += 2, count);
      }
    });
  }
  waits_end(check);
}

}  // namespace lockstep::test
