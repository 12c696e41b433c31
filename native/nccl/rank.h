// A rank on a GPU: its device, its backend and how it meets the others. Load once, then step after step; everything but the group's abort()
// is called from the rank's own thread.
//
// While a step runs, the next is put behind it as soon as its plan is there: so the device goes from one to the other without the host. The
// ids that the one samples and the other reads stay on the device.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "common/rank_step.h"
#include "cuda/backend.h"
#include "nccl/communicator.h"

namespace lockstep::nccl {

// Who sums over ranks.
enum class SumChoice : uint8_t {
  kQuickest,     // measured at start: kernels that read the other GPUs' memory, where they reach it, or NCCL
  kPeersAlone,   // the kernels: in rank order, so that the same bits come every time
  kLibraryAlone  // NCCL
};

// What the ranks of a model share; all of it outlives them.
struct RankContext {
  const cuda::Runtime* runtime;
  Group* group;
  const ModelSpec* spec;
  const StepBuffers* buffers;
  GrammarStore* grammars;
  MaskMaker* mask_maker;
  VocabularyOps vocabulary;
  cuda::Type kv_type;
  SumChoice sums = SumChoice::kQuickest;
  std::string no_library;                       // why there is none, for ranks that need it
  bool records = true;                          // see cuda::BackendParts
  const cuda::LtFunctions* cublaslt = nullptr;  // null: products are our own kernels'
  cuda::QuantizeBlocks quantize;
};

class GpuRank {
 public:
  // `host`: the seat at which this rank's thread meets the others. The device is the one that has the rank's number.
  GpuRank(const RankContext& context, Communicator* host, int rank);
  ~GpuRank();
  // Returns when every rank has come this far, so that none steps before the others have loaded.
  Status load(const RankShard& shard, const WeightMap& weights);
  Status step(int epoch);
  // Steps that were put behind one that still ran.
  long steps_ahead() const { return steps_ahead_; }
  size_t weight_bytes() const { return weights_.memory.bytes(); }

 private:
  Status join_others();
  RankSeat seat();
  // Puts the step of `epoch` into the stream; with `is_ahead` behind the one before, which still runs.
  Status launch(int epoch, bool is_ahead);
  // The next step, when its plan is there and nothing that it needs of this one has to come by way of the host.
  Status launch_next(int epoch);
  Status run(int epoch);

  const RankContext context_;
  const cuda::Device device_;
  cuda::OwnStream stream_;
  cuda::Peers peers_;
  cuda::LtProducts products_;
  NcclCommunicator communicator_;
  cuda::Weights weights_;
  std::unique_ptr<cuda::CudaBackend> backend_;
  StepReader reader_;
  bool is_loaded_ = false;
  long steps_ahead_ = 0;
  int launched_ = 0;  // the last epoch that was
  PhaseTimes times_[kNumSlots];
  std::chrono::steady_clock::time_point begun_[kNumSlots];
};

}  // namespace lockstep::nccl
