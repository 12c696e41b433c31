#include "common/forward.h"

#include <algorithm>
#include <chrono>

namespace lockstep {
namespace {

class PhaseClock {
 public:
  explicit PhaseClock(PhaseTimes* times) : times_(times), start_(Clock::now()), last_(start_) {}
  // Books the time since the last call on `phase`.
  void book(PhaseTimes::Phase phase) {
    const Clock::time_point now = Clock::now();
    times_->us[phase] += us(now - last_);
    last_ = now;
  }
  void finish() { times_->us[PhaseTimes::kTotal] = us(Clock::now() - start_); }

 private:
  using Clock = std::chrono::steady_clock;
  static double us(Clock::duration d) { return std::chrono::duration<double, std::micro>(d).count(); }
  PhaseTimes* times_;
  Clock::time_point start_, last_;
};

// A row-parallel result is complete.
Status join(DeviceBackend& backend, Communicator& communicator) {
  if (backend.sums_ranks()) return Status();
  return communicator.all_reduce(backend.partial(), backend.partial_count());
}

Status attention_block(int layer, DeviceBackend& backend, Communicator& communicator, PhaseClock& clock) {
  backend.attention_input(layer);
  backend.qkv(layer);
  clock.book(PhaseTimes::kLinear);
  if (backend.has_rope_append(layer)) backend.rope_append(layer);
  backend.attention(layer);
  if (backend.has_attention_merge(layer)) backend.attention_merge(layer);
  clock.book(PhaseTimes::kAttention);
  backend.out_projection(layer);
  LOCKSTEP_RETURN_IF_ERROR(join(backend, communicator));
  if (backend.adds_attention(layer)) backend.add_attention(layer);
  return Status();
}

Status mlp_block(int layer, DeviceBackend& backend, Communicator& communicator, PhaseClock& clock) {
  backend.mlp_input(layer);
  backend.gate_up(layer);
  if (backend.has_down_input(layer)) backend.down_input(layer);
  backend.down(layer);
  LOCKSTEP_RETURN_IF_ERROR(join(backend, communicator));
  if (backend.adds_mlp(layer)) backend.add_mlp(layer);
  clock.book(PhaseTimes::kLinear);
  return Status();
}

Status layers(const ModelSpec& spec, DeviceBackend& backend, Communicator& communicator, PhaseClock& clock) {
  backend.embed();
  LOCKSTEP_RETURN_IF_ERROR(join(backend, communicator));
  backend.add_embedding();
  const int num_layers = static_cast<int>(spec.layers.size());
  for (int layer = 0; layer < num_layers; layer++) {
    LOCKSTEP_RETURN_IF_ERROR(attention_block(layer, backend, communicator, clock));
    LOCKSTEP_RETURN_IF_ERROR(mlp_block(layer, backend, communicator, clock));
  }
  return Status();
}

Status head(int first, int count, DeviceBackend& backend, Communicator& communicator) {
  backend.head_input(first, count);
  backend.head(first, count);
  if (communicator.world_size == 1 || backend.gathers_ranks()) return Status();
  return communicator.all_gather(backend.logits_part(), backend.logits_part_count(), backend.logits_whole());
}

Status head_and_sample(const StepView& step, DeviceBackend& backend, Communicator& communicator, PhaseClock& clock) {
  const int num_outputs = static_cast<int>(step.outputs.size());
  for (int first = 0; first < num_outputs; first += kHeadRows) {
    const int count = std::min(kHeadRows, num_outputs - first);
    bool are_done = false;
    LOCKSTEP_RETURN_IF_ERROR(backend.begin_outputs(first, count, &are_done));
    if (!are_done) {
      LOCKSTEP_RETURN_IF_ERROR(head(first, count, backend, communicator));
      clock.book(PhaseTimes::kHead);
      LOCKSTEP_RETURN_IF_ERROR(backend.sample(first, count));
    }
    LOCKSTEP_RETURN_IF_ERROR(backend.end_outputs(first, count));
    // The next rows overwrite the logits; and no rank may read a sampled id before it is written.
    if (!backend.samples_in_order()) LOCKSTEP_RETURN_IF_ERROR(communicator.barrier());
    clock.book(PhaseTimes::kSample);
  }
  return Status();
}

Status check_plan(const ModelSpec& spec, const StepView& step) {
  if (spec.learned_positions) {
    for (const int32_t position : step.slot_position) {
      if (position + spec.learned_offset >= spec.learned_count)
        return Status(Fault::kBadPlan, "bad step plan: a position beyond the model's learned ones");
    }
  }
  for (const StepEntry& entry : step.entries) {
    if (!spec.causal && entry.position > 0)
      return Status(Fault::kBadPlan, "bad step plan: a part of a sequence whose tokens see each other");
  }
  return Status();
}

}  // namespace

Status begin_forward(const ModelSpec& spec, const StepView& step, DeviceBackend& backend, Communicator& communicator, PhaseTimes* times) {
  *times = PhaseTimes();
  PhaseClock clock(times);
  LOCKSTEP_RETURN_IF_ERROR(check_plan(spec, step));
  LOCKSTEP_RETURN_IF_ERROR(backend.begin_step(step));
  if (step.num_tokens > 0) {
    bool are_done = false;
    LOCKSTEP_RETURN_IF_ERROR(backend.begin_layers(&are_done));
    if (!are_done) LOCKSTEP_RETURN_IF_ERROR(layers(spec, backend, communicator, clock));
    LOCKSTEP_RETURN_IF_ERROR(backend.end_layers());
    if (step.pools) {
      backend.pool();
      clock.book(PhaseTimes::kHead);
    }
    LOCKSTEP_RETURN_IF_ERROR(head_and_sample(step, backend, communicator, clock));
  }
  clock.finish();
  return Status();
}

Status forward(const ModelSpec& spec, const StepView& step, DeviceBackend& backend, Communicator& communicator, PhaseTimes* times) {
  const auto start = std::chrono::steady_clock::now();
  communicator.take_wait_us();
  LOCKSTEP_RETURN_IF_ERROR(begin_forward(spec, step, backend, communicator, times));
  LOCKSTEP_RETURN_IF_ERROR(backend.end_step(step));
  // A plan's rows may be given away once the step is reported: nobody reads them after this.
  LOCKSTEP_RETURN_IF_ERROR(communicator.barrier());
  times->us[PhaseTimes::kWait] = communicator.take_wait_us();
  times->us[PhaseTimes::kTotal] = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
  return Status();
}

}  // namespace lockstep
