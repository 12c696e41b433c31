#include "fake/emulate.h"

#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

namespace lockstep::test {

thread_local Lane lane_now;

namespace {

using cuda::kWarp;
constexpr size_t kStackBytes = 64 << 10;
constexpr uint64_t kPoison = ~uint64_t{0};  // NaN as float and as bf16: what shared memory holds before it is written

// What a fiber waits for before it goes on.
enum class State { kRuns, kAtBlock, kAtWarp, kGivesTurn, kEnded };

// A jump between stacks: the compiler's own, which neither touches the signal mask, as swapcontext does at the price of a system call, nor
// looks at the stack, as longjmp may.
struct Place {
  void* words[5];
};

struct Fiber {
  Place place;
  State state;
  bool has_begun = false;
  bool has_waited = false;  // for what is before the kernel
  Lane lane;
  uint64_t words[2];  // given at exchanges, in turn
  int exchanges;
  void* given;  // to do_in_warp
  std::unique_ptr<char[]> stack;
};

// What threads do not see before they have waited, and its true bytes while they do not.
struct HiddenBytes {
  Withheld place;
  std::vector<uint8_t> bytes;
};

// One thread's block that runs; its fibers' stacks are kept for the next.
struct Block {
  std::vector<HiddenBytes> hidden;
  bool is_hidden = false;
  std::vector<Fiber> fibers;
  std::vector<uint64_t> shared;  // of the launch
  int shared_bytes = 0;
  long moves = 0;      // what threads have done for which others may wait
  std::string fault;   // the first of the launch
  float warp_sum = 0;  // of the warp whose turn it is
  uint64_t warp_max = 0;
  int now = 0;
  Place scheduler;
  const std::function<void()>* kernel = nullptr;
};

Block& block() {
  static thread_local Block one;
  return one;
}

// AddressSanitizer would look for the end of the stack before a jump, and knows no stack but the thread's own.
#define LOCKSTEP_ON_ANY_STACK __attribute__((noinline, no_sanitize("address")))

// A function of its own: the compiler's two halves may not stand in one.
LOCKSTEP_ON_ANY_STACK void go_to(Place* place) { __builtin_longjmp(place->words, 1); }

LOCKSTEP_ON_ANY_STACK void jump_now(Place* from, Place* to) {
  if (__builtin_setjmp(from->words) == 0) go_to(to);
}

// Through a pointer that the compiler cannot follow: others run meanwhile, and it may neither think that memory is as it was nor that
// registers are, which it would of a function that it has seen.
void (*volatile jump)(Place* from, Place* to) = jump_now;

// Gives the turn back until the scheduler finds that the wait is over.
void leave(State state) {
  Block& b = block();
  Fiber& fiber = b.fibers[b.now];
  fiber.state = state;
  jump(&fiber.place, &b.scheduler);
}

// A fiber's whole life: a thread of one block after the other.
void begin_fiber() {
  for (;;) {
    (*block().kernel)();
    leave(State::kEnded);
  }
}

// A fiber's first turn goes through a context, which is how a stack is entered at all.
LOCKSTEP_ON_ANY_STACK void enter_now(Fiber* fiber) {
  Block& b = block();
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = fiber->stack.get();
  context.uc_stack.ss_size = kStackBytes;
  context.uc_link = nullptr;
  makecontext(&context, begin_fiber, 0);
  if (__builtin_setjmp(b.scheduler.words) == 0) setcontext(&context);
}

void (*volatile enter)(Fiber* fiber) = enter_now;

void hide(bool is_hidden) {
  Block& b = block();
  if (b.is_hidden == is_hidden) return;
  b.is_hidden = is_hidden;
  for (HiddenBytes& hidden : b.hidden) {
    if (is_hidden) {
      hidden.bytes.assign(hidden.place.at, hidden.place.at + hidden.place.bytes);
      std::memset(hidden.place.at, 0xff, hidden.place.bytes);
    } else {
      std::copy(hidden.bytes.begin(), hidden.bytes.end(), hidden.place.at);
    }
  }
}

void turn(int i) {
  Block& b = block();
  b.now = i;
  Fiber& fiber = b.fibers[i];
  hide(!fiber.has_waited);
  fiber.state = State::kRuns;
  lane_now = fiber.lane;
  if (fiber.has_begun) return jump(&b.scheduler, &fiber.place);
  fiber.has_begun = true;
  enter(&fiber);
}

bool all_of(int first, int end, State state) {
  const Block& b = block();
  for (int i = first; i < end; i++) {
    if (b.fibers[i].state != state) return false;
  }
  return true;
}

void set_running(int first, int end, State from) {
  Block& b = block();
  for (int i = first; i < end; i++) {
    if (b.fibers[i].state == from) b.fibers[i].state = State::kRuns;
  }
}

// Runs each fiber of the warp until it waits or ends, and through every exchange that the whole warp comes to.
void run_warp(int first, int end) {
  Block& b = block();
  set_running(first, end, State::kGivesTurn);
  for (;;) {
    for (int i = first; i < end; i++) {
      if (b.fibers[i].state == State::kRuns) turn(i);
    }
    if (!all_of(first, end, State::kAtWarp)) return;
    set_running(first, end, State::kAtWarp);
  }
}

std::string run_block(int count) {
  Block& b = block();
  forget_copies();
  forget_async();
  b.fault.clear();
  for (bool goes_on = true; goes_on;) {
    const long moves = b.moves;
    for (int first = 0; first < count; first += kWarp) run_warp(first, std::min(first + kWarp, count));
    if (all_of(0, count, State::kEnded)) return b.fault;
    goes_on = all_of(0, count, State::kAtBlock);
    if (goes_on) set_running(0, count, State::kAtBlock);
    goes_on = goes_on || b.moves != moves;
  }
  for (Fiber& fiber : b.fibers) fiber.has_begun = false;  // those that wait are given up
  return b.fault.empty() ? "threads of a block wait for others that have ended or wait elsewhere" : b.fault;
}

}  // namespace

void note_wait() {
  block().fibers[block().now].has_waited = true;
  hide(false);
}

void withhold(std::vector<Withheld> withheld) {
  block().hidden.clear();
  for (const Withheld& place : withheld) block().hidden.push_back({place, {}});
}

void sync_block() { leave(State::kAtBlock); }

// Every lane of the warp has given its word before any goes on. One that goes on may give its next before another has read this one, but
// not the one after that: hence two words in turn.
uint32_t exchange_in_warp(uint32_t word, int mask) {
  Block& b = block();
  const int me = b.now;
  const int turn = b.fibers[me].exchanges++ & 1;
  b.fibers[me].words[turn] = word;
  leave(State::kAtWarp);
  return static_cast<uint32_t>(b.fibers[me ^ mask].words[turn]);
}

void give_turn() { leave(State::kGivesTurn); }
void note_move() { block().moves++; }

void note_fault(const std::string& fault) {
  if (block().fault.empty()) block().fault = fault;
}

void let_others_run() {
  constexpr unsigned kYields = 16;
  static thread_local unsigned calls = 0;
  if (++calls % kYields != 0) return std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::microseconds(20));
}

