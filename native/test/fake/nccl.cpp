// A libnccl for tests: the symbols that native/nccl uses. Ranks are threads; a collective is work in each rank's stream that is not ready
// until every rank has come to its own, and sums in rank order. It holds its callers to NCCL's rules: one configuration struct, every
// rank of a communicator the same calls, nothing on one whose last call is still in progress.
#include "fake/nccl.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "fake/nccl_device.h"

using lockstep::cuda::Error;
using lockstep::cuda::Stream;
using lockstep::test::FakeNccl;
using lockstep::test::Work;

namespace {

constexpr int kSuccess = 0, kInternalError = 3, kInvalidArgument = 4, kInvalidUsage = 5, kInProgress = 7;
constexpr int kFloat32 = 7, kSum = 0;

struct Id {
  char bytes[128];
};

// The head of ncclConfig_t.
struct Config {
  size_t size;
  unsigned magic, version;
  int blocking;
};

// One collective of all ranks.
struct Round {
  std::vector<const float*> from;
  std::vector<float*> to;
  size_t count = 0;
  bool gathers = false;
  int joined = 0;
  bool is_done = false;
};

struct Group {
  std::mutex mutex;
  int size = 0;
  int here = 0;       // ranks that have called init
  int finalized = 0;  // that have called finalize
  std::map<long, Round> rounds;
  lockstep::test::NcclSeats seats;
};

FakeNccl& fake() {
  static FakeNccl one;
  return one;
}

std::mutex groups_mutex;
std::map<std::string, std::shared_ptr<Group>> groups;
int next_id = 1;

bool fails(const char* function, int* result) {
  const std::lock_guard<std::mutex> lock(fake().mutex);
  const auto found = fake().failures.find(function);
  if (found == fake().failures.end()) return false;
  *result = found->second;
  fake().failures.erase(found);
  return true;
}

}  // namespace

struct FakeComm {
  std::shared_ptr<Group> group;
  int rank;
  long round = 0;  // of the last collective that ran
  int polls = 0;   // until what was begun is no longer in progress
  bool is_finalizing = false;
  std::atomic<bool> is_aborted{false};
  std::unique_ptr<lockstep::test::NcclSeat> seat;  // where collectives are kernels
};

namespace {

void finish(Round* round) {
  const size_t ranks = round->from.size();
  std::vector<float> result(round->gathers ? round->count * ranks : round->count);
  if (round->gathers) {
    for (size_t r = 0; r < ranks; r++) std::memcpy(result.data() + r * round->count, round->from[r], round->count * sizeof(float));
  } else {
    for (size_t i = 0; i < round->count; i++) {
      float sum = round->from[0][i];
      for (size_t r = 1; r < ranks; r++) sum += round->from[r][i];
      result[i] = sum;
    }
  }
  for (float* to : round->to) std::memcpy(to, result.data(), result.size() * sizeof(float));
  round->is_done = true;
}

// A collective in a stream; run again when a graph is.
struct Collective {
  std::shared_ptr<FakeComm> comm;
  const float* from;
  float* to;
  size_t count;
  bool gathers;
  long number = 0;  // of the round that it has joined; 0: none

  Error run() {
    if (comm->is_aborted) return kSuccess;
    if (fake().hanging_rank == comm->rank) return lockstep::cuda::kNotReady;
    Group& group = *comm->group;
    const std::lock_guard<std::mutex> lock(group.mutex);
    if (number == 0) {
      number = ++comm->round;
      Round& round = group.rounds[number];
      if (round.joined == 0) {
        round.from.resize(group.size);
        round.to.resize(group.size);
        round.count = count;
        round.gathers = gathers;
      }
      if (round.count != count || round.gathers != gathers) return lockstep::cuda::kLaunchFailure;  // ranks that disagree
      round.from[comm->rank] = from;
      round.to[comm->rank] = to;
      if (++round.joined == group.size) finish(&round);
    }
    if (!group.rounds[number].is_done) return lockstep::cuda::kNotReady;
    if (--group.rounds[number].joined == 0) group.rounds.erase(number);
    number = 0;
    return lockstep::cuda::kSuccess;
  }
};

std::mutex comms_mutex;
std::map<FakeComm*, std::shared_ptr<FakeComm>> comms;

std::shared_ptr<FakeComm> find(FakeComm* comm) {
  const std::lock_guard<std::mutex> lock(comms_mutex);
  const auto found = comms.find(comm);
  return found == comms.end() ? nullptr : found->second;
}

void forget(FakeComm* comm) {
  const std::lock_guard<std::mutex> lock(comms_mutex);
  comms.erase(comm);
  fake().communicators--;
}

int launch(FakeComm* handle, const void* from_bytes, void* to_bytes, size_t count, bool gathers, Stream stream) {
  const std::shared_ptr<FakeComm> comm = find(handle);
  if (!comm) return kInvalidArgument;
  if (comm->polls > 0 || comm->is_finalizing) return kInvalidUsage;
  const auto* from = static_cast<const float*>(from_bytes);
  auto* to = static_cast<float*>(to_bytes);
  if (comm->seat) {
    const Error error = gathers ? comm->seat->all_gather(from, to, count, stream) : comm->seat->all_reduce(from, to, count, stream);
    if (error != lockstep::cuda::kSuccess) return 1;
    comm->polls = fake().polls_in_progress;
    return comm->polls > 0 ? kInProgress : kSuccess;
  }
  const size_t bytes = count * sizeof(float);
  if (!fake().can_use(stream, from, bytes) || !fake().can_use(stream, to, gathers ? bytes * comm->group->size : bytes))
    return kInvalidArgument;
  auto collective = std::make_shared<Collective>();
  collective->comm = comm;
  collective->from = from;
  collective->to = to;
  collective->count = count;
  collective->gathers = gathers;
  if (fake().put(stream, [collective] { return collective->run(); }) != lockstep::cuda::kSuccess) return 1;
  comm->polls = fake().polls_in_progress;
  return comm->polls > 0 ? kInProgress : kSuccess;
}

}  // namespace

