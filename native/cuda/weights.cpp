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

// Rows of a tensor.
struct Rows {
  const WeightTensor* tensor;
  Range range;
};

// What is made and copied in one way, in units that follow each other: rows, or tiles of bricks.
struct Piece {
  std::vector<Rows> sources;  // one after the other; none: `values`, one row of float32
  std::vector<float> values;
  Range cols;
  Type type;
  Bricks bricks;
  int rows, ld;
  size_t offset;  // of the first unit

  int units() const { return bricks == Bricks::kNone ? rows : tiles_down(rows); }
  size_t unit_bytes() const { return bricks == Bricks::kNone ? ld * type_bytes(type) : tile_bytes(bricks, cols.count); }
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
  Status matrix(const std::vector<Part>& parts, int tensor_cols, Range cols, bool biased, Matrix* out, int experts = 1,
                bool may_be_bricks = true);
  Bricks bricks_of(const std::vector<Rows>& rows, Range cols) const;
  Status qkv(const std::vector<Part>& parts, bool biased, std::vector<Matrix>* out);
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
  pieces_.push_back({{}, std::move(values), {0, count}, Type::kF32, Bricks::kNone, 1, count, at});
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

// That of all rows alike; else kNone.
Bricks Planner::bricks_of(const std::vector<Rows>& rows, Range cols) const {
  const Bricks bricks = bricks_for(*rows[0].tensor, cols);
  const bool alike = std::all_of(rows.begin(), rows.end(), [&](const Rows& part) { return bricks_for(*part.tensor, cols) == bricks; });
  return alike ? bricks : Bricks::kNone;
}

// The parts' rows, one after the other; of one kind, since one product reads them. `experts` of them take equal numbers of the parts.
Status Planner::matrix(const std::vector<Part>& parts, int tensor_cols, Range cols, bool biased, Matrix* out, int experts,
                       bool may_be_bricks) {
  std::vector<Rows> rows;
  std::vector<float> bias;
  *out = Matrix();
  out->type = Type::kBf16;
  for (const Part& part : parts) {
    const WeightTensor* tensor = nullptr;
    LOCKSTEP_RETURN_IF_ERROR(tensors_.find(part.name, part.tensor_rows, tensor_cols, &tensor));
    if (tensor->format == WeightFormat::kF32) out->type = Type::kF32;
    rows.push_back({tensor, part.rows});
    out->rows += part.rows.count;
    if (!biased) continue;
    std::vector<float> values;
    LOCKSTEP_RETURN_IF_ERROR(tensors_.vector(part.name + "Bias", part.tensor_rows, &values));
    bias.insert(bias.end(), values.begin() + part.rows.first, values.begin() + part.rows.end());
  }
  out->rows /= experts;
  out->cols = cols.count;
  out->ld = round_up(cols.count);
  if (may_be_bricks && cols.count > 0) out->bricks = bricks_of(rows, cols);
  Piece piece{{}, {}, cols, out->type, out->bricks, out->rows, out->ld, 0};
  const size_t expert_bytes = piece.unit_bytes() * piece.units();
  const size_t at = take(expert_bytes * experts);
  out->data = address(at, expert_bytes * experts);
  if (biased) out->bias = constants(std::move(bias));
  const size_t of_expert = rows.size() / experts;
  for (int e = 0; e < experts; e++) {
    piece.sources.assign(rows.begin() + of_expert * e, rows.begin() + of_expert * (e + 1));
    piece.offset = at + expert_bytes * e;
    pieces_.push_back(piece);
  }
  return Status();
}

Status Planner::qkv(const std::vector<Part>& parts, bool biased, std::vector<Matrix>* out) {
  const Range all = {0, spec_.hidden};
  std::vector<Bricks> kinds;
  for (const Part& part : parts) {
    const WeightTensor* tensor = nullptr;
    LOCKSTEP_RETURN_IF_ERROR(tensors_.find(part.name, part.tensor_rows, spec_.hidden, &tensor));
    kinds.push_back(bricks_for(*tensor, all));
  }
  const bool alike = std::all_of(kinds.begin(), kinds.end(), [&](Bricks kind) { return kind == kinds[0]; });
  out->resize(alike ? 1 : parts.size());
  if (alike) return matrix(parts, spec_.hidden, all, biased, out->data());
  for (size_t i = 0; i < parts.size(); i++) LOCKSTEP_RETURN_IF_ERROR(matrix({parts[i]}, spec_.hidden, all, biased, &(*out)[i]));
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
  const int experts = std::max(spec.experts, 1);
  LOCKSTEP_RETURN_IF_ERROR(matrix(up, spec_.hidden, {0, spec_.hidden}, biased, &layer->gate_up, experts));
  // What is cut along its columns is summed over ranks: its bias is added once.
  LOCKSTEP_RETURN_IF_ERROR(matrix(down, spec.intermediate, held, biased && shard_.rank == 0, &layer->down, experts));
  if (spec.experts == 0) return Status();
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
  LOCKSTEP_RETURN_IF_ERROR(this->qkv(qkv, spec.qkv_bias, &layer.qkv));
  const std::vector<Part> o = {{prefix + "o", spec_.hidden, {0, spec_.hidden}}};
  LOCKSTEP_RETURN_IF_ERROR(matrix(o, spec_.heads * dim, q, spec.out_bias && shard_.rank == 0, &layer.o));
  return feed_forward(index, prefix, &layer);
}

Status Planner::plan() {
  out_->layers.assign(spec_.layers.size(), {});
  out_->inverse_frequencies.clear();
  const Range hidden = {0, spec_.hidden};
  const auto table = [&](const std::string& name, int rows, Range held, Matrix* out, bool may_be_bricks) {
    return matrix({{name, rows, held}}, spec_.hidden, hidden, false, out, 1, may_be_bricks);
  };
  LOCKSTEP_RETURN_IF_ERROR(table("embed", spec_.vocab, shard_.vocab, &out_->embed, true));
  out_->head = out_->embed;
  if (!spec_.tied) LOCKSTEP_RETURN_IF_ERROR(table("head", spec_.vocab, shard_.vocab, &out_->head, true));
  const Range positions = {0, spec_.learned_count};
  const Range types = {0, spec_.token_types};
  if (spec_.learned_positions) LOCKSTEP_RETURN_IF_ERROR(table("embedPositions", positions.count, positions, &out_->positions, false));
  if (spec_.token_types > 0) LOCKSTEP_RETURN_IF_ERROR(table("embedTypes", types.count, types, &out_->types, false));
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

// Makes units of pieces, for one thread.
class UnitMaker {
 public:
  UnitMaker(const SourceFiles* files, const QuantizeBlocks* quantize) : files_(*files), reader_(files), quantize_(*quantize) {}
  // Units first … first + count - 1.
  Status make(const Piece& piece, int first, int count, uint8_t* out);

 private:
  // Calls use(tensor, its first row, number of rows, the first of them as a row of the piece) for each source of these rows.
  template <class Use>
  static Status each_source(const Piece& piece, int first, int count, Use use);
  Status put_rows(const Piece& piece, const WeightTensor& tensor, int first, int count, uint8_t* out);
  // Straight from the file.
  Status copy_rows(const Piece& piece, const WeightTensor& tensor, int first, int count, uint8_t* out) const;

  const SourceFiles& files_;
  TensorRows reader_;
  const QuantizeBlocks& quantize_;
};

template <class Use>
Status UnitMaker::each_source(const Piece& piece, int first, int count, Use use) {
  int begin = 0;
  for (const Rows& rows : piece.sources) {
    const int from = std::max(first, begin);
    const int to = std::min(first + count, begin + rows.range.count);
    if (from < to) {
      const Status status = use(*rows.tensor, rows.range.first + from - begin, to - from, from);
      if (!status.ok()) return Status(status.fault(), "tensor " + rows.tensor->name + ": " + status.text());
    }
    begin += rows.range.count;
  }
  return Status();
}

Status UnitMaker::put_rows(const Piece& piece, const WeightTensor& tensor, int first, int count, uint8_t* out) {
  for (int row = 0; row < count; row += kRowsAtOnce) {
    const float* rows[kRowsAtOnce];
    const int held = std::min(kRowsAtOnce, count - row);
    LOCKSTEP_RETURN_IF_ERROR(reader_.floats(tensor, first + row, held, rows));
    for (int i = 0; i < held; i++, out += piece.unit_bytes())
      put_row(rows[i] + piece.cols.first, piece.cols.count, piece.type, piece.ld, out);
  }
  return Status();
}

Status UnitMaker::copy_rows(const Piece& piece, const WeightTensor& tensor, int first, int count, uint8_t* out) const {
  const TensorSource& source = tensor.source;
  const auto value_bytes = static_cast<int64_t>(type_bytes(piece.type));
  const size_t row_bytes = piece.unit_bytes();
  const int64_t start = source.byte_offset + ((source.first_row + first) * source.cols + piece.cols.first) * value_bytes;
  if (piece.ld == source.cols) return files_.read(source.file, start, static_cast<int64_t>(row_bytes) * count, out);
  const int64_t held_bytes = piece.cols.count * value_bytes;
  for (int row = 0; row < count; row++, out += row_bytes) {
    LOCKSTEP_RETURN_IF_ERROR(files_.read(source.file, start + row * source.cols * value_bytes, held_bytes, out));
    std::memset(out + held_bytes, 0, row_bytes - held_bytes);
  }
  return Status();
}

Status UnitMaker::make(const Piece& piece, int first, int count, uint8_t* out) {
  const size_t unit_bytes = piece.unit_bytes();
  if (piece.sources.empty()) put_row(piece.values.data(), piece.cols.count, piece.type, piece.ld, out);
  if (piece.bricks == Bricks::kNone) {
    return each_source(piece, first, count, [&](const WeightTensor& tensor, int from, int num, int at) {
      uint8_t* to = out + unit_bytes * (at - first);
      return lies_as(tensor, piece.type) ? copy_rows(piece, tensor, from, num, to) : put_rows(piece, tensor, from, num, to);
    });
  }
  std::memset(out, 0, unit_bytes * count);
  for (int tile = first; tile < first + count; tile++, out += unit_bytes) {
    const int row = tile * kBrickRows;
    LOCKSTEP_RETURN_IF_ERROR(each_source(piece, row, kBrickRows, [&](const WeightTensor& tensor, int from, int num, int at) {
      return pack_rows(tensor, from, num, piece.cols, piece.bricks, quantize_, &reader_, at - row, out);
    }));
  }
  return Status();
}

// On the device, what is in no file.
Status generate(const Piece& piece, uint8_t* base, const Device& device, const OwnStream& stream) {
  uint8_t* to = base + piece.offset;
  for (const Rows& rows : piece.sources) {
    GenerateArgs args{};
    args.out = to;
    args.type = piece.type;
    args.rows = rows.range.count, args.cols = piece.cols.count, args.ld = piece.ld;
    args.first_row = rows.range.first, args.first_col = piece.cols.first, args.total_cols = rows.tensor->cols;
    args.key = generated_key(rows.tensor->name.c_str());
    LOCKSTEP_RETURN_IF_ERROR(device.check(device.runtime().kernels->generate(args, stream.get()), "making weights"));
    to += piece.unit_bytes() * rows.range.count;
  }
  return Status();
}

// With `map.generated` matrices are in no file.
Status bring(const std::vector<Piece>& pieces, const WeightMap& map, const SourceFiles& files, const QuantizeBlocks& quantize, int threads,
             const Device& device, const WaitBounds& bounds, uint8_t* base) {
  OwnStream stream;
  LOCKSTEP_RETURN_IF_ERROR(stream.create(device));
  std::vector<const Piece*> read;
  std::vector<Upload> uploads;
  for (const Piece& piece : pieces) {
    if (map.generated && !piece.sources.empty()) {
      LOCKSTEP_RETURN_IF_ERROR(generate(piece, base, device, stream));
      continue;
    }
    read.push_back(&piece);
    uploads.push_back({piece.offset, piece.unit_bytes(), piece.units()});
  }
  LOCKSTEP_RETURN_IF_ERROR(upload(device, bounds, base, uploads, threads, [&]() -> MakeUnits {
    return [&, maker = std::make_shared<UnitMaker>(&files, &quantize)](size_t index, int first, int count, uint8_t* to) {
      return maker->make(*read[index], first, count, to);
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

Status load_weights(const ModelSpec& spec, const RankShard& shard, const WeightMap& map, const QuantizeBlocks& quantize,
                    const Device& device, const WaitBounds& bounds, Weights* out) {
  SourceFiles files;
  LOCKSTEP_RETURN_IF_ERROR(files.open(map.files));
  TensorIndex tensors(map, files);
  Planner size(spec, shard, &tensors, nullptr, out);
  LOCKSTEP_RETURN_IF_ERROR(size.plan());
  LOCKSTEP_RETURN_IF_ERROR(out->memory.reserve_device(device, size.bytes(), "the weights"));
  Planner planner(spec, shard, &tensors, out->memory.data(), out);
  LOCKSTEP_RETURN_IF_ERROR(planner.plan());

  const int threads = static_cast<int>(std::thread::hardware_concurrency()) / shard.world_size;
  return bring(planner.pieces(), map, files, quantize, threads, device, bounds, out->memory.data());
}

}  // namespace lockstep::cuda