float sum_in_warp(float x) {
  Block& b = block();
  const int me = b.now;
  const int turn = b.fibers[me].exchanges++ & 1;
  std::memcpy(&b.fibers[me].words[turn], &x, sizeof(x));
  leave(State::kAtWarp);
  if (me % kWarp != 0) return b.warp_sum;
  // The first lane goes on before the others do.
  float sums[kWarp];
  for (int lane = 0; lane < kWarp; lane++) std::memcpy(&sums[lane], &b.fibers[me + lane].words[turn], sizeof(x));
  for (int half = kWarp / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; lane++) sums[lane] += sums[lane + half];
  }
  return b.warp_sum = sums[0];
}

uint64_t max_in_warp(uint64_t x) {
  Block& b = block();
  const int me = b.now;
  const int turn = b.fibers[me].exchanges++ & 1;
  b.fibers[me].words[turn] = x;
  leave(State::kAtWarp);
  if (me % kWarp != 0) return b.warp_max;
  for (int lane = 0; lane < kWarp; lane++) x = std::max(x, b.fibers[me + lane].words[turn]);
  return b.warp_max = x;
}

// The first lane goes on before the others do, and so does the work.
void do_in_warp(void* mine, void (*work)(void* const* lanes)) {
  Block& b = block();
  const int me = b.now;
  b.fibers[me].given = mine;
  leave(State::kAtWarp);
  if (me % kWarp != 0) return;
  void* lanes[kWarp];
  for (int lane = 0; lane < kWarp; lane++) lanes[lane] = b.fibers[me + lane].given;
  work(lanes);
}

uint8_t* shared_of_launch() { return reinterpret_cast<uint8_t*>(block().shared.data()); }
int shared_bytes_of_launch() { return block().shared_bytes; }

std::string run_grid(Index grid, int count, int shared_bytes, bool is_early, const std::function<void()>& kernel) {
  Block& b = block();
  if (static_cast<int>(b.fibers.size()) < count) {
    b.fibers.resize(count);
    for (Fiber& fiber : b.fibers) {
      if (!fiber.stack) fiber.stack.reset(new char[kStackBytes]);
    }
  }
  b.kernel = &kernel;
  b.shared_bytes = shared_bytes;
  b.shared.assign((static_cast<size_t>(shared_bytes) + sizeof(uint64_t) - 1) / sizeof(uint64_t), kPoison);
  for (unsigned y = 0; y < grid.y; y++) {
    for (unsigned x = 0; x < grid.x; x++) {
      for (int i = 0; i < count; i++) b.fibers[i].lane = {{static_cast<unsigned>(i), 0}, {x, y}, {static_cast<unsigned>(count), 1}, grid};
      for (int i = 0; i < count; i++) {
        b.fibers[i].state = State::kRuns;
        b.fibers[i].exchanges = 0;
        b.fibers[i].has_waited = !is_early;
      }
      const std::string problem = run_block(count);
      hide(false);
      if (!problem.empty()) return problem;
      for (int i = 0; is_early && i < count; i++) {
        if (!b.fibers[i].has_waited) return "a kernel that begins early has a thread that does not wait for what is before it";
      }
    }
  }
  return "";
}

}  // namespace lockstep::test
