// Ranks whose devices reach each other's memory, each a thread of this process: what they read of each other, and whether it may be relied
// on. The kernels are in peer.cu. One Peers a rank, used on the rank's own thread; everything but abort().
#pragma once

#include <array>
#include <mutex>
#include <string>

#include "common/communicator.h"
#include "cuda/device.h"
#include "cuda/kernels.h"

namespace lockstep::cuda {

// What a rank lets the others read, in its device's memory.
struct PeerMemory {
  float* part[2];   // [rows, ld] each, used in turn
  float* logits;    // this rank's part of them
  int rows, n, ld;  // of a part
  float* sum;       // [rows, ld] not for others: where a sum is kept that is no part
};

// What the ranks of a group share.
class PeerGroup {
 public:
  PeerGroup(int world_size, std::chrono::milliseconds timeout) : world_size_(world_size), timeout_(timeout) {}
  // From any thread: every kernel that waits for another rank goes on without, now and later.
  void abort() noexcept;

 private:
  friend class Peers;
  // Written by its rank before a meeting of the threads, read by the others behind it.
  struct Seat {
    PeerMemory memory{};
    uint32_t* arrived = nullptr;
    bool reaches_all = false, sums_right = false;
    double times_us[3] = {};
  };
  const int world_size_;
  const std::chrono::milliseconds timeout_;
  std::array<Seat, kMaxPeers> seats_;
  std::mutex mutex_;
  bool is_aborted_ = false;
  std::array<uint32_t*, kMaxPeers> stops_{};  // pinned words; null: the rank is gone, or not here yet
};

// How the parts of a step's rows are summed.
enum class JoinWay : uint8_t { kOneShot, kTwoShots, kLibrary };

class Peers {
 public:
  // `host`: where the ranks' threads meet. The stream is that of the rank's work.
  Peers(PeerGroup* group, Communicator* host, const Device* device, const OwnStream* stream);
  ~Peers();
  // All ranks come. Afterwards all say the same: that each reaches every other, as sums over their memory have shown, or `problem`.
  Status open(const PeerMemory& memory);
  bool is_open() const { return is_open_; }
  const std::string& problem() const { return problem_; }
  // All ranks' threads come, as before work that waits for others follows what a device may not do beside such work.
  Status meet() const { return host_->barrier(); }
  // All ranks come: which way is the quickest for how many rows, where `library` sums them as well. Without it the table is fixed, and the
  // library never taken.
  Status measure(Communicator* library);
  JoinWay way_for(int rows) const;

  // Of the parts of turn 0 or 1; what the arguments lack is filled in.
  Error join(PeerJoinArgs args, int turn) const;
  Error gather(float* whole, size_t count) const;

  // Not ok: a kernel has waited for another rank for too long.
  Status health() const;
  void abandon_memory();

 private:
  // Rows of a first sum.
  int proof_rows() const;
  Status take_memory();
  bool reaches_all() const;
  Status prove(bool two_shots, bool* is_right);
  void forget_late();
  Status time_of(JoinWay way, int rows, Communicator* library, double* us);
  WaitBounds bounds() const;
  Status all(bool PeerGroup::Seat::*what, bool* are);

  PeerGroup* const group_;
  Communicator* const host_;
  const Device* const device_;
  const OwnStream* const stream_;
  PeerLinks links_{};
  PeerMemory own_{};
  Memory counters_, stop_;
  Memory proof_;  // pinned, [proof_rows, ld]: kept, since giving it back may wait for the device, and its work for this rank
  std::string problem_;
  bool is_open_ = false;
  int one_shot_max_ = 0;  // rows
  int two_shots_max_ = 0;
};

}  // namespace lockstep::cuda
