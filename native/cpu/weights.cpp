// Planning: which rows and columns of each tensor this rank holds, where their blocks lie, and the vectors beside them.
//
// gather: every matrix is cut by whole blocks over the ranks, sizes differing by at most one block. reduce: qkv by heads, gate and up by
// intermediate rows, o and down by columns, embedding and head by vocabulary (Megatron-LM, Shoeybi et al. 2019).
#include "cpu/weights.h"

#include <algorithm>

#include "common/tensor_type.h"
#include "cpu/packed_file.h"

namespace lockstep::cpu {
namespace {

// The kernels' formats are those of the model, in one order.
static_assert(static_cast<int>(Format::kQ6_K) == static_cast<int>(WeightFormat::kQ6_K), "one list of formats");
Format to_format(WeightFormat format) { return static_cast<Format>(format); }

// Blocks of tensor.format can be had: they lie in the file, or floats are quantised to them.
bool has_blocks(const WeightTensor& tensor) {
  const bool from_floats =
      tensor.format == WeightFormat::kQ8_0 || tensor.format == WeightFormat::kQ4_0 || tensor.format == WeightFormat::kQ4_1;
  return from_floats || holds_its_blocks(tensor);
}

Range cut_blocks(int blocks, const RankShard& shard) {
  const auto at = [&](int rank) { return blocks / shard.world_size * rank + std::min(rank, blocks % shard.world_size); };
  return {at(shard.rank), at(shard.rank + 1) - at(shard.rank)};
}

// A matrix being planned: for each segment a job, and the place that takes it.
struct Planned {
  PackJob job;
  Matrix* matrix;
  size_t segment;
};

class Planner {
 public:
  Planner(const ModelSpec& spec, const RankShard& shard, const WeightMap& map, const SourceFiles& files, Weights* out)
      : spec_(spec), shard_(shard), tensors_(map, files), out_(out) {}
  Status plan();
  std::vector<Planned> planned;

 private:
  bool gather() const { return shard_.mode == ParallelMode::kGather; }
  Status vector(const std::string& name, int count, const float** out);
  Status optional_vector(bool wanted, const std::string& name, int count, const float** out);
  Status values(const std::string& name, int count, std::vector<float>* out);
  void add_segment(Matrix* matrix, const WeightTensor* tensor, const WeightTensor* up, Range rows, Range cols, int out_first,
                   const float* bias);
  void add_blocks(Matrix* matrix, const WeightTensor* tensor, const WeightTensor* up, int rows, Range blocks, const float* bias);
  Status norm(const NormSpec& norm, const std::string& name, const float** weight, const float** bias);
  Status table(const std::string& name, int rows, bool by_vocab, Matrix* out);
  Status layer(int index);
  Status qkv(int index, const std::string& prefix, LayerWeights* layer);
  Status row_parallel(const std::string& name, bool bias, int cols, Range columns, Matrix* out);
  Status feed_forward(int index, const std::string& prefix, bool bias, Matrix* gate_up, Matrix* down);

