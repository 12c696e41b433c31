#include "common/step_view.h"

#include <string>

namespace lockstep {
namespace {

Status bad(const std::string& what) { return Status(Fault::kBadPlan, "bad step plan: " + what); }

std::string number(const char* name, int64_t value) { return std::string(name) + " " + std::to_string(value); }

}  // namespace

void StepReader::init(const StepBuffers* buffers, int vocab) {
  buffers_ = buffers;
  vocab_ = vocab;
  const StepDims& dims = buffers->dims;
  view_.buffers = buffers;
  view_.entries.reserve(dims.max_rows);
  view_.outputs.reserve(dims.max_tokens);
  view_.slot_entry.reserve(dims.max_tokens);
  view_.slot_position.reserve(dims.max_tokens);
  view_.slot_token.reserve(dims.max_tokens);
  length_.assign(dims.max_rows, -1);
  seen_in_.assign(dims.max_rows, 0);
}

Status StepReader::read(int epoch) {
  const StepDims& dims = buffers_->dims;
  const PlanColumns& plan = buffers_->plan[epoch & 1];
  view_.entries.clear();
  view_.outputs.clear();
  view_.slot_entry.clear();
  view_.slot_position.clear();
  view_.slot_token.clear();
  view_.epoch = epoch;
  view_.slot = epoch & 1;
  if (plan.planHeader[0] != epoch) return bad(number("slot holds epoch", plan.planHeader[0]) + ", asked for " + std::to_string(epoch));
  const int num_entries = plan.planHeader[1];
  const int num_tokens = plan.planHeader[2];
  if (num_entries < 0 || num_entries > dims.max_rows) return bad(number("entries", num_entries));
  if (num_tokens < 0 || num_tokens > dims.max_tokens) return bad(number("tokens", num_tokens));
  if (num_entries > 0 && (plan.queryStart[0] != 0 || plan.outputStart[0] != 0)) return bad("queryStart or outputStart does not begin at 0");
  view_.num_tokens = num_tokens;
  for (int i = 0; i < num_entries; i++) LOCKSTEP_RETURN_IF_ERROR(read_entry(plan, i));
  if (static_cast<int>(view_.slot_token.size()) != num_tokens) return bad(number("slots end before", num_tokens));
  if (static_cast<int>(view_.outputs.size()) != plan.planHeader[3]) return bad(number("outputs", plan.planHeader[3]));
  return Status();
}

Status StepReader::read_entry(const PlanColumns& plan, int entry) {
  const StepDims& dims = buffers_->dims;
  const int row = plan.rows[entry];
  const int flags = plan.entryFlags[entry];
  if (row < 0 || row >= dims.max_rows) return bad(number("row", row));
  if (seen_in_[row] == view_.epoch + 1) return bad(number("two entries have row", row));
  const int first = plan.queryStart[entry];
  const int count = plan.queryStart[entry + 1] - first;
  if (first != static_cast<int>(view_.slot_token.size()) || count < 1 || first + count > view_.num_tokens) {
    return bad(number("slots of row", row));
  }
  int position = plan.startPosition[entry];
  if ((flags & kEntryReset) != 0) {
    if (position < 0) return bad(number("reset without a position, row", row));
  } else {
    if (length_[row] < 0) return bad(number("no reset has been seen for row", row));
    if (position > length_[row]) return bad(number("a gap in front of the chunk of row", row));
    if (position < 0) {
      position = length_[row];
      if (count != 1) return bad(number("this backend tries no drafts, row", row));
    }
  }
  const int end = position + count;
  if (end > dims.max_seq_len || end > plan.contextMax[entry]) return bad(number("length of row", row));
  LOCKSTEP_RETURN_IF_ERROR(check_blocks(row, (flags & kEntryReset) != 0 ? 0 : position, end));

  const int32_t* tokens = buffers_->rows.tokens + static_cast<size_t>(row) * dims.max_seq_len;
  // Penalties look at all tokens; those before the first chunk of a tenancy (a prefix that the cache had) are seen only here.
  for (int i = 0; (flags & kEntryReset) != 0 && i < position; i++) {
    if (tokens[i] < 0 || tokens[i] >= vocab_)
      return bad(number("token", tokens[i]) + " of row " + std::to_string(row) + " is not in the vocabulary");
  }
  const bool sample = (flags & kEntrySample) != 0;
  const bool score = (flags & kEntryPromptLogprobs) != 0;
  const int first_output = static_cast<int>(view_.outputs.size());
  for (int i = 0; i < count; i++) {
    const int32_t token = tokens[position + i];
    if (token < 0 || token >= vocab_) return bad(number("token", token) + " of row " + std::to_string(row) + " is not in the vocabulary");
    view_.slot_entry.push_back(entry);
    view_.slot_position.push_back(position + i);
    view_.slot_token.push_back(token);
    const bool sampled = sample && i == count - 1;
    if (sampled || score) view_.outputs.push_back({first + i, entry, row, position + i, sampled});
  }
  const int num_outputs = static_cast<int>(view_.outputs.size()) - first_output;
  if (plan.outputStart[entry] != first_output || plan.outputStart[entry + 1] != first_output + num_outputs) {
    return bad(number("outputStart of row", row));
  }
  // A sampled id is written behind the last slot, a scored slot is compared with the token behind it.
  if ((score || sample) && end > dims.max_seq_len - (score && !sample ? 1 : 0)) return bad(number("nothing fits behind row", row));
  view_.entries.push_back({row, first, count, position, first_output, num_outputs, sample});
  seen_in_[row] = view_.epoch + 1;
  return Status();
}

Status StepReader::check_blocks(int row, int from_position, int end_position) const {
  const StepDims& dims = buffers_->dims;
  const int32_t* table = buffers_->rows.blockTables + static_cast<size_t>(row) * dims.max_blocks_per_row;
  for (int b = from_position / dims.block_size; b * dims.block_size < end_position; b++) {
    if (table[b] < 0 || table[b] >= dims.num_blocks) return bad(number("block", table[b]) + " of row " + std::to_string(row));
  }
  return Status();
}

void StepReader::commit() {
  for (const StepEntry& entry : view_.entries) length_[entry.row] = entry.position + entry.num_slots;
}

}  // namespace lockstep
