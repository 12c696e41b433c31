// The shared step buffer: the columns of src/step/layout.ts, in the same order. TypeScript computes the byte offsets and
// hands them over as one table, so that only names and order are mirrored here (test/tidy.test.ts compares them).
#pragma once

#include <cstdint>

namespace lockstep {

// X(name, element type). Shapes and meanings stand in src/step/layout.ts.
#define LOCKSTEP_CONTROL_COLUMNS(X) X(control, int32_t)

#define LOCKSTEP_ROW_COLUMNS(X) \
  X(tokens, int32_t)            \
  X(blockTables, int32_t)       \
  X(temperature, float)         \
  X(topP, float)                \
  X(topK, int32_t)              \
  X(minP, float)                \
  X(presencePenalty, float)     \
  X(frequencyPenalty, float)    \
  X(repetitionPenalty, float)   \
  X(seedLow, int32_t)           \
  X(seedHigh, int32_t)          \
  X(choice, int32_t)            \
  X(promptLen, int32_t)         \
  X(minTokens, int32_t)         \
  X(numLogprobs, int32_t)       \
  X(numPromptLogprobs, int32_t) \
  X(numLogprobIds, int32_t)     \
  X(logprobIds, int32_t)        \
  X(numBias, int32_t)           \
  X(biasIds, int32_t)           \
  X(biasValues, float)          \
  X(numStopIds, int32_t)        \
  X(stopIds, int32_t)           \
  X(secondSegment, int32_t)     \
  X(pooled, float)              \
  X(grammar, int32_t)           \
  X(numAllowed, int32_t)        \
  X(allowedIds, int32_t)        \
  X(badWordsLen, int32_t)       \
  X(badWords, int32_t)          \
  X(thinkingBudget, int32_t)    \
  X(thinkingBeginLen, int32_t)  \
  X(thinkingBegin, int32_t)     \
  X(thinkingEndLen, int32_t)    \
  X(thinkingEnd, int32_t)       \
  X(thinkingEndIdsLen, int32_t) \
  X(thinkingEndIds, int32_t)

#define LOCKSTEP_PLAN_COLUMNS(X) \
  X(planHeader, int32_t)         \
  X(rows, int32_t)               \
  X(queryStart, int32_t)         \
  X(startPosition, int32_t)      \
  X(contextMax, int32_t)         \
  X(entryFlags, int32_t)         \
  X(outputStart, int32_t)

#define LOCKSTEP_RESULT_COLUMNS(X) \
  X(resultHeader, int32_t)         \
  X(numSampled, int32_t)           \
  X(sampledIds, int32_t)           \
  X(outcome, int32_t)              \
  X(numDrafts, int32_t)            \
  X(numGuessed, int32_t)           \
  X(numRight, int32_t)             \
  X(outputIds, int32_t)            \
  X(outputLogprobs, float)         \
  X(outputRanks, int32_t)          \
  X(topIds, int32_t)               \
  X(topLogprobs, float)            \
  X(timesUs, double)

#define LOCKSTEP_FIELD(name, type) type* name;
struct ControlColumns {
  LOCKSTEP_CONTROL_COLUMNS(LOCKSTEP_FIELD)
};
struct RowColumns {
  LOCKSTEP_ROW_COLUMNS(LOCKSTEP_FIELD)
};
struct PlanColumns {
  LOCKSTEP_PLAN_COLUMNS(LOCKSTEP_FIELD)
};
struct ResultColumns {
  LOCKSTEP_RESULT_COLUMNS(LOCKSTEP_FIELD)
};
#undef LOCKSTEP_FIELD

constexpr int kNumSlots = 2;
constexpr int kMaxBiasLen = 1024;
constexpr int kMaxStopIds = 128;
constexpr int kMaxAllowedIds = 4096;
constexpr int kBadWordsLenMax = 2048;
constexpr int kMarkerLenMax = 64;
constexpr int kMaxLogprobIds = 128;

// Bits of entryFlags.
constexpr int32_t kEntrySample = 1;
constexpr int32_t kEntryReset = 2;
constexpr int32_t kEntryPromptLogprobs = 4;
constexpr int32_t kEntryPoolFirst = 8;
constexpr int32_t kEntryPoolLast = 16;
constexpr int32_t kEntryPoolSum = 32;

// Values of outcome.
constexpr int32_t kRowGoesOn = 0;
constexpr int32_t kRowEnded = 1;
constexpr int32_t kRowStuck = 2;

// Indices into control, in words.
constexpr int kControlDispatched = 0;
constexpr int kControlDoorbell = 16;
constexpr int kControlStop = 32;
constexpr int kControlAbort = 48;
constexpr int kControlRank0 = 64;

struct StepDims {
  int32_t max_rows;
  int32_t max_tokens;
  int32_t max_seq_len;
  int32_t block_size;
  int32_t num_blocks;
  int32_t max_drafts;
  int32_t max_logprobs;
  int32_t world_size;
  int32_t pooled_len;
  int32_t max_blocks_per_row;  // ceil(max_seq_len / block_size)
};

// Pointers into the shared buffer.
struct StepBuffers {
  StepDims dims;
  ControlColumns control;
  RowColumns rows;
  PlanColumns plan[kNumSlots];
  ResultColumns result[kNumSlots];
};

// offsets: bytes from `base`, in the order control, row, then plan and result once a slot. Returns false when `count` is not
// the number of columns.
inline bool bind_step_buffers(uint8_t* base, const int64_t* offsets, int count, StepBuffers* out) {
  int i = 0;
#define LOCKSTEP_COUNT(name, type) +1
  constexpr int kExpected = 0 LOCKSTEP_CONTROL_COLUMNS(LOCKSTEP_COUNT) LOCKSTEP_ROW_COLUMNS(LOCKSTEP_COUNT) +
                            kNumSlots * (0 LOCKSTEP_PLAN_COLUMNS(LOCKSTEP_COUNT) LOCKSTEP_RESULT_COLUMNS(LOCKSTEP_COUNT));
#undef LOCKSTEP_COUNT
  if (count != kExpected) return false;
#define LOCKSTEP_BIND(name, type) target.name = reinterpret_cast<type*>(base + offsets[i++]);
  {
    ControlColumns& target = out->control;
    LOCKSTEP_CONTROL_COLUMNS(LOCKSTEP_BIND)
  }
  {
    RowColumns& target = out->rows;
    LOCKSTEP_ROW_COLUMNS(LOCKSTEP_BIND)
  }
  for (int slot = 0; slot < kNumSlots; slot++) {
    {
      PlanColumns& target = out->plan[slot];
      LOCKSTEP_PLAN_COLUMNS(LOCKSTEP_BIND)
    }
    {
      ResultColumns& target = out->result[slot];
      LOCKSTEP_RESULT_COLUMNS(LOCKSTEP_BIND)
    }
  }
#undef LOCKSTEP_BIND
  return true;
}

}  // namespace lockstep
