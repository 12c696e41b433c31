// A rank's life: load once, then step after step. Everything but abort() is called from the rank's own thread.
#pragma once

#include <memory>
#include <string>

#include "common/rank_step.h"
#include "cpu/backend.h"
#include "cpu/group.h"

namespace lockstep::cpu {

class Rank {
 public:
  Rank(std::shared_ptr<Group> group, int rank);
  ~Rank();
  // `packed`: where the packed weights may lie already.
  Status load(const RankShard& shard, const WeightMap& weights, PackedSource* packed);
  // Runs the plan of `epoch` and writes its result. On a fault the other ranks are woken with kAborted.
  Status step(int epoch);
  size_t weight_bytes() const { return weights_ ? weights_->arena.bytes() : 0; }

 private:
  const std::shared_ptr<Group> group_;
  const int rank_;
  ShmCommunicator communicator_;
  Threads threads_;
  std::shared_ptr<Weights> weights_;
  std::unique_ptr<CpuBackend> backend_;
  StepReader reader_;
};

}  // namespace lockstep::cpu
