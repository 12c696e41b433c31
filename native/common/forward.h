// The forward pass, written once over DeviceBackend and Communicator.
#pragma once

#include "common/backend.h"
#include "common/communicator.h"
#include "common/model_spec.h"

namespace lockstep {

// Microseconds of one step by phase; the order is that of `timesUs` in src/step/layout.ts.
struct PhaseTimes {
  enum Phase { kTotal, kAttention, kLinear, kHead, kSample, kWait, kNumPhases };
  double us[kNumPhases] = {};
};

// Runs the step that `step` describes. Every rank of the group calls it with the same plan.
Status forward(const ModelSpec& spec, const StepView& step, DeviceBackend& backend, Communicator& communicator, PhaseTimes* times);

// Its work, without the end: for devices that work in their own order, and end a step when the next may have begun.
Status begin_forward(const ModelSpec& spec, const StepView& step, DeviceBackend& backend, Communicator& communicator, PhaseTimes* times);

}  // namespace lockstep
