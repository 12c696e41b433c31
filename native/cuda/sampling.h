// A rank's sampling on its device: what a call's outputs ask for goes up in one copy (and one more where there are masks), the kernels of
// sample.cu choose, and ids and what log-probabilities are made of come down. Nothing waits for the device between. The id that a sequence
// sampled last, and the tokens that penalties count, stay on the device.
//
// Every rank samples all rows, from logits that have been gathered: all come to the same ids without another meeting.
#pragma once

#include <algorithm>
#include <vector>

#include "common/backend.h"
#include "common/output_sampler.h"
#include "cuda/device.h"
#include "cuda/kernels.h"

namespace lockstep::cuda {

// The gathered logits of a call: see join_vocabulary.
struct LogitsParts {
  const float* whole;  // [world, kHeadRows, ld]
  int world, ld;
};

class DeviceSampler {
 public:
  // What the rows of a call ask for decides which kernels run: so many different sets of them.
  static constexpr unsigned kFeatureSets = 16;

  DeviceSampler(const StepDims& dims, int vocab, int fixed_bits) : dims_(dims), vocab_(vocab), fixed_bits_(fixed_bits) {}
  size_t device_bytes() const;
  // Device and stream outlive this.
  Status init(const Device& device, const OwnStream& stream, const WaitBounds& bounds);
  void abandon_memory();

  // Before the layers of a step: the tokens that were not in a step of this row before, where the row's penalties count them.
  Status begin_step(const StepView& step);
  // Whether a row's penalties look at its tokens, so that its slots must be noted: NoteTokensArgs::row_of.
  static bool has_history(int32_t row, const RowColumns& rows) {
    return rows.presencePenalty[row] != 0 || rows.frequencyPenalty[row] != 0 || rows.repetitionPenalty[row] != 1;
  }
  int32_t* history() const { return on_device_.history; }
  const int32_t* last() const { return on_device_.last; }

  // A call: its outputs, at most kHeadRows, then their way up, the kernels, and the way down to the results of outputs first … of the step.
  Status begin();
  void add(const StepOutput& output, const OutputRequest& request);
  Status send();
  unsigned features() const { return features_; }
  Error launch(const LogitsParts& logits) const;
  Status fetch(const StepView& step, int first);
  // What came down for an output of the step, once the stream is done.
  int32_t id_of(const StepView& step, int output) const { return on_host_[step.slot].results[output].id; }
  // Once the stream is done: writes the step's ids and log-probabilities. Outputs that asked for more than kSampledTopMax get ids alone.
  Status tell(const StepView& step, const OutputSampler& outputs) const;

 private:
  enum Feature : unsigned { kEdits = 1, kNarrows = 2, kRaces = 4, kScores = 8 };
  // What goes up, in this order in one piece. `extras`: see SampleRow.
  struct Requests {
    SampleRow* rows;  // [kHeadRows]
    int32_t* extras;
    uint32_t* masks;  // [kHeadRows, mask_words]
  };
  struct OnDevice {
    Requests requests;
    int32_t *history, *last;
    uint32_t *seen, *tickets;
    float* edited;
    SampleTile* tiles;
    SampleState* states;
    DepthBin* bins;
    SampleResult* results;
    int32_t* top_ids;
    float* top_values;
  };
  // Results of one of two steps, whose slots are used in turn.
  struct OnHost {
    SampleResult* results;  // [max_tokens]
    int32_t* top_ids;       // [max_tokens, max_top]
    float* top_values;
    std::vector<int32_t> num_top, num_told;  // [max_tokens]
  };
  struct Staging {
    Requests requests;
    OwnEvent sent;
  };
  template <class Take>
  void lay_out_requests(Take take, Requests* out) const;
  template <class Take>
  void lay_out_device(Take take, OnDevice* out) const;
  template <class Take>
  void lay_out_host(Take take);
  int max_top() const { return std::min(dims_.max_logprobs, kSampledTopMax); }
  int mask_words() const { return (vocab_ + 31) / 32; }
  int tiles() const { return (vocab_ + kSampleTile - 1) / kSampleTile; }
  void ask(const SampleParams& params, SampleRow* row);
  Status copy(void* to, const void* from, size_t bytes, const char* what) const;

  const StepDims dims_;
  const int vocab_, fixed_bits_;
  const Device* device_ = nullptr;
  const OwnStream* stream_ = nullptr;
  WaitBounds bounds_;
  Memory memory_, pinned_;
  OnDevice on_device_{};
  OnHost on_host_[kNumSlots];
  int32_t* prefix_ = nullptr;  // [max_seq_len] on its way up
  OwnEvent prefix_sent_;

  // Of the call that is made.
  Staging stagings_[2];
  int turn_ = 0;
  int count_ = 0, num_extras_ = 0, num_masks_ = 0;
  unsigned features_ = 0;
  std::vector<int32_t> num_top_, num_told_;  // [count]
};

}  // namespace lockstep::cuda
