#include "cuda/peers.h"

#include <algorithm>
#include <climits>
#include <cstring>

namespace lockstep::cuda {
namespace {

// While it is not known whether memory is reached, nobody waits for long.
constexpr std::chrono::milliseconds kProofTimeout(2000);
// Sums of so many bytes of a part and less are taken in one shot where nothing is measured (vLLM: 512 KiB up to four GPUs, 256 beyond).
constexpr size_t kOneShotBytes = 256 << 10;
constexpr int kMeasuredRows[] = {1, 8, 64, 512};
constexpr int kMeasuredTimes = 4;

}  // namespace

void PeerGroup::abort() noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  is_aborted_ = true;
  for (uint32_t* stop : stops_) {
    if (stop != nullptr) __atomic_store_n(stop, kPeerStopped, __ATOMIC_RELEASE);
  }
}

Peers::Peers(PeerGroup* group, Communicator* host, const Device* device, const OwnStream* stream)
    : group_(group), host_(host), device_(device), stream_(stream) {}

Peers::~Peers() {
  if (links_.stop == nullptr) return;
  const std::lock_guard<std::mutex> lock(group_->mutex_);
  group_->stops_[links_.rank] = nullptr;
}

void Peers::abandon_memory() {
  for (Memory* memory : {&counters_, &stop_, &proof_}) memory->abandon();
}

WaitBounds Peers::bounds() const {
  return {[this] { return health(); }, group_->timeout_};
}

Status Peers::health() const {
  if (links_.stop == nullptr || __atomic_load_n(links_.stop, __ATOMIC_ACQUIRE) != kPeerLate) return Status();
  return Status(Fault::kTimeout, "another GPU made no progress for " + std::to_string(links_.timeout_ns / 1000000) + " ms");
}

int Peers::proof_rows() const { return std::min(own_.rows, 2 * group_->world_size_ + 1); }

// All of it before any rank's kernels wait for another's: to take pinned memory may wait for the device.
Status Peers::take_memory() {
  constexpr size_t kArrived = kMaxPeers * kPeerBlocks;
  constexpr size_t kBytes = sizeof(uint32_t) * (kArrived + kPeerBlocks);
  LOCKSTEP_RETURN_IF_ERROR(counters_.reserve_device(*device_, kBytes, "meetings"));
  LOCKSTEP_RETURN_IF_ERROR(stop_.reserve_pinned(*device_, sizeof(uint32_t), "a word to stop meetings"));
  LOCKSTEP_RETURN_IF_ERROR(proof_.reserve_pinned(*device_, sizeof(float) * proof_rows() * own_.ld, "a first sum"));
  LOCKSTEP_RETURN_IF_ERROR(device_->check(device_->runtime().fill(counters_.data(), 0, kBytes, stream_->get()), "meetings"));
  LOCKSTEP_RETURN_IF_ERROR(stream_->wait({nullptr, group_->timeout_}));
  links_.rank = host_->rank;
  links_.world = group_->world_size_;
  links_.met = counters_.as<uint32_t>() + kArrived;
  links_.stop = stop_.as<uint32_t>();
  links_.timeout_ns = std::chrono::nanoseconds(kProofTimeout).count();
  *links_.stop = 0;
  const std::lock_guard<std::mutex> lock(group_->mutex_);
  group_->stops_[links_.rank] = links_.stop;
  if (group_->is_aborted_) *links_.stop = kPeerStopped;
  return Status();
}

bool Peers::reaches_all() const {
  const Runtime& runtime = device_->runtime();
  bool reaches = true;
  for (int peer = 0; peer < group_->world_size_; peer++) {
    if (peer == device_->index()) continue;
    int can = 0;
    if (runtime.can_access_peer(&can, device_->index(), peer) != kSuccess || can == 0 || runtime.enable_peer(peer) != kSuccess)
      reaches = false;
  }
  (void)runtime.take_last_error();
  return reaches;
}

// Whether it is so on every rank; each has written its own before.
Status Peers::all(bool PeerGroup::Seat::*what, bool* are) {
  LOCKSTEP_RETURN_IF_ERROR(host_->barrier());
  *are = true;
  for (int r = 0; r < group_->world_size_; r++) *are = *are && group_->seats_[r].*what;
  return host_->barrier();
}

// Whole numbers, whose sum is the same in every order.
Status Peers::prove(bool two_shots, bool* is_right) {
  const size_t count = static_cast<size_t>(proof_rows()) * own_.ld;
  auto* values = proof_.as<float>();
  const auto value_at = [](size_t i) { return static_cast<float>(i % 1021 + 1); };
  for (size_t i = 0; i < count; i++) values[i] = value_at(i) * static_cast<float>(links_.rank + 1);
  const Runtime& runtime = device_->runtime();
  const auto copy = [&](void* to, const void* from) {
    return device_->check(runtime.copy(to, from, count * sizeof(float), stream_->get()), "a first sum");
  };
  LOCKSTEP_RETURN_IF_ERROR(copy(own_.part[0], values));
  PeerJoinArgs args{};
  args.two_shots = two_shots;
  args.rows = proof_rows();
  args.n = own_.n;
  args.ld = own_.ld;
  args.x = own_.part[1];
  LOCKSTEP_RETURN_IF_ERROR(device_->check(join(args, 0), "a first sum"));
  LOCKSTEP_RETURN_IF_ERROR(copy(values, own_.part[1]));
  LOCKSTEP_RETURN_IF_ERROR(stream_->wait({nullptr, group_->timeout_}));
  const int world = group_->world_size_;
  *is_right = *links_.stop == 0;
  for (size_t i = 0; i < count; i++) *is_right = *is_right && values[i] == value_at(i) * static_cast<float>(world * (world + 1) / 2);
  return host_->barrier();  // the parts have been read
}

