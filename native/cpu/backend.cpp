// Row work and linear layers.
#include "cpu/backend.h"

#include <algorithm>
#include <cstring>

namespace lockstep::cpu {
namespace {

// Where the next product takes bf16 and nothing else, whoever makes its rows rounds them on the way: they lie in the memory of the floats
// that they stand for, and no thread waits for the rounding of others' columns. (Int8 needs whole rows first.)
Input bf16_rows(const float* memory, int k) {
  Input input{};
  input.k_padded = k;
  input.bf16 = reinterpret_cast<const uint16_t*>(memory);
  return input;
}

}  // namespace

Input from_row(Input input, int row) {
  const size_t at = static_cast<size_t>(row) * input.k_padded;
  if (input.f32 != nullptr) input.f32 += at;
  if (input.bf16 != nullptr) input.bf16 += at;
  if (input.int8 != nullptr) input.int8 += row * Int8Layout(input.k_padded).bytes;
  return input;
}

GemmOut from_row(GemmOut out, int row) {
  const size_t at = static_cast<size_t>(row) * out.ld;
  if (out.out != nullptr) out.out += at;
  if (out.bf16 != nullptr) out.bf16 += at;
  return out;
}

RowParts::RowParts(int m, int workers) : m_(m) {
  constexpr int kFewest = 96;
  constexpr int kMost = 256;
  count_ = std::clamp(m / kFewest, 1, workers);
  while (workers % count_ != 0) count_--;
  if (count_ == workers) count_ *= (m + workers * kMost - 1) / (workers * kMost);
}

// Rows worth handing to another thread: about a microsecond's work, several times the price of the handing over.
int CpuBackend::row_grain(int values) const { return std::max(1, 4096 / std::max(values, 1)); }

// Chunks small enough that a disturbed thread's share can be stolen, and each still a long stream of weights.
int CpuBackend::linear_grain(int blocks) const { return std::clamp(blocks / (threads_->count() * 8), 1, 16); }

Input CpuBackend::input_of(int k, int first_row) const {
  const InputBuffers& b = a_.input;
  return from_row({round_up(k, kGroup), b.f32, b.bf16, b.int8}, first_row);
}

// Whether gate_up leaves the input of down in `act`, as bf16 rows without padding.
bool CpuBackend::activation_is_input(int layer) const {
  const LayerSpec& spec = spec_.layers[layer];
  return spec.experts == 0 && down_width(layer) % kGroup == 0 && w_.layers[layer].down.input_kinds == kind_bit(InputKind::kBf16);
}

void CpuBackend::apply_norm(const Norm& norm, const float* x, float* out) const {
  if (norm.spec->layer_norm) {
    k_.layer_norm(x, norm.weight, norm.bias, norm.spec->eps, spec_.hidden, out);
  } else {
    k_.rms_norm(x, norm.weight, norm.spec->weight_offset, norm.spec->eps, spec_.hidden, out);
  }
}

void CpuBackend::prepare_row(const float* source, int k, unsigned kinds, const Norm* norm, int row, float* scratch) {
  const InputBuffers& to = a_.input;
  const int k_padded = round_up(k, kGroup);
  const size_t at = static_cast<size_t>(row) * k_padded;
  if (norm != nullptr) {
    apply_norm(*norm, source, scratch);
    source = scratch;
  }
  if ((kinds & kind_bit(InputKind::kF32)) != 0) {
    std::memcpy(to.f32 + at, source, sizeof(float) * k);
    std::fill(to.f32 + at + k, to.f32 + at + k_padded, 0.0F);
  }
  if ((kinds & kind_bit(InputKind::kBf16)) != 0) k_.to_bf16(source, k, k_padded, to.bf16 + at);
  if ((kinds & kind_bit(InputKind::kInt8)) != 0) k_.to_int8(source, k, k_padded, to.int8 + row * Int8Layout(k_padded).bytes);
}

// With post_norm what the norm makes of a row of x takes its place.
void CpuBackend::prepare(const RowSource& source, int rows, int k, unsigned kinds, const Norm* norm) {
  const bool replaces = spec_.post_norm && norm != nullptr && source.outputs == nullptr;
  deal(rows, row_grain(k), [&](int thread, int first, int n) {
    float* scratch = row_scratch_ + row_scratch_ld_ * thread;
    const auto source_of = [&](int i) {
      const StepOutput* output = source.outputs == nullptr ? nullptr : source.outputs + i;
      return source.base + source.ld * (output == nullptr ? i : row_of(output->entry, output->slot));
    };
    for (int i = first; i < first + n; i++) {
      if (i + kRowsAhead < rows) fetch_values(source_of(i + kRowsAhead), k);
      prepare_row(source_of(i), k, kinds, norm, i, scratch);
      if (replaces) std::memcpy(a_.x + static_cast<size_t>(i) * s_.ld_hidden, scratch, sizeof(float) * k);
    }
  });
}

void CpuBackend::multiply_chunk(const Matrix& w, int first, int count, const Input& input, int m, const GemmOut& out, const uint8_t* then) {
  int before = 0;
  for (const Segment& segment : w.segments) {
    const int from = std::max(first - before, 0);
    const int to = std::min(first + count - before, segment.num_blocks());
    before += segment.num_blocks();
    if (from >= to) continue;
    GemmOut here = out;
    here.out += segment.out_first;
    if (here.bf16 != nullptr) here.bf16 += segment.out_first;
    here.bias = segment.bias;
    Packed packed = segment.packed;
    if (first + count <= before) packed.then = then;
    k_.gemm(packed, from, to - from, input, m, here);
  }
}

void CpuBackend::multiply(const Matrix& w, const Input& input, int m, const GemmOut& out, const Matrix* next) {
  if (m == 0) return;
  const int blocks = w.num_blocks();
  const RowParts rows(m, threads_->count());
  const int chunks = blocks * rows.count();
  threads_->run(chunks, linear_grain(chunks), [&](int thread, int first, int n) {
    const bool ends_share = rows.count() == 1 && first + n == threads_->share_begin(blocks, thread + 1);
    rows.each(blocks, first, n, [&](Range r, int block, int count) {
      multiply_chunk(w, block, count, from_row(input, r.first), r.count, from_row(out, r.first),
                     ends_share ? share_of(next, thread) : nullptr);
    });
  });
}

// Where a thread begins with its share of a matrix; null: nowhere. The kernels fetch it along with the last block of the product before:
// otherwise each product would begin with waiting for memory that has stood idle since the last one.
const uint8_t* CpuBackend::share_of(const Matrix* w, int thread) const {
  if (w == nullptr) return nullptr;
  int block = shares_work() ? 0 : threads_->share_begin(w->num_blocks(), thread);
  for (const Segment& segment : w->segments) {
    const Packed& packed = segment.packed;
    if (block < segment.num_blocks()) return packed.data + k_.packed_block_bytes(packed.format, packed.cols) * block;
    block -= segment.num_blocks();
  }
  return nullptr;
}

// Row `id` of a table that lies with whoever holds its block.
void CpuBackend::lookup(const Matrix Weights::*table, int id, float* out) const {
  for (int r = 0; r < (gather_ ? shard_.world_size : 1); r++) {
    const Weights& weights = gather_ ? *parts_[r] : w_;
    for (const Segment& segment : (weights.*table).segments) {
      const int row = id - segment.first_row;
      if (row < 0 || row >= segment.packed.rows) continue;
      const size_t block_bytes = k_.packed_block_bytes(segment.packed.format, spec_.hidden);
      k_.unpack_row(segment.packed.format, segment.packed.data + block_bytes * (row / kBlockRows), row % kBlockRows, spec_.hidden, out);
      return;
    }
  }
  std::fill(out, out + spec_.hidden, 0.0F);  // reduce mode: another rank's part of the vocabulary
}

void CpuBackend::embed() {
  const Matrix Weights::*table = spec_.tied ? &Weights::head : &Weights::embed;
  float* out = gather_ ? a_.x : a_.y;
  deal(m_, row_grain(spec_.hidden), [&](int thread, int first, int n) {
    for (int i = first; i < first + n; i++) {
      lookup(table, step_->slot_token[i], out + static_cast<size_t>(i) * s_.ld_hidden);
      if (gather_) finish_embedding(i, out, thread);
    }
  });
}

void CpuBackend::add_embedding() {
  if (gather_) return;  // embed has done it
  deal(m_, row_grain(spec_.hidden), [&](int thread, int first, int n) {
    for (int i = first; i < first + n; i++) finish_embedding(i, a_.y, thread);
  });
}

// Row i of x = embedding * scale [+ token type] [+ learned position]
void CpuBackend::finish_embedding(int i, const float* embeddings, int thread) {
  const float* embedding = embeddings + static_cast<size_t>(i) * s_.ld_hidden;
  float* x = a_.x + static_cast<size_t>(i) * s_.ld_hidden;
  float* row = row_scratch_ + row_scratch_ld_ * thread;
  for (int c = 0; c < spec_.hidden; c++) x[c] = embedding[c] * spec_.embedding_scale;
  if (spec_.token_types > 0) {
    lookup(&Weights::types, token_type(i), row);
    k_.add(row, spec_.hidden, x);
  }
  if (spec_.learned_positions) {
    lookup(&Weights::positions, step_->slot_position[i] + spec_.learned_offset, row);
    k_.add(row, spec_.hidden, x);
  }
}

// A sequence is one segment of type 0, or two.
int CpuBackend::token_type(int slot) const {
  const int second = group_->buffers().rows.secondSegment[step_->entries[step_->slot_entry[slot]].row];
  return step_->slot_position[slot] >= second ? std::min(1, spec_.token_types - 1) : 0;
}

void CpuBackend::attention_input(int layer) {
  plan_attention(layer);
  const LayerWeights& lw = w_.layers[layer];
  const Norm norm{&spec_.layers[layer].before_attention, lw.attn_norm, lw.attn_norm_bias};
  prepare({a_.x, static_cast<size_t>(s_.ld_hidden), nullptr}, m_, spec_.hidden, lw.qkv.input_kinds, &norm);
}

void CpuBackend::qkv(int layer) {
  const auto matrix_of = [=](const Weights& w) -> const Matrix& { return w.layers[layer].qkv; };
  multiply_shared(matrix_of, input_of(spec_.hidden, 0), m_, store_to(a_.qkv, s_.ld_qkv), &w_.layers[layer].o);
}

void CpuBackend::out_projection(int layer) {
  const Matrix& o = w_.layers[layer].o;
  GemmOut out = store_to(a_.y, s_.ld_hidden);
  if (!adds_attention(layer)) {
    out.out = a_.x;
    out.epilogue = Epilogue::kAdd;
  }
  if (!gather_ && o.segments.empty()) std::memset(a_.y, 0, sizeof(float) * partial_count());  // a rank without heads takes part with zeros
  const auto matrix_of = [=](const Weights& w) -> const Matrix& { return w.layers[layer].o; };
  const int k = s_.heads * s_.head_dim;
  multiply_shared(matrix_of, attention_is_input(layer) ? bf16_rows(a_.attn, k) : input_of(k, 0), m_, out, &w_.layers[layer].gate_up);
}

// x += [norm of] y
void CpuBackend::add_rows(const Norm& norm, int rows) {
  deal(rows, row_grain(spec_.hidden), [&](int thread, int first, int n) {
    float* scratch = row_scratch_ + row_scratch_ld_ * thread;
    for (int i = first; i < first + n; i++) {
      const float* y = a_.y + static_cast<size_t>(i) * s_.ld_hidden;
      if (norm.spec->present) {
        apply_norm(norm, y, scratch);
        y = scratch;
      }
      k_.add(y, spec_.hidden, a_.x + static_cast<size_t>(i) * s_.ld_hidden);
    }
  });
}

void CpuBackend::add_attention(int layer) {
  add_rows({&spec_.layers[layer].after_attention, w_.layers[layer].post_attn_norm, nullptr}, m_);
}
void CpuBackend::add_mlp(int layer) { add_rows({&spec_.layers[layer].after_mlp, w_.layers[layer].post_mlp_norm, nullptr}, m_); }

void CpuBackend::mlp_input(int layer) {
  const LayerWeights& lw = w_.layers[layer];
  const Norm norm{&spec_.layers[layer].before_mlp, lw.mlp_norm, lw.mlp_norm_bias};
  prepare({a_.x, static_cast<size_t>(s_.ld_hidden), nullptr}, m_, spec_.hidden, mlp_input_kinds(layer), &norm);
}

void CpuBackend::gate_up(int layer) {
  const LayerSpec& spec = spec_.layers[layer];
  if (spec.experts > 0) return experts_gate_up(layer);
  GemmOut out = store_to(a_.act, s_.ld_act);
  out.epilogue = spec.gated ? Epilogue::kGated : Epilogue::kAct;
  out.activation = spec.activation;
  if (activation_is_input(layer)) {
    out.bf16 = reinterpret_cast<uint16_t*>(a_.act);
    out.ld = down_width(layer);
  }
  const auto matrix_of = [=](const Weights& w) -> const Matrix& { return w.layers[layer].gate_up; };
  multiply_shared(matrix_of, input_of(spec_.hidden, 0), m_, out, &w_.layers[layer].down);
}

// Values of the intermediate that are held here.
int CpuBackend::down_width(int layer) const { return gather_ ? spec_.layers[layer].intermediate : shard_.intermediate[layer].count; }

void CpuBackend::down_input(int layer) {
  const LayerSpec& spec = spec_.layers[layer];
  const int k = down_width(layer);
  const int rows = spec.experts > 0 ? m_ * spec.experts_top_k : m_;
  if (k > 0) prepare({a_.act, static_cast<size_t>(s_.ld_act), nullptr}, rows, k, down_input_kinds(layer), nullptr);
}

void CpuBackend::down(int layer) {
  const LayerSpec& spec = spec_.layers[layer];
  if (spec.experts > 0) return experts_down(layer);
  const Matrix& down = w_.layers[layer].down;
  GemmOut out = store_to(a_.y, s_.ld_hidden);
  if (!adds_mlp(layer)) {
    out.out = a_.x;
    out.epilogue = Epilogue::kAdd;
  }
  if (!gather_ && down.segments.empty()) std::memset(a_.y, 0, sizeof(float) * partial_count());
  const int k = down_width(layer);
  const auto matrix_of = [=](const Weights& w) -> const Matrix& { return w.layers[layer].down; };
  multiply_shared(matrix_of, activation_is_input(layer) ? bf16_rows(a_.act, k) : input_of(k, 0), m_, out,
                  is_last(layer) ? &w_.head : &w_.layers[layer + 1].qkv);
}

}  // namespace lockstep::cpu
