#include "fake/emulate.h"

#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace lockstep::test {

thread_local Lane lane_now;

namespace {

constexpr int kWarp = 32;
constexpr size_t kStackBytes = 64 << 10;

// What a fiber waits for before it goes on.
enum class State { kRuns, kAtBlock, kAtWarp, kEnded };

// A jump between stacks: the compiler's own, which neither touches the signal mask, as swapcontext does at the price of a system call, nor
// looks at the stack, as longjmp may.
struct Place {
  void* words[5];
};

struct Fiber {
  Place place;
  State state;
  Lane lane;
  uint32_t word;  // given at an exchange
  std::unique_ptr<char[]> stack;
};

// One thread's block that runs; its fibers' stacks are kept for the next.
struct Block {
  std::vector<Fiber> fibers;
  int count = 0;
  int now = 0;
  Place scheduler;
  const std::function<void()>* kernel = nullptr;
};

Block& block() {
  static thread_local Block one;
  return one;
}

// A function of its own: the compiler's two halves may not stand in one.
__attribute__((noinline, noreturn)) void go_to(Place* place) { __builtin_longjmp(place->words, 1); }

__attribute__((noinline)) void jump(Place* from, Place* to) {
  if (__builtin_setjmp(from->words) == 0) go_to(to);
}

// Gives the turn back until the scheduler finds that the wait is over.
void leave(State state) {
  Block& b = block();
  Fiber& fiber = b.fibers[b.now];
  fiber.state = state;
  jump(&fiber.place, &b.scheduler);
}

void begin_fiber() {
  Block& b = block();
  (*b.kernel)();
  leave(State::kEnded);
}

// The first turn goes through a context, which is how a stack is entered at all.
__attribute__((noinline)) void enter(Fiber* fiber) {
  Block& b = block();
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = fiber->stack.get();
  context.uc_stack.ss_size = kStackBytes;
  context.uc_link = nullptr;
  makecontext(&context, begin_fiber, 0);
  if (__builtin_setjmp(b.scheduler.words) == 0) setcontext(&context);
}

void turn(int i, bool first) {
  Block& b = block();
  b.now = i;
  Fiber& fiber = b.fibers[i];
  fiber.state = State::kRuns;
  lane_now = fiber.lane;
  if (first) {
    enter(&fiber);
  } else {
    jump(&b.scheduler, &fiber.place);
  }
}

bool all_of(int first, int end, State state) {
  const Block& b = block();
  for (int i = first; i < end; i++) {
    if (b.fibers[i].state != state) return false;
  }
  return true;
}

// Runs each fiber of the warp until it waits or ends, and through every exchange that the whole warp comes to.
void run_warp(int first, int end, bool is_new) {
  Block& b = block();
  do {
    for (int i = first; i < end; i++) {
      if (b.fibers[i].state != State::kEnded) turn(i, is_new);
    }
    is_new = false;
  } while (all_of(first, end, State::kAtWarp));
}

std::string run_block(int count) {
  bool is_new = true;
  do {
    for (int first = 0; first < count; first += kWarp) run_warp(first, std::min(first + kWarp, count), is_new);
    is_new = false;
    if (all_of(0, count, State::kEnded)) return "";
  } while (all_of(0, count, State::kAtBlock));
  return "threads of a block wait for others that have ended or wait elsewhere";
}

}  // namespace

void sync_block() { leave(State::kAtBlock); }

// Two turns: every lane of the warp has given its word before any reads, and every lane has read before any gives its next.
uint32_t exchange_in_warp(uint32_t word, int mask) {
  Block& b = block();
  const int me = b.now;
  b.fibers[me].word = word;
  leave(State::kAtWarp);
  const uint32_t theirs = b.fibers[me ^ mask].word;
  leave(State::kAtWarp);
  return theirs;
}

std::string run_grid(Index grid, int count, const std::function<void()>& kernel) {
  Block& b = block();
  if (static_cast<int>(b.fibers.size()) < count) {
    b.fibers.resize(count);
    for (Fiber& fiber : b.fibers) {
      if (!fiber.stack) fiber.stack.reset(new char[kStackBytes]);
    }
  }
  b.kernel = &kernel;
  for (unsigned y = 0; y < grid.y; y++) {
    for (unsigned x = 0; x < grid.x; x++) {
      for (int i = 0; i < count; i++) b.fibers[i].lane = {{static_cast<unsigned>(i), 0}, {x, y}, {static_cast<unsigned>(count), 1}};
      for (int i = 0; i < count; i++) b.fibers[i].state = State::kRuns;
      const std::string problem = run_block(count);
      if (!problem.empty()) return problem;
    }
  }
  return "";
}

}  // namespace lockstep::test
