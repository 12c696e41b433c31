// Collectives over shared memory: sums in rank order on every rank, waits that end by abort or deadline, more ranks than cores; and work
// that ranks share: every chunk is done once, and who has not come is not waited for.
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

// Takes all chunks that are left of one operation, 3 at a time.
template <class CountOf, class Do>
bool work_on(ShmCommunicator& communicator, CountOf count_of, Do do_chunk) {
  if (!communicator.begin_work()) return false;
  int count = 0;
  for (int r = 0; r < communicator.world_size; r++) count += count_of(r);
  for (int i = 0; i < communicator.world_size; i++) {
    const int part = (communicator.rank + i) % communicator.world_size;
    int first = 0;
    int n = 0;
    while (communicator.take(part, 3, count_of(part), &first, &n)) {
      for (int chunk = first; chunk < first + n; chunk++) do_chunk(part, chunk);
      communicator.add_done(n, count);
    }
  }
  communicator.end_work();
  return true;
}

// Operations that each read what the one before wrote, in plain memory, with ranks that come late to some of them: every chunk is done
// once, and after the one before. Parts are of all sizes, one of them empty.
void work_is_shared(Check& check, ShmGroup& group) {
  constexpr int kOperations = 300, kMost = 40;
  const int world = group.world_size();
  const auto count_of = [](int rank) { return rank * 17 % kMost + (rank == 2 ? -34 : 1); };
  const auto place = [&](int rank, int chunk) { return static_cast<size_t>(rank * (kMost + 1) + chunk); };
  std::vector<int> cells[2];
  for (std::vector<int>& cell : cells) cell.resize(place(world, 0), 0);
  on_ranks(check, group, [&](Check& own, ShmCommunicator& communicator) {
    for (int operation = 1; operation <= kOperations; operation++) {
      if (operation % 50 == 7 * communicator.rank) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      const std::vector<int>& before = cells[(operation - 1) & 1];
      std::vector<int>& here = cells[operation & 1];
      work_on(communicator, count_of, [&](int part, int chunk) {
        own.expect(here[place(part, chunk)] == std::max(0, operation - 2), "operation %d: a chunk was done twice or not before", operation);
        own.expect(before[0] == operation - 1, "operation %d began before the last one was over", operation);
        here[place(part, chunk)] = operation;
      });
      if (operation % 100 == 0) own.expect(communicator.barrier().ok(), "barrier failed");
    }
  });
  for (int r = 0; r < world; r++) {
    for (int chunk = 0; chunk < count_of(r); chunk++)
      check.expect(cells[kOperations & 1][place(r, chunk)] == kOperations, "a chunk of the last operation was not done");
  }
}

// A rank does whole operations before the other has come at all, which then finds nothing to do.
void nobody_is_waited_for(Check& check) {
  ShmGroup group(2, cpu::WaitPolicy(), kTimeout, nullptr);
  const auto count_of = [](int) { return 5; };
  int done = 0;
  ShmCommunicator first(&group, 0);
  for (int i = 0; i < 100; i++) check.expect(work_on(first, count_of, [&](int, int) { done++; }), "no work was begun");
  check.expect(done == 1000, "a rank alone did %d chunks of 1000", done);
  on_ranks(check, group, [&](Check& own, ShmCommunicator& communicator) {
    for (int i = 0; communicator.rank == 1 && i < 100; i++)
      work_on(communicator, count_of, [&](int, int) { own.expect(false, "a chunk was left"); });
    own.expect((communicator.rank == 0 ? first : communicator).barrier().ok(), "the ranks did not meet");
  });
}

// The other rank has taken a chunk and does not end it.
void unfinished_work_ends_waits(Check& check) {
  for (const bool aborts : {false, true}) {
    ShmGroup group(2, cpu::WaitPolicy(), aborts ? kTimeout : std::chrono::milliseconds(50), nullptr);
    ShmCommunicator stuck(&group, 1);
    int first = 0;
    int n = 0;
    check.expect(stuck.begin_work() && stuck.take(1, 1, 1, &first, &n), "no chunk was taken");
    std::thread waker([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      if (aborts) group.abort();
    });
    ShmCommunicator waiting(&group, 0);
    work_on(waiting, [](int) { return 1; }, [](int, int) {});
    check.expect(!waiting.begin_work(), "work goes on after a chunk that was not done");
    check.expect(waiting.barrier().fault() == (aborts ? Fault::kAborted : Fault::kTimeout), "the barrier does not say why");
    waker.join();
  }
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
    ShmGroup sharing(world, policy, kTimeout, nullptr);
    work_is_shared(check, sharing);
    ShmGroup reducing(world, policy, kTimeout, nullptr);
    on_ranks(check, reducing, [](Check& own, ShmCommunicator& communicator) {
      int round = 1;
      for (const size_t count : {size_t{1}, size_t{15}, size_t{16}, size_t{17}, size_t{576}, size_t{5000}}) {
        for (int repeat = 0; repeat < 5; repeat++) collectives(own, communicator, round += 2, count);
      }
    });
  }
  nobody_is_waited_for(check);
  unfinished_work_ends_waits(check);
  waits_end(check);
}

}  // namespace lockstep::test
