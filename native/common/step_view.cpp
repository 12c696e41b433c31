#include "common/step_view.h"

#include <algorithm>
#include <string>

namespace lockstep {
namespace {

Status bad(const std::string& what) { return Status(Fault::kBadPlan, "bad step plan: " + what); }

std::string number(const char* name, int64_t value) { return std::string(name) + " " + std::to_string(value); }

}  // namespace

Status StepReader::init(const StepBuffers* buffers, int vocab, const GrammarStore* grammars) {
  buffers_ = buffers;
  vocab_ = vocab;
  const StepDims& dims = buffers->dims;
  for (StepView& view : views_) {
    view.buffers = buffers;
    view.entries.reserve(dims.max_rows);
    view.outputs.reserve(dims.max_tokens);
    view.slot_entry.reserve(dims.max_tokens);
    view.slot_position.reserve(dims.max_tokens);
    view.slot_token.reserve(dims.max_tokens);
    view.guesses.assign(static_cast<size_t>(dims.max_rows) * (dims.max_drafts + 1), 0);
  }
  length_.assign(dims.max_rows, -1);
  newest_is_unknown_.assign(dims.max_rows, 0);
  seen_in_.assign(dims.max_rows, 0);
  grammars_ = grammars;
  following_.assign(dims.max_rows, {});
  if (dims.max_drafts > 0 && !lookup_.init(dims.max_rows, dims.max_seq_len)) return Status(Fault::kLoad, "no memory to look up drafts");
  return Status();
}

Status StepReader::read(int epoch) {
  const StepDims& dims = buffers_->dims;
  const PlanColumns& plan = buffers_->plan[epoch & 1];
  view_ = &views_[epoch & 1];
  view_->entries.clear();
  view_->outputs.clear();
  view_->slot_entry.clear();
  view_->slot_position.clear();
  view_->slot_token.clear();
  view_->epoch = epoch;
  view_->slot = epoch & 1;
  view_->pools = false;
  planned_slots_ = planned_outputs_ = 0;
  if (plan.planHeader[0] != epoch) return bad(number("slot holds epoch", plan.planHeader[0]) + ", asked for " + std::to_string(epoch));
  const int num_entries = plan.planHeader[1];
  const int num_tokens = plan.planHeader[2];
  if (num_entries < 0 || num_entries > dims.max_rows) return bad(number("entries", num_entries));
  if (num_tokens < 0 || num_tokens > dims.max_tokens) return bad(number("tokens", num_tokens));
  for (int i = 0; i < num_entries; i++) LOCKSTEP_RETURN_IF_ERROR(read_entry(plan, i));
  if (planned_slots_ != num_tokens) return bad(number("slots end before", num_tokens));
  if (planned_outputs_ != plan.planHeader[3]) return bad(number("outputs", plan.planHeader[3]));
  view_->num_tokens = static_cast<int>(view_->slot_token.size());
  return Status();
}

// What a step samples is looked at by grammars, drafts, bad words and bounds on reasoning.
bool StepReader::may_read_ahead(int epoch) const {
  const StepDims& dims = buffers_->dims;
  const RowColumns& rows = buffers_->rows;
  const PlanColumns& plan = buffers_->plan[epoch & 1];
  const int num_entries = plan.planHeader[1];
  const bool looks_up = dims.max_drafts > 0 && plan.planHeader[4] > 0;
  if (looks_up || view_->pools || num_entries < 0 || num_entries > dims.max_rows) return false;
  for (const StepEntry& entry : view_->entries) {
    if (entry.num_draws > 1) return false;  // how many of them count is seen at its end
  }
  for (int i = 0; i < num_entries; i++) {
    const int row = plan.rows[i];
    if (row < 0 || row >= dims.max_rows) return false;
    if ((plan.entryFlags[i] & (kEntryPoolFirst | kEntryPoolLast | kEntryPoolSum)) != 0) return false;
    if (rows.grammar[row] != 0 || rows.badWordsLen[row] > 0 || rows.thinkingBudget[row] >= 0) return false;
  }
  return true;
}

Status StepReader::read_ahead(int epoch) {
  for (const StepEntry& entry : view_->entries) {
    length_[entry.row] = entry.position + entry.num_slots;
    newest_is_unknown_[entry.row] = entry.num_draws > 0 ? 1 : newest_is_unknown_[entry.row];
  }
  return read(epoch);
}

Status StepReader::read_entry(const PlanColumns& plan, int entry) {
  const StepDims& dims = buffers_->dims;
  const int row = plan.rows[entry];
  const int flags = plan.entryFlags[entry];
  if (row < 0 || row >= dims.max_rows) return bad(number("row", row));
  if (seen_in_[row] == view_->epoch + 1) return bad(number("two entries have row", row));
  const int planned = plan.queryStart[entry + 1] - plan.queryStart[entry];
  if (plan.queryStart[entry] != planned_slots_ || planned < 1 || planned_slots_ + planned > plan.planHeader[2])
    return bad(number("slots of row", row));
  const int pooling = flags & (kEntryPoolFirst | kEntryPoolLast | kEntryPoolSum);
  if (pooling != 0 && buffers_->dims.pooled_len == 0) return bad(number("this server pools nothing, row", row));
  Span span{};
  LOCKSTEP_RETURN_IF_ERROR(place(plan, entry, &span));
  const int end = span.position + span.count;
  if (end > dims.max_seq_len || end > plan.contextMax[entry]) return bad(number("length of row", row));
  const bool reset = (flags & kEntryReset) != 0;
  LOCKSTEP_RETURN_IF_ERROR(check_blocks(row, reset ? 0 : span.position, end));
  // Penalties look at all tokens; those before the first chunk of a tenancy (a prefix that the cache had) are seen only here.
  const int32_t* tokens = tokens_of(row);
  for (int i = 0; reset && i < span.position; i++) {
    if (tokens[i] < 0 || tokens[i] >= vocab_)
      return bad(number("token", tokens[i]) + " of row " + std::to_string(row) + " is not in the vocabulary");
  }
  if (reset) {
    newest_is_unknown_[row] = 0;
    LOCKSTEP_RETURN_IF_ERROR(begin_grammar(row));
  }
  LOCKSTEP_RETURN_IF_ERROR(add_slots(plan, entry, span));

  const bool sample = (flags & kEntrySample) != 0;
  const bool score = (flags & kEntryPromptLogprobs) != 0;
  // A sampled id is written behind the last slot, a scored slot is compared with the token behind it.
  if (score && !sample && end > dims.max_seq_len - 1) return bad(number("nothing fits behind row", row));
  const int planned_outputs = score || span.drafts ? planned : sample ? 1 : 0;
  if (plan.outputStart[entry] != planned_outputs_ || plan.outputStart[entry + 1] != planned_outputs_ + planned_outputs)
    return bad(number("outputStart of row", row));
  planned_slots_ += planned;
  planned_outputs_ += planned_outputs;
  seen_in_[row] = view_->epoch + 1;
  return Status();
}

// Where the entry begins, and how many of the planned slots it takes: all, but of drafts those that were found and that fit.
Status StepReader::place(const PlanColumns& plan, int entry, Span* span) {
  const int row = plan.rows[entry];
  const int planned = plan.queryStart[entry + 1] - plan.queryStart[entry];
  const int flags = plan.entryFlags[entry];
  const bool reset = (flags & kEntryReset) != 0;
  const int max_drafts = buffers_->dims.max_drafts;
  *span = {plan.startPosition[entry], planned, 0, false};
  if (reset && max_drafts > 0) lookup_.reset(row);
  if (span->position >= 0) {
    if (!reset && length_[row] < 0) return bad(number("no reset has been seen for row", row));
    if (!reset && span->position > length_[row]) return bad(number("a gap in front of the chunk of row", row));
    return Status();
  }
  if (reset) return bad(number("reset without a position, row", row));
  if (length_[row] < 0) return bad(number("no reset has been seen for row", row));
  if (planned > max_drafts + 1) return bad(number("more drafts than this server tries, row", row));
  if (flags != kEntrySample) return bad(number("drafts without sampling, row", row));
  span->position = length_[row];
  span->drafts = true;
  const int room = std::min(plan.contextMax[entry], buffers_->dims.max_seq_len) - length_[row];
  span->count = std::min(planned, room);
  if (span->count <= 0) {
    span->count = 0;
    return Status();
  }
  span->num_guesses = guess(plan, entry, span->count);
  span->count = std::min(span->count, 1 + span->num_guesses);
  return Status();
}

// At most `count` ids that should, or must, follow the newest one.
int StepReader::guess(const PlanColumns& plan, int entry, int count) {
  const int row = plan.rows[entry];
  int32_t* guesses = guesses_of(entry);
  const Following& following = following_[row];
  if (!following.run) {
    const int32_t min_match = plan.planHeader[4];
    if (buffers_->dims.max_drafts == 0 || min_match <= 0) return 0;
    return lookup_.propose({row, tokens_of(row), length_[row] + 1, min_match, std::max(min_match, plan.planHeader[5]), count}, guesses);
  }
  // What is forced need not be sampled to be known. The id with which the grammar ends is sampled, since nothing is behind it.
  GrammarRun::Position at = follow(row, length_[row] + 1);
  int num_guesses = 0;
  while (num_guesses < count) {
    const int32_t id = following.run->forced(at);
    if (id < 0) break;
    at = following.run->advance(at, id);
    if (following.run->is_exhausted(at)) break;
    guesses[num_guesses++] = id;
  }
  return num_guesses;
}

Status StepReader::begin_grammar(int row) {
  Following& following = following_[row];
  following = {};
  const int32_t id = buffers_->rows.grammar[row];
  if (id == 0) return Status();
  const std::shared_ptr<Grammar> grammar = grammars_->find(id);
  if (!grammar) return bad(number("there is no grammar", id) + " of row " + std::to_string(row));
  following.run = grammar->run();
  following.at = following.run->start();
  following.num_tokens = buffers_->rows.promptLen[row];
  return Status();
}

// Where the row's output is in its grammar with the first `num_tokens` tokens of the row.
GrammarRun::Position StepReader::follow(int row, int num_tokens) {
  Following& following = following_[row];
  for (; following.num_tokens < num_tokens; following.num_tokens++)
    following.at = following.run->advance(following.at, tokens_of(row)[following.num_tokens]);
  return following.at;
}

Status StepReader::add_slots(const PlanColumns& plan, int entry, const Span& span) {
  const int row = plan.rows[entry];
  const int first_slot = static_cast<int>(view_->slot_token.size());
  const int first_output = static_cast<int>(view_->outputs.size());
  const int32_t* tokens = tokens_of(row);
  const bool score = (plan.entryFlags[entry] & kEntryPromptLogprobs) != 0;
  const int num_draws = (plan.entryFlags[entry] & kEntrySample) == 0 ? 0 : span.drafts ? span.count : 1;
  GrammarRun* grammar = num_draws == 0 ? nullptr : following_[row].run.get();
  GrammarRun::Position at = grammar == nullptr ? GrammarRun::kDead : follow(row, span.position + span.count - num_draws + 1);
  for (int i = 0; i < span.count; i++) {
    const bool is_unknown = newest_is_unknown_[row] != 0 && span.position + i == length_[row];
    const int32_t token = is_unknown ? -1 - row : span.drafts && i > 0 ? guesses_of(entry)[i - 1] : tokens[span.position + i];
    if (!is_unknown && (token < 0 || token >= vocab_))
      return bad(number("token", token) + " of row " + std::to_string(row) + " is not in the vocabulary");
    view_->slot_entry.push_back(entry);
    view_->slot_position.push_back(span.position + i);
    view_->slot_token.push_back(token);
    const int draw = i - (span.count - num_draws);
    const int output = static_cast<int>(view_->outputs.size()) - first_output;
    if (draw > 0 && grammar != nullptr) at = grammar->advance(at, token);
    if (draw >= 0 || score) {
      view_->outputs.push_back({first_slot + i, entry, row, span.position + i, draw >= 0, draw, plan.outputStart[entry] + output,
                                draw >= 0 ? grammar : nullptr, at});
    }
  }
  const int num_outputs = static_cast<int>(view_->outputs.size()) - first_output;
  view_->entries.push_back(
      {row, first_slot, span.count, span.position, first_output, num_outputs, num_draws, span.num_guesses, first_slot, 0, false});
  set_pooling(plan.entryFlags[entry], &view_->entries.back());
  return Status();
}

void StepReader::set_pooling(int flags, StepEntry* entry) {
  if ((flags & kEntryPoolSum) != 0) {
    entry->num_pooled = entry->num_slots;
    entry->pool_adds = (flags & kEntryReset) == 0;
  } else if ((flags & (kEntryPoolFirst | kEntryPoolLast)) != 0) {
    entry->num_pooled = 1;
    if ((flags & kEntryPoolLast) != 0) entry->pool_slot += entry->num_slots - 1;
  }
  view_->pools = view_->pools || entry->num_pooled > 0;
}

void StepReader::ask_masks(MaskMaker* maker) const {
  std::vector<MaskMaker::Job> jobs;
  for (const StepOutput& output : view_->outputs) {
    if (output.grammar != nullptr && !output.grammar->has_mask(output.grammar_at))
      jobs.push_back({following_[output.row].run, output.grammar_at});
  }
  if (!jobs.empty()) maker->make(std::move(jobs));
}

Status StepReader::check_blocks(int row, int from_position, int end_position) const {
  const StepDims& dims = buffers_->dims;
  const int32_t* table = buffers_->rows.blockTables + static_cast<size_t>(row) * dims.max_blocks_per_row;
  for (int b = from_position / dims.block_size; b * dims.block_size < end_position; b++) {
    if (table[b] < 0 || table[b] >= dims.num_blocks) return bad(number("block", table[b]) + " of row " + std::to_string(row));
  }
  return Status();
}

void StepReader::commit(int epoch, bool report) {
  const StepView& view = views_[epoch & 1];
  const ResultColumns& result = buffers_->result[view.slot];
  for (size_t i = 0; i < view.entries.size(); i++) {
    const StepEntry& entry = view.entries[i];
    // Each draw counts only if all drafts before it were right, which is how far this goes.
    const int32_t* drawn = tokens_of(entry.row) + entry.position + entry.num_slots - entry.num_draws + 1;
    const int32_t* guesses = view.guesses.data() + i * (static_cast<size_t>(buffers_->dims.max_drafts) + 1);
    int right = 0;
    while (right < std::min(entry.num_guesses, entry.num_draws) && drawn[right] == guesses[right]) right++;
    const int settled = entry.num_draws == 0 ? 0 : std::min(right, entry.num_draws - 1) + 1;
    length_[entry.row] = entry.position + entry.num_slots - entry.num_draws + settled;
    newest_is_unknown_[entry.row] = 0;
    const Following& following = following_[entry.row];
    const GrammarRun::Position at = !following.run || settled == 0 ? GrammarRun::kDead : follow(entry.row, length_[entry.row] + 1);
    if (!report) continue;
    const int32_t* sampled = result.sampledIds + i * (static_cast<size_t>(buffers_->dims.max_drafts) + 1);
    const bool is_stuck = at == GrammarRun::kFailed || std::any_of(sampled, sampled + settled, [](int32_t id) { return id < 0; });
    result.outcome[i] = is_stuck ? kRowStuck : at >= 0 && following.run->is_exhausted(at) ? kRowEnded : kRowGoesOn;
    result.numSampled[i] = settled;
    result.numDrafts[i] = std::max(0, entry.num_draws - 1);
    result.numGuessed[i] = entry.num_guesses;
    result.numRight[i] = right;
  }
  if (report) result.resultHeader[2] = view.num_tokens;
}

}  // namespace lockstep