extern "C" {

FakeNccl* fakeNccl() { return &fake(); }

int ncclGetVersion(int* version) {
  *version = fake().version;
  return kSuccess;
}

int ncclGetUniqueId(Id* id) {
  int result = kSuccess;
  if (fails("ncclGetUniqueId", &result)) return result;
  const std::lock_guard<std::mutex> lock(groups_mutex);
  *id = {};
  const std::string name = "group " + std::to_string(next_id++);
  std::memcpy(id->bytes, name.c_str(), name.size());
  groups[name] = std::make_shared<Group>();
  return kSuccess;
}

int ncclCommInitRankConfig(FakeComm** out, int ranks, Id id, int rank, Config* config) {
  int result = kSuccess;
  if (fails("ncclCommInitRankConfig", &result)) return result;
  if (config->magic != 0xcafebeef || config->blocking != 0 || config->size < sizeof(Config)) return kInvalidArgument;
  std::shared_ptr<Group> group;
  {
    const std::lock_guard<std::mutex> lock(groups_mutex);
    const auto found = groups.find(id.bytes);
    if (found == groups.end()) return kInvalidArgument;
    group = found->second;
  }
  const std::lock_guard<std::mutex> lock(group->mutex);
  group->size = ranks;
  group->here++;
  auto comm = std::make_shared<FakeComm>();
  comm->group = group;
  comm->rank = rank;
  comm->polls = fake().polls_in_progress;
  if (fake().runtime != nullptr) {
    comm->seat.reset(lockstep::test::NcclSeat::take(fake().runtime, rank, ranks, &group->seats));
    if (!comm->seat) return kInternalError;
  }
  *out = comm.get();
  const std::lock_guard<std::mutex> all(comms_mutex);
  comms.emplace(comm.get(), comm);
  fake().communicators++;
  return kInProgress;
}

int ncclCommGetAsyncError(FakeComm* handle, int* state) {
  const std::shared_ptr<FakeComm> comm = find(handle);
  if (!comm) return kInvalidArgument;
  int result = kSuccess;
  if (fails("ncclCommGetAsyncError", &result)) return result;
  *state = fake().async_error;
  if (*state != kSuccess) return kSuccess;
  const std::lock_guard<std::mutex> lock(comm->group->mutex);
  const bool all_here = comm->group->here == comm->group->size && (!comm->is_finalizing || comm->group->finalized == comm->group->size);
  if (comm->polls > 0 && all_here) comm->polls--;
  *state = comm->polls > 0 || !all_here ? kInProgress : kSuccess;
  return kSuccess;
}

int ncclCommFinalize(FakeComm* handle) {
  const std::shared_ptr<FakeComm> comm = find(handle);
  if (!comm) return kInvalidArgument;
  int result = kSuccess;
  if (fails("ncclCommFinalize", &result)) return result;
  const std::lock_guard<std::mutex> lock(comm->group->mutex);
  if (comm->polls > 0) return kInvalidUsage;
  comm->is_finalizing = true;
  comm->group->finalized++;
  comm->polls = fake().polls_in_progress;
  fake().finalizes++;
  return kInProgress;
}

int ncclCommDestroy(FakeComm* handle) {
  const std::shared_ptr<FakeComm> comm = find(handle);
  if (!comm || !comm->is_finalizing) return kInvalidUsage;
  forget(handle);
  return kSuccess;
}

int ncclCommAbort(FakeComm* handle) {
  while (fake().abort_hangs) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const std::shared_ptr<FakeComm> comm = find(handle);
  if (!comm) return kInvalidArgument;
  comm->is_aborted = true;
  if (comm->seat) comm->seat->abort();
  fake().aborts++;
  forget(handle);
  return kSuccess;
}

int ncclAllReduce(const void* from, void* to, size_t count, int type, int op, FakeComm* comm, Stream stream) {
  int result = kSuccess;
  if (fails("ncclAllReduce", &result)) return result;
  if (type != kFloat32 || op != kSum) return kInvalidArgument;
  return launch(comm, from, to, count, false, stream);
}

int ncclAllGather(const void* from, void* to, size_t count, int type, FakeComm* comm, Stream stream) {
  int result = kSuccess;
  if (fails("ncclAllGather", &result)) return result;
  if (type != kFloat32) return kInvalidArgument;
  return launch(comm, from, to, count, true, stream);
}

const char* ncclGetErrorString(int result) {
  return result == kInternalError ? "internal error - please report this issue to the NCCL developers" : "some NCCL error";
}

#ifndef FAKE_NCCL_WITHOUT_LAST_ERROR
const char* ncclGetLastError(FakeComm*) { return "as the test asked"; }
#endif

}  // extern "C"