  const ModelSpec& spec_;
  const RankShard& shard_;
  TensorIndex tensors_;
  Weights* out_;
};

Status Planner::values(const std::string& name, int count, std::vector<float>* out) {
  LOCKSTEP_RETURN_IF_ERROR(tensors_.vector(name, count, out));
  out->resize(round_up(count, kBlockRows));
  return Status();
}

Status Planner::vector(const std::string& name, int count, const float** out) {
  out_->vectors.emplace_back();
  LOCKSTEP_RETURN_IF_ERROR(values(name, count, &out_->vectors.back()));
  *out = out_->vectors.back().data();
  return Status();
}

Status Planner::optional_vector(bool wanted, const std::string& name, int count, const float** out) {
  return wanted ? vector(name, count, out) : Status();
}

Status Planner::norm(const NormSpec& norm, const std::string& name, const float** weight, const float** bias) {
  if (!norm.present) return Status();
  LOCKSTEP_RETURN_IF_ERROR(vector(name, spec_.hidden, weight));
  return optional_vector(norm.bias && bias != nullptr, name + "Bias", spec_.hidden, bias);
}

// rows, cols: what of the tensor is held here. bias: of the first row.
void Planner::add_segment(Matrix* matrix, const WeightTensor* tensor, const WeightTensor* up, Range rows, Range cols, int out_first,
                          const float* bias) {
  matrix->cols = cols.count;
  matrix->gated = up != nullptr;
  Format format = to_format(tensor->format);
  const bool cuts_groups = cols.first % quant_block(format) != 0 || cols.count % quant_block(format) != 0;
  const bool both_have_blocks = has_blocks(*tensor) && (up == nullptr || (has_blocks(*up) && up->format == tensor->format));
  // A cut inside a group (of a K-quant: a super-block) would need new scales: such a part is kept as bf16, which loses less.
  if (input_kind(format) == InputKind::kInt8 && (cuts_groups || !both_have_blocks)) format = Format::kBf16;
  if (up != nullptr && up->format == WeightFormat::kF32) format = Format::kF32;
  matrix->input_kinds |= kind_bit(input_kind(format));
  if (rows.count == 0 || cols.count == 0) return;
  planned.push_back({PackJob{tensor, up, rows.first, rows.count, cols, format, nullptr}, matrix, matrix->segments.size()});
  Segment segment;
  segment.packed = Packed{format, packed_rows(planned.back().job), cols.count, nullptr};
  segment.first_row = rows.first;
  segment.out_first = out_first;
  segment.bias = bias;
  matrix->segments.push_back(segment);
}

// gather: blocks [first, first + count) of a tensor of `rows` rows; each writes its own columns of the shared result.
void Planner::add_blocks(Matrix* matrix, const WeightTensor* tensor, const WeightTensor* up, int rows, Range blocks, const float* bias) {
  const int unit = up != nullptr ? kBlockRows / 2 : kBlockRows;
  const int first = std::min(rows, blocks.first * unit);
  const int count = std::min(rows, blocks.end() * unit) - first;
  add_segment(matrix, tensor, up, {first, count}, {0, tensor->cols}, first, bias == nullptr ? nullptr : bias + blocks.first * kBlockRows);
}

// Rows that are looked up by id: embedding, head, learned positions, token types.
Status Planner::table(const std::string& name, int rows, bool by_vocab, Matrix* out) {
  const WeightTensor* tensor = nullptr;
  LOCKSTEP_RETURN_IF_ERROR(tensors_.find(name, rows, spec_.hidden, &tensor));
  if (gather()) {
    add_blocks(out, tensor, nullptr, rows, cut_blocks(round_up(rows, kBlockRows) / kBlockRows, shard_), nullptr);
  } else {
    const Range here = by_vocab ? shard_.vocab : Range{0, rows};
    add_segment(out, tensor, nullptr, here, {0, spec_.hidden}, 0, nullptr);
  }
  return Status();
}

Status Planner::qkv(int index, const std::string& prefix, LayerWeights* layer) {
  const LayerSpec& spec = spec_.layers[index];
  const int head_dim = spec_.head_dim;
  const int heads[3] = {spec_.heads, spec_.kv_heads, spec_.kv_heads};
  const Range held[3] = {shard_.heads, shard_.kv_heads, shard_.kv_heads};
  const char* names[3] = {"q", "k", "v"};
  const QkvColumns columns = qkv_columns(held[0].count * head_dim, held[1].count * head_dim);
  const int out_first[3] = {0, columns.k, columns.v};
  const Range mine = cut_blocks(columns.end / kBlockRows, shard_);  // gather: of the blocks of all three
  for (int i = 0; i < 3; i++) {
    const WeightTensor* tensor = nullptr;
    const int rows = heads[i] * head_dim;
    LOCKSTEP_RETURN_IF_ERROR(tensors_.find(prefix + names[i], rows, spec_.hidden, &tensor));
    const float* bias = nullptr;
    LOCKSTEP_RETURN_IF_ERROR(optional_vector(spec.qkv_bias, prefix + names[i] + "Bias", rows, &bias));
    if (gather()) {
      const int before = out_first[i] / kBlockRows;
      const int blocks = round_up(rows, kBlockRows) / kBlockRows;
      const int from = std::clamp(mine.first - before, 0, blocks);
      const int to = std::clamp(mine.end() - before, 0, blocks);
      add_blocks(&layer->qkv, tensor, nullptr, rows, {from, to - from}, bias);
      if (to > from) layer->qkv.segments.back().out_first += out_first[i];  // add_blocks counts from the tensor's own first row
    } else {
      const int first = held[i].first * head_dim;
      if (bias != nullptr && held[i].count > 0) {
        // The rank's slice, padded to whole blocks.
        out_->vectors.emplace_back(bias + first, bias + first + held[i].count * head_dim);
        out_->vectors.back().resize(round_up(held[i].count * head_dim, kBlockRows));
        bias = out_->vectors.back().data();
      }
      add_segment(&layer->qkv, tensor, nullptr, {first, held[i].count * head_dim}, {0, spec_.hidden}, out_first[i], bias);
    }
  }
  return Status();
}

// o and down: gather cuts their rows, reduce their columns; there the bias is added once, by rank 0.
Status Planner::row_parallel(const std::string& name, bool bias, int cols, Range columns, Matrix* out) {
  const WeightTensor* tensor = nullptr;
  LOCKSTEP_RETURN_IF_ERROR(tensors_.find(name, spec_.hidden, cols, &tensor));
  const float* values = nullptr;
  LOCKSTEP_RETURN_IF_ERROR(optional_vector(bias && (gather() || shard_.rank == 0), name + "Bias", spec_.hidden, &values));
  if (gather()) {
    add_blocks(out, tensor, nullptr, spec_.hidden, cut_blocks(round_up(spec_.hidden, kBlockRows) / kBlockRows, shard_), values);
  } else {
    add_segment(out, tensor, nullptr, {0, spec_.hidden}, columns, 0, values);
  }
  return Status();
}

Status Planner::feed_forward(int index, const std::string& prefix, bool bias, Matrix* gate_up, Matrix* down) {
  const LayerSpec& spec = spec_.layers[index];
  const int rows = spec.intermediate;
  const WeightTensor* gate = nullptr;
  const WeightTensor* up = nullptr;
  std::vector<float> gate_bias;
  std::vector<float> up_bias;
  LOCKSTEP_RETURN_IF_ERROR(tensors_.find(prefix + "up", rows, spec_.hidden, &up));
  if (bias) LOCKSTEP_RETURN_IF_ERROR(values(prefix + "upBias", rows, &up_bias));
  if (spec.gated) {
    LOCKSTEP_RETURN_IF_ERROR(tensors_.find(prefix + "gate", rows, spec_.hidden, &gate));
    if (bias) LOCKSTEP_RETURN_IF_ERROR(values(prefix + "gateBias", rows, &gate_bias));
  }
  const int unit = spec.gated ? kBlockRows / 2 : kBlockRows;
  const Range held = shard_.intermediate[index];
  const int first = gather() ? 0 : held.first;
  const int count = gather() ? rows : held.count;
  const int blocks = (count + unit - 1) / unit;
  const float* packed_bias = nullptr;
  if (bias) {
    out_->vectors.emplace_back(static_cast<size_t>(blocks) * kBlockRows, 0.0F);
    std::vector<float>& packed = out_->vectors.back();
    for (int i = 0; i < count; i++) {
      const size_t at = static_cast<size_t>(i / unit) * kBlockRows + i % unit;
      packed[at] = spec.gated ? gate_bias[first + i] : up_bias[first + i];
      if (spec.gated) packed[at + unit] = up_bias[first + i];
    }
    packed_bias = packed.data();
  }
  const WeightTensor* low = spec.gated ? gate : up;
  const WeightTensor* high = spec.gated ? up : nullptr;
  if (gather()) {
    add_blocks(gate_up, low, high, rows, cut_blocks(blocks, shard_), packed_bias);
  } else {
    add_segment(gate_up, low, high, held, {0, spec_.hidden}, 0, packed_bias);
  }
  return row_parallel(prefix + "down", bias, rows, held, down);
}

Status Planner::layer(int index) {
  const LayerSpec& spec = spec_.layers[index];
  LayerWeights& layer = out_->layers[index];
  const std::string prefix = "layers." + std::to_string(index) + ".";
  LOCKSTEP_RETURN_IF_ERROR(norm(spec.before_attention, prefix + "attnNorm", &layer.attn_norm, &layer.attn_norm_bias));
  LOCKSTEP_RETURN_IF_ERROR(norm(spec.after_attention, prefix + "postAttnNorm", &layer.post_attn_norm, nullptr));
  LOCKSTEP_RETURN_IF_ERROR(norm(spec.before_mlp, prefix + "mlpNorm", &layer.mlp_norm, &layer.mlp_norm_bias));
  LOCKSTEP_RETURN_IF_ERROR(norm(spec.after_mlp, prefix + "postMlpNorm", &layer.post_mlp_norm, nullptr));
  LOCKSTEP_RETURN_IF_ERROR(optional_vector(spec.qk_norm.present, prefix + "qNorm", spec_.head_dim, &layer.q_norm));
  LOCKSTEP_RETURN_IF_ERROR(optional_vector(spec.qk_norm.present, prefix + "kNorm", spec_.head_dim, &layer.k_norm));
  LOCKSTEP_RETURN_IF_ERROR(qkv(index, prefix, &layer));
  const Range o_columns = {shard_.heads.first * spec_.head_dim, shard_.heads.count * spec_.head_dim};
  LOCKSTEP_RETURN_IF_ERROR(row_parallel(prefix + "o", spec.out_bias, spec_.heads * spec_.head_dim, o_columns, &layer.o));
  if (spec.experts == 0) return feed_forward(index, prefix, spec.mlp_bias, &layer.gate_up, &layer.down);

  const WeightTensor* router = nullptr;
  LOCKSTEP_RETURN_IF_ERROR(tensors_.find(prefix + "router", spec.experts, spec_.hidden, &router));
  add_segment(&layer.router, router, nullptr, {0, spec.experts}, {0, spec_.hidden}, 0, nullptr);
  layer.expert_gate_up.resize(spec.experts);
  layer.expert_down.resize(spec.experts);
  for (int e = 0; e < spec.experts; e++) {
    LOCKSTEP_RETURN_IF_ERROR(
        feed_forward(index, prefix + "experts." + std::to_string(e) + ".", false, &layer.expert_gate_up[e], &layer.expert_down[e]));
  }
  return Status();
}

Status Planner::plan() {
  out_->layers.resize(spec_.layers.size());
  LOCKSTEP_RETURN_IF_ERROR(table(spec_.tied ? "embed" : "head", spec_.vocab, true, &out_->head));
  if (!spec_.tied) LOCKSTEP_RETURN_IF_ERROR(table("embed", spec_.vocab, true, &out_->embed));
  if (spec_.learned_positions) LOCKSTEP_RETURN_IF_ERROR(table("embedPositions", spec_.learned_count, false, &out_->positions));
  if (spec_.token_types > 0) LOCKSTEP_RETURN_IF_ERROR(table("embedTypes", spec_.token_types, false, &out_->types));
  for (int i = 0; i < static_cast<int>(spec_.layers.size()); i++) LOCKSTEP_RETURN_IF_ERROR(layer(i));
  return norm(spec_.final_norm, "finalNorm", &out_->final_norm, &out_->final_norm_bias);
}

}  // namespace

int Matrix::num_blocks() const {
  int blocks = 0;
  for (const Segment& segment : segments) blocks += segment.num_blocks();
  return blocks;
}

QkvColumns qkv_columns(int q_rows, int kv_rows) {
  QkvColumns columns;
  columns.k = round_up(q_rows, kBlockRows);
  columns.v = columns.k + round_up(kv_rows, kBlockRows);
  columns.end = columns.v + round_up(kv_rows, kBlockRows);
  return columns;
}

Status load_weights(const ModelSpec& spec, const RankShard& shard, const WeightMap& map, const Kernels& kernels, Threads* threads,
                    PackedSource* packed, Weights* out) {
  SourceFiles files;
  LOCKSTEP_RETURN_IF_ERROR(files.open(map.files));
  Planner planner(spec, shard, map, files, out);
  LOCKSTEP_RETURN_IF_ERROR(planner.plan());

  // The size first, then the memory, then each job's place in it.
  std::vector<size_t> offsets;
  ArenaCursor cursor(nullptr);
  for (const Planned& planned : planner.planned) {
    offsets.push_back(cursor.used());
    cursor.take<uint8_t>(kernels.packed_block_bytes(planned.job.format, planned.job.cols.count) * packed_blocks(planned.job));
  }
  if (!out->arena.reserve(cursor.used(), true)) {
    return Status(Fault::kLoad, "no memory for " + std::to_string(cursor.used() >> 20) + " MiB of weights");
  }
  std::vector<PackJob> jobs;
  std::vector<Stretch> stretches;
  for (size_t i = 0; i < planner.planned.size(); i++) {
    Planned& planned = planner.planned[i];
    planned.job.data = out->arena.data() + offsets[i];
    planned.matrix->segments[planned.segment].packed.data = planned.job.data;
    jobs.push_back(planned.job);
    stretches.push_back({offsets[i], (i + 1 < offsets.size() ? offsets[i + 1] : cursor.used()) - offsets[i]});
  }
  packed->used = !packed->path.empty() && read_packed(packed->path, stretches, threads, &out->arena, &packed->problem);
  LOCKSTEP_RETURN_IF_ERROR(threads->status());
  if (packed->used) return Status();
  return pack(jobs, files, kernels, threads);
}

}  // namespace lockstep::cpu
