// What forward.cpp is written over: few, fused operations a layer. forward.cpp places the meetings of ranks that a device does not make
// within its own work. See architecture, tensor parallelism.
#pragma once

#include "common/status.h"
#include "common/step_view.h"

namespace lockstep {

class DeviceBackend {
 public:
  virtual ~DeviceBackend() = default;

  // What the ranks must sum in reduce mode after embed, out_projection and down: [count] floats.
  virtual float* partial() = 0;
  virtual size_t partial_count() const = 0;

  // Where a device joins ranks within its own work: add_embedding, add_attention and add_mlp then sum over ranks what they add, and head
  // leaves all ranks' logits in logits_whole(); or, in gather mode, the ranks do every operation together, so that it is whole when it
  // returns. forward makes no collective for them. The same on every rank of a step.
  virtual bool sums_ranks() const { return false; }
  virtual bool gathers_ranks() const { return false; }

  // Whether no rank waits for others after sampling: because that too is work that a device does in its order, and end_step writes what
  // came of it, or because it is whole, as above.
  virtual bool samples_in_order() const { return false; }

  virtual Status begin_step(const StepView& step) = 0;
  // Around everything from embed to the last layer. A device that has recorded this work in an earlier step does it again in begin_layers
  // and sets *are_done: then nothing of it is called.
  virtual Status begin_layers(bool* are_done) {
    *are_done = false;
    return Status();
  }
  virtual Status end_layers() { return Status(); }
  virtual void embed() = 0;                     // ids -> x, or this rank's part of it in partial()
  virtual void add_embedding() = 0;             // reduce: the sum becomes x; learned positions
  virtual void attention_input(int layer) = 0;  // norm(x) -> input of qkv
  virtual void qkv(int layer) = 0;
  virtual void rope_append(int layer) = 0;  // q/k norm and rotation in place; k and v into the KV cache
  // Whether that is work of its own in this step: attention may do it as it goes. The same of the two others below: the operation before
  // them may have left the input already. All ranks of a step say the same.
  virtual bool has_rope_append(int layer) const { return true; }
  virtual void attention(int layer) = 0;
  virtual void attention_merge(int layer) = 0;  // joins the pieces of split contexts -> input of out_projection
  virtual bool has_attention_merge(int layer) const { return true; }
  virtual void out_projection(int layer) = 0;  // row-parallel
  virtual void add_attention(int layer) = 0;   // joins x, where out_projection did not: reduce mode, or a norm comes between
  virtual void mlp_input(int layer) = 0;       // norm(x) -> input of gate and up; router
  virtual void gate_up(int layer) = 0;
  virtual void down_input(int layer) = 0;
  virtual bool has_down_input(int layer) const { return true; }
  virtual void down(int layer) = 0;  // row-parallel
  virtual void add_mlp(int layer) = 0;
  // Hidden states after the final norm, of the entries that ask for it, into their rows' `pooled`.
  virtual void pool() = 0;
  // Output rows first … first+count-1 (count <= kHeadRows): final norm, then this rank's logits.
  virtual void head_input(int first, int count) = 0;
  virtual void head(int first, int count) = 0;
  // reduce: this rank's logits and where those of all ranks come together; one place where there is one rank.
  virtual const float* logits_part() = 0;
  virtual size_t logits_part_count() const = 0;
  virtual float* logits_whole() = 0;
  // Around head_input, head and sample of so many rows, as begin_layers and end_layers.
  virtual Status begin_outputs(int first, int count, bool* are_done) {
    *are_done = false;
    return Status();
  }
  virtual Status end_outputs(int first, int count) { return Status(); }
  // Samples and scores the rows whose logits are there; writes ids and log-probabilities.
  virtual Status sample(int first, int count) = 0;
  virtual Status end_step(const StepView& step) = 0;

  // Whether a row-parallel result of this layer still has to be added to x.
  virtual bool adds_attention(int layer) const = 0;
  virtual bool adds_mlp(int layer) const = 0;
};

// Rows of logits that exist at a time: bounds the buffer to kHeadRows * vocab floats, and 32 rows already hide the reading of the head.
constexpr int kHeadRows = 32;

}  // namespace lockstep