Status Peers::open(const PeerMemory& memory) {
  const int world = group_->world_size_;
  if (world == 1) return Status();
  if (world > kMaxPeers) {
    problem_ = "more than " + std::to_string(kMaxPeers) + " GPUs";
    return Status();
  }
  own_ = memory;
  LOCKSTEP_RETURN_IF_ERROR(take_memory());
  PeerGroup::Seat& seat = group_->seats_[links_.rank];
  seat.memory = memory;
  seat.arrived = counters_.as<uint32_t>();
  seat.reaches_all = reaches_all();
  bool are = false;
  LOCKSTEP_RETURN_IF_ERROR(all(&PeerGroup::Seat::reaches_all, &are));
  if (!are) {
    problem_ = "the GPUs do not reach each other's memory";
    return Status();
  }
  for (int r = 0; r < world; r++) links_.arrived[r] = group_->seats_[r].arrived;
  seat.sums_right = true;
  for (const bool two_shots : {false, true}) {
    bool is_right = false;
    LOCKSTEP_RETURN_IF_ERROR(prove(two_shots, &is_right));
    seat.sums_right = seat.sums_right && is_right;
  }
  LOCKSTEP_RETURN_IF_ERROR(all(&PeerGroup::Seat::sums_right, &are));
  if (!are) {
    problem_ = "sums over the GPUs' memory came out wrong, though the driver says that they reach it";
    forget_late();
    return Status();
  }
  links_.timeout_ns = std::chrono::nanoseconds(group_->timeout_).count();
  one_shot_max_ = static_cast<int>(kOneShotBytes / (sizeof(float) * own_.ld));
  two_shots_max_ = INT_MAX;
  is_open_ = true;
  return Status();
}

// That a first sum was late is no failure of the steps, which do without.
void Peers::forget_late() {
  const std::lock_guard<std::mutex> lock(group_->mutex_);
  __atomic_store_n(links_.stop, group_->is_aborted_ ? kPeerStopped : 0, __ATOMIC_RELEASE);
}

Status Peers::time_of(JoinWay way, int rows, Communicator* library, double* us) {
  std::chrono::steady_clock::time_point start;
  // The first does not count: the ranks come together in it.
  for (int i = 0; i <= kMeasuredTimes; i++) {
    if (i == 1) start = std::chrono::steady_clock::now();
    if (way == JoinWay::kLibrary) {
      LOCKSTEP_RETURN_IF_ERROR(library->all_reduce(own_.part[i % 2], static_cast<size_t>(rows) * own_.ld));
    } else {
      PeerJoinArgs args{};
      args.two_shots = way == JoinWay::kTwoShots;
      args.rows = rows;
      args.n = own_.n;
      args.ld = own_.ld;
      args.x = own_.sum;
      LOCKSTEP_RETURN_IF_ERROR(device_->check(join(args, i % 2), "a measured sum"));
    }
    if (i == 0) LOCKSTEP_RETURN_IF_ERROR(stream_->wait(bounds()));
  }
  LOCKSTEP_RETURN_IF_ERROR(stream_->wait(bounds()));
  *us = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count() / kMeasuredTimes;
  return host_->barrier();
}

// The slowest rank's times count, so that all come to the same table.
Status Peers::measure(Communicator* library) {
  constexpr JoinWay kWays[] = {JoinWay::kOneShot, JoinWay::kTwoShots, JoinWay::kLibrary};
  one_shot_max_ = two_shots_max_ = 0;
  bool one_shot_wins = true;
  bool library_loses = true;
  for (const int rows : kMeasuredRows) {
    if (rows > own_.rows) break;
    for (const JoinWay way : kWays)
      LOCKSTEP_RETURN_IF_ERROR(time_of(way, rows, library, group_->seats_[links_.rank].times_us + static_cast<int>(way)));
    LOCKSTEP_RETURN_IF_ERROR(host_->barrier());
    double slowest[3] = {};
    for (int r = 0; r < group_->world_size_; r++) {
      for (int way = 0; way < 3; way++) slowest[way] = std::max(slowest[way], group_->seats_[r].times_us[way]);
    }
    LOCKSTEP_RETURN_IF_ERROR(host_->barrier());
    one_shot_wins = one_shot_wins && slowest[0] <= std::min(slowest[1], slowest[2]);
    library_loses = library_loses && std::min(slowest[0], slowest[1]) <= slowest[2];
    if (one_shot_wins) one_shot_max_ = rows;
    if (library_loses) two_shots_max_ = rows;
  }
  return Status();
}

JoinWay Peers::way_for(int rows) const {
  if (rows <= one_shot_max_) return JoinWay::kOneShot;
  return rows <= two_shots_max_ ? JoinWay::kTwoShots : JoinWay::kLibrary;
}

Error Peers::join(PeerJoinArgs args, int turn) const {
  args.links = links_;
  args.sum = own_.sum;
  for (int r = 0; r < links_.world; r++) args.part[r] = group_->seats_[r].memory.part[turn];
  return device_->runtime().kernels->peer_join(args, stream_->get());
}

Error Peers::gather(float* whole, size_t count) const {
  PeerGatherArgs args{};
  args.links = links_;
  args.count = count;
  args.whole = whole;
  for (int r = 0; r < links_.world; r++) args.part[r] = group_->seats_[r].memory.logits;
  return device_->runtime().kernels->peer_gather(args, stream_->get());
}

}  // namespace lockstep::cuda
