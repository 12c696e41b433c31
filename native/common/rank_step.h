// One step of a rank, on whatever device: reads the plan, runs it, reports. The same for every backend.
#pragma once

#include "common/forward.h"
#include "common/mask_maker.h"
#include "common/step_view.h"

namespace lockstep {

struct RankSeat {
  const ModelSpec* spec;
  const StepBuffers* buffers;
  StepReader* reader;
  DeviceBackend* backend;
  Communicator* communicator;
  MaskMaker* mask_maker;  // asked by rank 0
};

// Runs the plan of `epoch` and writes its result. On a fault, and `ready` may be one already, the other ranks are woken with kAborted.
Status run_step(const RankSeat& seat, int epoch, Status ready);

// Its parts, for ranks that begin a step before the last has ended: what the reader and the result are told at the end, and the way of a
// fault to the others and into the result.
void end_of_step(const RankSeat& seat, int epoch, const PhaseTimes& times);
Status told(const RankSeat& seat, int epoch, Status status);

}  // namespace lockstep
