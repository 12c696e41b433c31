#include "common/rank_step.h"

#include <algorithm>
#include <utility>

namespace lockstep {
namespace {

Status read_and_run(const RankSeat& seat, int epoch) {
  const int rank = seat.communicator->rank;
  LOCKSTEP_RETURN_IF_ERROR(seat.reader->read(epoch));
  if (rank == 0) seat.reader->ask_masks(seat.mask_maker);
  PhaseTimes times;
  LOCKSTEP_RETURN_IF_ERROR(forward(*seat.spec, seat.reader->view(), *seat.backend, *seat.communicator, &times));
  end_of_step(seat, epoch, times);
  return Status();
}

}  // namespace

void end_of_step(const RankSeat& seat, int epoch, const PhaseTimes& times) {
  const int rank = seat.communicator->rank;
  seat.reader->commit(epoch, rank == 0);
  double* out = seat.buffers->result[epoch & 1].timesUs + static_cast<size_t>(rank) * 8;
  std::copy(times.us, times.us + PhaseTimes::kNumPhases, out);
}

Status told(const RankSeat& seat, int epoch, Status status) {
  if (!status.ok()) {
    // The reason, and not that the others were woken by it, is what the result shows; written first, since the others report at once.
    if (status.fault() != Fault::kAborted) seat.buffers->result[epoch & 1].resultHeader[1] = static_cast<int32_t>(status.fault());
    seat.communicator->abort();
  }
  return status;
}

Status run_step(const RankSeat& seat, int epoch, Status ready) {
  return told(seat, epoch, ready.ok() ? read_and_run(seat, epoch) : std::move(ready));
}

}  // namespace lockstep
