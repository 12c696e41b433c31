// The plan is made twice: first with no memory, to learn how much is needed, then with it; then its pieces are brought (upload.h).
#include "cuda/weights.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <thread>

#include "common/quant/float_formats.h"
#include "common/source_files.h"
#include "cuda/generated.h"
#include "cuda/upload.h"

namespace lockstep::cuda {
namespace {

constexpr size_t kPieceAlign = 256;
constexpr int kRowsAtOnce = 32;

// Rows and columns of a tensor, or values that are there already, and where they go.
struct Piece {
  const WeightTensor* tensor;  // null: `values`, one row of float32
  std::vector<float> values;
  Range rows, cols;
  Type type;
  int ld;
  size_t offset;  // of the first row
};

class Planner {
 public:
  Planner(const ModelSpec& spec, const RankShard& shard, TensorIndex* tensors, uint8_t* base, Weights* out)
      : spec_(spec), shard_(shard), tensors_(*tensors), base_(base), out_(out) {}
  Status plan();
  size_t bytes() const { return bytes_; }
  const std::vector<Piece>& pieces() const { return pieces_; }

 private:
  // A tensor that is one part of a matrix's rows.
  struct Part {
    std::string name;
    int tensor_rows;
    Range rows;
  };
  size_t take(size_t bytes);
  // null also for what is empty: it may lie at the very end.
  uint8_t* address(size_t at, size_t bytes) const { return base_ == nullptr || bytes == 0 ? nullptr : base_ + at; }
  const float* constants(std::vector<float> values);
  Status vector(const std::string& name, int count, Range held, const float** out);
  Status norm(const NormSpec& spec, const std::string& name, bool may_have_bias, NormWeights* out);
  Status matrix(const std::vector<Part>& parts, int tensor_cols, Range cols, bool biased, Matrix* out);
  Status layer(int index);
  Status feed_forward(int index, const std::string& prefix, LayerWeights* layer);

