// The compute threads: every chunk is done once, by whoever comes first; more threads than cores; many short jobs.
#include "cpu/threads.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "check.h"
#include "cpu/arena.h"
#include "cpu/mate.h"
#include "cpu/pages_ahead.h"

namespace lockstep::test {
namespace {

constexpr std::chrono::milliseconds kTimeout(20000);

void count_chunks(Check& check, cpu::Threads& threads, int chunks, int grain) {
  std::vector<int> done(static_cast<size_t>(chunks), 0);  // not atomic: a chunk has one owner, and the thread sanitizer sees if not
  threads.run(chunks, grain, [&](int thread, int first, int n) {
    for (int i = first; i < first + n; i++) done[static_cast<size_t>(i)] += 1 + 0 * thread;
  });
  int wrong = 0;
  for (const int times : done) wrong += times != 1;
  check.expect(wrong == 0, "%d of %d chunks in parts of %d were not done once by %d threads", wrong, chunks, grain, threads.count());
}

#if defined(__linux__)
constexpr std::chrono::microseconds kFirstLook(100), kSecondLook(200);

// A mate that does not run is fetched and may run everywhere again; one that has run between two looks is left where it is, and so is one
// that somebody has placed.
void fetch_mates(Check& check) {
  cpu_set_t all;
  CPU_ZERO(&all);
  sched_getaffinity(0, sizeof(all), &all);
  cpu::Mate mate;
  std::atomic<int> turns{0};
  std::atomic<bool> spins{true}, free_again{false};
  std::mutex asleep, placed;
  asleep.lock();
  placed.lock();
  std::thread other([&] {
    mate.enlist();
    while (spins.load()) turns++;
    { const std::lock_guard<std::mutex> woken(asleep); }
    cpu_set_t now;
    CPU_ZERO(&now);
    free_again = sched_getaffinity(0, sizeof(now), &now) == 0 && CPU_EQUAL(&now, &all);
    CPU_ZERO(&now);
    CPU_SET(sched_getcpu(), &now);
    sched_setaffinity(0, sizeof(now), &now);
    turns = -1;
    const std::lock_guard<std::mutex> ends(placed);
  });
  while (turns.load() == 0) std::this_thread::yield();
  cpu::Mate::Watch running(&mate);
  check.expect(!running.look(kFirstLook), "a mate was fetched at the first look");
  const int before = turns.load();
  while (turns.load() - before < 1000000) std::this_thread::yield();
  check.expect(!running.look(kSecondLook), "a mate that ran was fetched");

  spins = false;
  bool fetched = false;
  for (int i = 0; i < 1000 && !fetched; i++) {  // it is on its way to sleep
    cpu::Mate::Watch still(&mate);
    still.look(kFirstLook);
    fetched = still.look(kSecondLook);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  check.expect(fetched, "a mate that stands still was not fetched");
  asleep.unlock();
  while (turns.load() != -1) std::this_thread::yield();
  check.expect(free_again, "a mate that was fetched may not run everywhere again");
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  cpu::Mate::Watch pinned(&mate);
  pinned.look(kFirstLook);
  if (CPU_COUNT(&all) > 1) check.expect(!pinned.look(kSecondLook), "a mate that somebody has placed was fetched");
  placed.unlock();
  other.join();
  cpu::Mate nobody;
  cpu::Mate::Watch none(&nobody);
  none.look(kFirstLook);
  check.expect(!none.look(kSecondLook), "a thread that has not enlisted was fetched");
}

// A mate is known to be on the caller's core from where it last ran, is sent away once, and may run everywhere afterwards. To wait for one
// that is there ends as any wait.
void send_mates_away(Check& check) {
  const int here = sched_getcpu();
  cpu_set_t all, only;
  CPU_ZERO(&all);
  sched_getaffinity(0, sizeof(all), &all);
  CPU_ZERO(&only);
  CPU_SET(here, &only);
  cpu::Mate mate;
  cpu::Signal began, woken, done;
  cpu::WaitPolicy sleeps;
  sleeps.spin = false;
  const cpu::AbortFlag never;
  bool is_free = false;
  bool woke_here = true;
  std::thread other([&] {
    mate.enlist();
    for (uint32_t turn = 1; turn <= 2; turn++) {
      int before = -1;
      do {  // until it has not been moved in between
        sched_setaffinity(0, sizeof(only), &only);
        sched_setaffinity(0, sizeof(all), &all);
        before = sched_getcpu();
        mate.note_core();
      } while (before != here || sched_getcpu() != here);
      began.advance_to(turn);
      done.wait(turn, sleeps, never, kTimeout, nullptr);
      if (turn == 1) woke_here = sched_getcpu() == here;
      woken.advance_to(turn);
    }
    cpu_set_t now;
    CPU_ZERO(&now);
    is_free = sched_getaffinity(0, sizeof(now), &now) == 0 && CPU_EQUAL(&now, &all);
    done.advance_to(3);
  });
  sched_setaffinity(0, sizeof(only), &only);
  const auto begins = [&](uint32_t turn) {
    const bool in_time = began.wait(turn, sleeps, never, kTimeout, nullptr) == cpu::WaitResult::kReached;
    check.expect(in_time && mate.is_here(), "turn %u: a mate on the caller's core is thought to be elsewhere", turn);
  };
  begins(1);
  mate.send_away_from_here();
  check.expect(!mate.is_here(), "a mate that was sent away is thought to be here");
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // it sleeps by now, and wakes beside the caller if it may
  done.advance_to(1);
  check.expect(woken.wait(1, sleeps, never, kTimeout, nullptr) == cpu::WaitResult::kReached, "a mate that was sent away does not wake");
  mate.let_anywhere();
  begins(2);
  done.advance_to(2);
  check.expect(done.wait(3, {}, never, kTimeout, &mate) == cpu::WaitResult::kReached, "a wait for a mate on the same core did not end");
  other.join();
  sched_setaffinity(0, sizeof(all), &all);
  if (CPU_COUNT(&all) > 1) check.expect(!woke_here, "a mate that was sent away has woken on the caller's core");
  check.expect(is_free, "a mate that was sent away may not run everywhere again");
  check.expect(!cpu::Mate().is_here(), "a thread that has not enlisted is thought to be here");
}
#endif

#if defined(__linux__)
// Whether the page at `offset`, where one begins, is there, within some seconds: the thread runs where no step does.
bool comes_into_being(const cpu::Arena& arena, size_t offset) {
  for (int i = 0; i < 2000; i++) {
    unsigned char there = 0;
    if (mincore(arena.data() + offset, 1, &there) == 0 && (there & 1) != 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

// Pages are there before they are used, as many further on as more are used, to the end and not beyond; what is written stays.
void touch_pages_ahead(Check& check) {
  constexpr size_t kBytes = 40 * cpu::kHugePage + 5000;
  cpu::Arena arena;
  check.expect(arena.reserve(kBytes, true), "no memory for an arena");
  cpu::PagesAhead pages;
  pages.start(arena.data(), kBytes);
  check.expect(comes_into_being(arena, 7 * cpu::kHugePage), "the first pages are not touched");
  for (size_t page = 0; page < kBytes; page += cpu::kHugePage) arena.data()[page] = 7;
  pages.begin_step(3 * cpu::kHugePage);
  pages.end_step();
  check.expect(comes_into_being(arena, 10 * cpu::kHugePage), "the pages past those in use are not touched");
  pages.begin_step(2 * cpu::kHugePage);
  pages.end_step();
  pages.begin_step(kBytes);
  pages.end_step();
  int changed = 0;
  for (size_t page = 0; page < kBytes; page += cpu::kHugePage) changed += arena.data()[page] != 7;
  check.expect(changed == 0, "%d pages have lost what was written to them", changed);
  const cpu::PagesAhead idle;  // never started
  cpu::PagesAhead empty;
  empty.start(arena.data(), 0);
  empty.begin_step(0);
  cpu::Arena other;
  check.expect(other.reserve(kBytes, true), "no memory for an arena");
  cpu::PagesAhead during;
  during.begin_step(0);
  during.start(other.data(), kBytes);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  unsigned char there = 0;
  check.expect(mincore(other.data(), 1, &there) == 0 && (there & 1) == 0, "a page is touched during a step");
  during.end_step();
  check.expect(comes_into_being(other, 0), "no page is touched after the step");
}
#endif

// A helper that has been called off may see the end in the place of the job that it was woken for.
void end_at_once(Check& check) {
  for (int i = 0; i < 3000; i++) {
    cpu::WaitPolicy policy;
    policy.spin = i % 2 == 0;
    cpu::Threads threads(2 + i % 2, policy, kTimeout);
    for (int job = 0; job < i % 4; job++) threads.run(2, 1, [](int, int, int) {});
    check.expect(threads.status().ok(), "%s", threads.status().text().c_str());
  }
}

}  // namespace

void test_threads(Check& check) {
#if defined(__linux__)
  touch_pages_ahead(check);
  fetch_mates(check);
  send_mates_away(check);
#endif
  end_at_once(check);
  for (const int count : {1, 2, 3, 8}) {
    for (const bool spin : {true, false}) {
      cpu::WaitPolicy policy;
      policy.spin = spin;
      cpu::Threads threads(count, policy, kTimeout);
      for (const int chunks : {0, 1, 2, 7, 64, 1000}) {
        for (const int grain : {1, 3, 64}) count_chunks(check, threads, chunks, grain);
      }
      for (int i = 0; i < 300; i++) count_chunks(check, threads, 1 + i % 20, 1);
      // Helpers that have gone to sleep are woken.
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
      count_chunks(check, threads, 50, 1);
      check.expect(threads.status().ok(), "%s", threads.status().text().c_str());
    }
  }
  cpu::Threads threads(4, cpu::WaitPolicy(), kTimeout);
  std::vector<int> who(4, -1);
  std::vector<std::thread::id> ids(4);
  threads.run_in_place(4, [&](int thread, int first, int n) {
    for (int part = first; part < first + n; part++) {
      who[static_cast<size_t>(part)] = thread;
      ids[static_cast<size_t>(part)] = std::this_thread::get_id();
    }
  });
  for (int part = 0; part < 4; part++)
    check.expect(who[static_cast<size_t>(part)] == part, "part %d was done by thread %d", part, who[static_cast<size_t>(part)]);
  for (size_t i = 1; i < ids.size(); i++) check.expect(ids[i] != ids[i - 1], "two parts on one thread");
}

}  // namespace lockstep::test