  const ModelSpec& spec_;
  const RankShard& shard_;
  TensorIndex& tensors_;
  uint8_t* const base_;  // null: in the first plan
  Weights* const out_;
  size_t bytes_ = 0;
  std::vector<Piece> pieces_;
};

size_t Planner::take(size_t bytes) {
  const size_t at = bytes_;
  bytes_ += (bytes + kPieceAlign - 1) / kPieceAlign * kPieceAlign;
  return at;
}

const float* Planner::constants(std::vector<float> values) {
  const int count = static_cast<int>(values.size());
  const size_t at = take(sizeof(float) * values.size());
  pieces_.push_back({nullptr, std::move(values), {0, 1}, {0, count}, Type::kF32, count, at});
  return reinterpret_cast<const float*>(address(at, sizeof(float) * count));
}

Status Planner::vector(const std::string& name, int count, Range held, const float** out) {
  std::vector<float> values;
  LOCKSTEP_RETURN_IF_ERROR(tensors_.vector(name, count, &values));
  *out = constants({values.begin() + held.first, values.begin() + held.end()});
  return Status();
}

Status Planner::norm(const NormSpec& spec, const std::string& name, bool may_have_bias, NormWeights* out) {
  if (!spec.present) return Status();
  const Range all = {0, spec_.hidden};
  *out = {nullptr, nullptr, spec.weight_offset, spec.eps, spec.layer_norm};
  LOCKSTEP_RETURN_IF_ERROR(vector(name, spec_.hidden, all, &out->weight));
  return spec.bias && may_have_bias ? vector(name + "Bias", spec_.hidden, all, &out->bias) : Status();
}

// The parts' rows, one after the other; of one type, since one product reads them.
Status Planner::matrix(const std::vector<Part>& parts, int tensor_cols, Range cols, bool biased, Matrix* out) {
  std::vector<const WeightTensor*> tensors;
  std::vector<float> bias;
  *out = Matrix();
  out->type = Type::kBf16;
  for (const Part& part : parts) {
    const WeightTensor* tensor = nullptr;
    LOCKSTEP_RETURN_IF_ERROR(tensors_.find(part.name, part.tensor_rows, tensor_cols, &tensor));
    if (tensor->format == WeightFormat::kF32) out->type = Type::kF32;
    tensors.push_back(tensor);
    out->rows += part.rows.count;
    if (!biased) continue;
    std::vector<float> values;
    LOCKSTEP_RETURN_IF_ERROR(tensors_.vector(part.name + "Bias", part.tensor_rows, &values));
    bias.insert(bias.end(), values.begin() + part.rows.first, values.begin() + part.rows.end());
  }
  out->cols = cols.count;
  out->ld = round_up(cols.count);
  const size_t row_bytes = out->ld * type_bytes(out->type);
  const size_t at = take(row_bytes * out->rows);
  out->data = address(at, row_bytes * out->rows);
  if (biased) out->bias = constants(std::move(bias));
  size_t row = 0;
  for (size_t i = 0; i < parts.size(); i++) {
    pieces_.push_back({tensors[i], {}, parts[i].rows, cols, out->type, out->ld, at + row_bytes * row});
    row += parts[i].rows.count;
  }
  return Status();
}

Status Planner::feed_forward(int index, const std::string& prefix, LayerWeights* layer) {
  const LayerSpec& spec = spec_.layers[index];
  const Range held = shard_.intermediate[index];
  std::vector<Part> up;
  std::vector<Part> down;
  for (int e = 0; e < std::max(spec.experts, 1); e++) {
    const std::string of = spec.experts == 0 ? prefix : prefix + "experts." + std::to_string(e) + ".";
    if (spec.gated) up.push_back({of + "gate", spec.intermediate, held});
    up.push_back({of + "up", spec.intermediate, held});
    down.push_back({of + "down", spec_.hidden, {0, spec_.hidden}});
  }
  const bool biased = spec.mlp_bias && spec.experts == 0;
  LOCKSTEP_RETURN_IF_ERROR(matrix(up, spec_.hidden, {0, spec_.hidden}, biased, &layer->gate_up));
  // What is cut along its columns is summed over ranks: its bias is added once.
  LOCKSTEP_RETURN_IF_ERROR(matrix(down, spec.intermediate, held, biased && shard_.rank == 0, &layer->down));
  if (spec.experts == 0) return Status();
  layer->gate_up.rows /= spec.experts;
  layer->down.rows /= spec.experts;
  return matrix({{prefix + "router", spec.experts, {0, spec.experts}}}, spec_.hidden, {0, spec_.hidden}, false, &layer->router);
}

Status Planner::layer(int index) {
  const LayerSpec& spec = spec_.layers[index];
  LayerWeights& layer = out_->layers[index];
  const std::string prefix = "layers." + std::to_string(index) + ".";
  LOCKSTEP_RETURN_IF_ERROR(norm(spec.before_attention, prefix + "attnNorm", true, &layer.before_attention));
  LOCKSTEP_RETURN_IF_ERROR(norm(spec.after_attention, prefix + "postAttnNorm", false, &layer.after_attention));
  LOCKSTEP_RETURN_IF_ERROR(norm(spec.before_mlp, prefix + "mlpNorm", true, &layer.before_mlp));
  LOCKSTEP_RETURN_IF_ERROR(norm(spec.after_mlp, prefix + "postMlpNorm", false, &layer.after_mlp));
  const int dim = spec_.head_dim;
  if (spec.qk_norm.present) {
    LOCKSTEP_RETURN_IF_ERROR(vector(prefix + "qNorm", dim, {0, dim}, &layer.q_norm));
    LOCKSTEP_RETURN_IF_ERROR(vector(prefix + "kNorm", dim, {0, dim}, &layer.k_norm));
  }
  const Range q = {shard_.heads.first * dim, shard_.heads.count * dim};
  const Range kv = {shard_.kv_heads.first * dim, shard_.kv_heads.count * dim};
  const std::vector<Part> qkv = {
      {prefix + "q", spec_.heads * dim, q}, {prefix + "k", spec_.kv_heads * dim, kv}, {prefix + "v", spec_.kv_heads * dim, kv}};
  LOCKSTEP_RETURN_IF_ERROR(matrix(qkv, spec_.hidden, {0, spec_.hidden}, spec.qkv_bias, &layer.qkv));
  const std::vector<Part> o = {{prefix + "o", spec_.hidden, {0, spec_.hidden}}};
  LOCKSTEP_RETURN_IF_ERROR(matrix(o, spec_.heads * dim, q, spec.out_bias && shard_.rank == 0, &layer.o));
  return feed_forward(index, prefix, &layer);
}

Status Planner::plan() {
  out_->layers.assign(spec_.layers.size(), {});
  out_->inverse_frequencies.clear();
  const Range hidden = {0, spec_.hidden};
  const auto table = [&](const std::string& name, int rows, Range held, Matrix* out) {
    return matrix({{name, rows, held}}, spec_.hidden, hidden, false, out);
  };
  LOCKSTEP_RETURN_IF_ERROR(table("embed", spec_.vocab, shard_.vocab, &out_->embed));
  out_->head = out_->embed;
  if (!spec_.tied) LOCKSTEP_RETURN_IF_ERROR(table("head", spec_.vocab, shard_.vocab, &out_->head));
  const Range positions = {0, spec_.learned_count};
  const Range types = {0, spec_.token_types};
  if (spec_.learned_positions) LOCKSTEP_RETURN_IF_ERROR(table("embedPositions", positions.count, positions, &out_->positions));
  if (spec_.token_types > 0) LOCKSTEP_RETURN_IF_ERROR(table("embedTypes", types.count, types, &out_->types));
  for (const RopeSpec& rope : spec_.ropes) out_->inverse_frequencies.push_back(constants(rope.inverse_frequencies));
  for (int i = 0; i < static_cast<int>(spec_.layers.size()); i++) LOCKSTEP_RETURN_IF_ERROR(layer(i));
  return norm(spec_.final_norm, "finalNorm", true, &out_->final_norm);
}

// `count` values and zeros up to `ld`.
void put_row(const float* values, int count, Type type, int ld, uint8_t* to) {
  std::memset(to, 0, ld * type_bytes(type));
  if (type == Type::kF32) {
    std::memcpy(to, values, sizeof(float) * count);
    return;
  }
  auto* halves = reinterpret_cast<uint16_t*>(to);
  for (int i = 0; i < count; i++) halves[i] = quant::float_to_bf16(values[i]);
}

// Whether the values lie in the file as they are wanted.
bool lies_as(const WeightTensor& tensor, Type type) {
  const TensorSource& source = tensor.source;
  return source.type == (type == Type::kF32 ? ElementType::kF32 : ElementType::kBf16) && !tensor.scaling.present && !source.transposed &&
         source.interleaved_head_dim == 0 && tensor.bias == 0;
}

// Rows first … first + count - 1 of a piece: straight from the file where they lie there as they are wanted.
Status make_rows(const Piece& piece, int first, int count, const SourceFiles& files, TensorRows* reader, uint8_t* to) {
  const size_t row_bytes = piece.ld * type_bytes(piece.type);
  const auto put = [&](const float* values, int row) {
    put_row(values + piece.cols.first, piece.cols.count, piece.type, piece.ld, to + row_bytes * row);
  };
  if (piece.tensor == nullptr) {
    put(piece.values.data(), 0);
    return Status();
  }
  const WeightTensor& tensor = *piece.tensor;
  if (!lies_as(tensor, piece.type)) {
    for (int row = 0; row < count; row += kRowsAtOnce) {
      const float* rows[kRowsAtOnce];
      const int held = std::min(kRowsAtOnce, count - row);
      LOCKSTEP_RETURN_IF_ERROR(reader->floats(tensor, piece.rows.first + first + row, held, rows));
      for (int i = 0; i < held; i++) put(rows[i], row + i);
    }
    return Status();
  }
  const TensorSource& source = tensor.source;
  const int64_t value_bytes = static_cast<int64_t>(type_bytes(piece.type));
  const int64_t start = source.byte_offset + ((source.first_row + piece.rows.first + first) * source.cols + piece.cols.first) * value_bytes;
  if (piece.ld == source.cols) return files.read(source.file, start, static_cast<int64_t>(row_bytes) * count, to);
  const int64_t held_bytes = piece.cols.count * value_bytes;
  for (int row = 0; row < count; row++, to += row_bytes) {
    LOCKSTEP_RETURN_IF_ERROR(files.read(source.file, start + row * source.cols * value_bytes, held_bytes, to));
    std::memset(to + held_bytes, 0, row_bytes - held_bytes);
  }
  return Status();
}

GenerateArgs generated(const Piece& piece, uint8_t* base) {
  return {base + piece.offset, piece.type,         piece.rows.count,
          piece.cols.count,    piece.ld,           piece.rows.first,
          piece.cols.first,    piece.tensor->cols, generated_key(piece.tensor->name.c_str())};
}

// With `map.generated` matrices are in no file.
Status bring(const std::vector<Piece>& pieces, const WeightMap& map, const SourceFiles& files, int threads, const Device& device,
             const WaitBounds& bounds, uint8_t* base) {
  OwnStream stream;
  LOCKSTEP_RETURN_IF_ERROR(stream.create(device));
  std::vector<const Piece*> read;
  std::vector<Upload> uploads;
  for (const Piece& piece : pieces) {
    if (map.generated && piece.tensor != nullptr) {
      LOCKSTEP_RETURN_IF_ERROR(device.check(device.runtime().kernels->generate(generated(piece, base), stream.get()), "making weights"));
      continue;
    }
    read.push_back(&piece);
    uploads.push_back({piece.offset, piece.ld * type_bytes(piece.type), piece.rows.count});
  }
  LOCKSTEP_RETURN_IF_ERROR(upload(device, bounds, base, uploads, threads, [&]() -> MakeUnits {
    return [&, reader = std::make_shared<TensorRows>(&files)](size_t index, int first, int count, uint8_t* to) {
      const Status status = make_rows(*read[index], first, count, files, reader.get(), to);
      return status.ok() ? status : Status(status.fault(), "tensor " + read[index]->tensor->name + ": " + status.text());
    };
  }));
  return stream.wait(bounds);
}

}  // namespace

Status weight_bytes(const ModelSpec& spec, const RankShard& shard, const WeightMap& map, size_t* bytes) {
  SourceFiles files;
  LOCKSTEP_RETURN_IF_ERROR(files.open(map.files));
  TensorIndex tensors(map, files);
  Weights weights;
  Planner planner(spec, shard, &tensors, nullptr, &weights);
  LOCKSTEP_RETURN_IF_ERROR(planner.plan());
  *bytes = planner.bytes();
  return Status();
}

Status load_weights(const ModelSpec& spec, const RankShard& shard, const WeightMap& map, const Device& device, const WaitBounds& bounds,
                    Weights* out) {
  SourceFiles files;
  LOCKSTEP_RETURN_IF_ERROR(files.open(map.files));
  TensorIndex tensors(map, files);
  Planner size(spec, shard, &tensors, nullptr, out);
  LOCKSTEP_RETURN_IF_ERROR(size.plan());
  LOCKSTEP_RETURN_IF_ERROR(out->memory.reserve_device(device, size.bytes(), "the weights"));
  Planner planner(spec, shard, &tensors, out->memory.data(), out);
  LOCKSTEP_RETURN_IF_ERROR(planner.plan());

  const int threads = static_cast<int>(std::thread::hardware_concurrency()) / shard.world_size;
  return bring(planner.pieces(), map, files, threads, device, bounds, out->memory.data());
}

}  // namespace lockstep::cuda
