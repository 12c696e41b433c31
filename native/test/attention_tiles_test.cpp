// Attention in tiles on tensor cores, with the plan that cuts it (attention_plan.h), against float64; and that a slot's bits are the same
// however its step is cut: alone or beside others, in tiles of few rows or of many, by one block or in pieces.
#include <algorithm>

#include "cuda/attention_pieces.h"
#include "cuda/attention_plan.h"
#include "device_bench.h"

namespace lockstep::test {
namespace {

using namespace cuda;

struct Shape {
  int group, first_head, heads, first_kv_head, kv_heads, dim, block_size;
  int window = 0;
  float softcap = 0;
  bool sees_all = false;
  int max_len = 592;
};

struct Chunk {
  int row, position, num_slots;
};

constexpr int kRows = 3;
constexpr float kScale = 0.4F;

// Sequences of max_len tokens: their queries, and a cache that has their K and V, and no numbers where nothing was written.
class Sequences {
 public:
  Sequences(Bench& b, const Shape& shape) : b_(b), s_(shape) {
    table_len_ = (s_.max_len + s_.block_size - 1) / s_.block_size;
    const size_t per_row = static_cast<size_t>(table_len_) * s_.block_size * s_.kv_heads * s_.dim;
    uint16_t* caches[2] = {b.take<uint16_t>(kRows * per_row), b.take<uint16_t>(kRows * per_row)};
    kv_ = {caches[0], caches[1], Type::kBf16, s_.kv_heads, s_.block_size, s_.dim};
    q_ = b.random.values(static_cast<size_t>(kRows) * s_.max_len * width(), 2);
    for (int which = 0; which < 2; which++) {
      values_[which] = b.random.values(static_cast<size_t>(kRows) * s_.max_len * s_.kv_heads * s_.dim);
      for (float& x : values_[which]) x = bf16_round(x);
    }
    std::vector<int32_t> tables(static_cast<size_t>(kRows) * table_len_);
    for (size_t i = 0; i < tables.size(); i++) tables[i] = static_cast<int32_t>(tables.size() - 1 - i);
    tables_ = b.values(tables);
    for (int row = 0; row < kRows; row++) {
      for (int key = 0; key < s_.max_len; key++) {
        const size_t block = tables[static_cast<size_t>(row) * table_len_ + key / s_.block_size];
        for (int h = 0; h < s_.kv_heads; h++) {
          const size_t to = ((block * s_.kv_heads + h) * s_.block_size + key % s_.block_size) * s_.dim;
          for (int which = 0; which < 2; which++) {
            for (int d = 0; d < s_.dim; d++) caches[which][to + d] = to_bf16(value(which, row, key, h)[d]);
          }
        }
      }
    }
  }

  int width() const { return s_.heads * s_.dim; }

  // One step's results, [slots, width].
  std::vector<float> attend(const std::vector<Chunk>& chunks, bool few_alone, int max_parts) {
    StepView step;
    std::vector<int32_t> position, end_of, row_of;
    std::vector<float> q;
    for (const Chunk& chunk : chunks) {
      StepEntry entry{};
      entry.row = chunk.row, entry.first_slot = static_cast<int>(position.size()), entry.num_slots = chunk.num_slots;
      entry.position = chunk.position;
      step.entries.push_back(entry);
      for (int i = 0; i < chunk.num_slots; i++) {
        position.push_back(chunk.position + i);
        end_of.push_back(chunk.position + chunk.num_slots);
        row_of.push_back(chunk.row);
        const float* from = query(chunk.row, chunk.position + i);
        q.insert(q.end(), from, from + width());
      }
    }
    const int slots = static_cast<int>(position.size());
    const int ld_out = width() + kAlign;
    const RowsOut out = b_.out(slots, ld_out);
    std::vector<AttentionItem> items(static_cast<size_t>(slots + max_parts));
    const AttentionWork work =
        cut_attention(step, attention_cut(s_.group, s_.dim, max_parts, !s_.sees_all), s_.window, few_alone, items.data());
    b_.check.expect(work.num_few + work.num_many <= slots + max_parts, "%d and %d items", work.num_few, work.num_many);
    const AttentionArgs plain = {b_.values(q),
                                 slots,
                                 width(),
                                 s_.heads,
                                 s_.first_head,
                                 s_.first_kv_head,
                                 s_.group,
                                 kv_,
                                 b_.values(position),
                                 b_.values(end_of),
                                 b_.values(row_of),
                                 tables_,
                                 table_len_,
                                 s_.sees_all,
                                 s_.window,
                                 kScale,
                                 s_.softcap,
                                 out};
    const size_t units = static_cast<size_t>(attention_units(plain, kFewRows));
    const AttentionItem* there = b_.values(items);
    float* parts = b_.take<float>(units * max_parts * kFewRows * (s_.dim + 2));
    uint32_t* ended = b_.values(std::vector<uint32_t>(units * max_parts));
    // A grid for more items than there are, as a recording's is.
    const int32_t* counts = b_.values(std::vector<int32_t>{work.num_few, work.num_many});
    b_.run(b_.runtime->kernels->attention_few, {plain, there, counts, work.num_few + 1, parts, ended});
    b_.run(b_.runtime->kernels->attention_many, {plain, there + work.num_few, counts + 1, work.num_many, nullptr, nullptr});
    for (size_t i = 0; i < units * max_parts; i++) b_.check.expect(ended[i] == 0, "a counter of parts is left at %u", ended[i]);
    std::vector<float> result;
    for (int slot = 0; slot < slots; slot++) {
      const float* from = out.f32 + static_cast<size_t>(slot) * ld_out;
      result.insert(result.end(), from, from + width());
      for (int c = 0; c < ld_out; c++) {
        b_.check.expect(out.bf16[static_cast<size_t>(slot) * ld_out + c] == to_bf16(from[c]), "bf16 is not the rounded value");
        b_.check.expect(c < width() || from[c] == 0, "behind the heads of slot %d is %g", slot, wide(from[c]));
      }
    }
    return result;
  }

  // A slot's exact result, of queries rounded as the kernels round them.
  std::vector<double> exact(const Chunk& chunk, int i) const {
    const int position = chunk.position + i;
    const int all = chunk.position + chunk.num_slots;
    const int first = s_.window > 0 ? std::max(0, position - s_.window + 1) : 0;
    const int end = !s_.sees_all ? position + 1 : s_.window > 0 ? std::min(all, position + s_.window) : all;
    std::vector<double> out(static_cast<size_t>(width()));
    for (int h = 0; h < s_.heads; h++) {
      const int kv_head = (s_.first_head + h) / s_.group - s_.first_kv_head;
      const float* q = query(chunk.row, position) + h * s_.dim;
      std::vector<double> weights;
      double max = -1e300, sum = 0;
      for (int key = first; key < end; key++) {
        double score = 0;
        for (int d = 0; d < s_.dim; d++) score += wide(bf16_round(q[d])) * wide(value(0, chunk.row, key, kv_head)[d]);
        score *= wide(kScale);
        if (s_.softcap > 0) score = wide(s_.softcap) * std::tanh(score / wide(s_.softcap));
        weights.push_back(score);
        max = std::max(max, score);
      }
      for (double& weight : weights) sum += weight = std::exp(weight - max);
      for (int key = first; key < end; key++) {
        for (int d = 0; d < s_.dim; d++) out[h * s_.dim + d] += weights[key - first] / sum * wide(value(1, chunk.row, key, kv_head)[d]);
      }
    }
    return out;
  }

 private:
  const float* query(int row, int position) const { return q_.data() + (static_cast<size_t>(row) * s_.max_len + position) * width(); }
  // Of K or V.
  const float* value(int which, int row, int key, int head) const {
    return values_[which].data() + ((static_cast<size_t>(row) * s_.max_len + key) * s_.kv_heads + head) * s_.dim;
  }

  Bench& b_;
  const Shape s_;
  int table_len_ = 0;
  KvCache kv_{};
  const int32_t* tables_ = nullptr;
  std::vector<float> q_, values_[2];
};

void check_shape(Bench& b, const Shape& shape, const std::vector<Chunk>& chunks) {
  b.clear();
  Sequences sequences(b, shape);
  constexpr int kPartsForAll = 40;
  const std::vector<float> together = sequences.attend(chunks, false, kPartsForAll);
  const size_t width = sequences.width();
  size_t slot = 0;
  for (const Chunk& chunk : chunks) {
    // Half a unit of the rounded weights.
    for (int i = 0; i < chunk.num_slots; i++) {
      const std::vector<double> want = sequences.exact(chunk, i);
      for (size_t c = 0; c < width; c++)
        b.check.near(wide(together[(slot + i) * width + c]), want[c], 4e-3, "attention in tiles", static_cast<int>(c));
    }
    const auto same = [&](const std::vector<float>& other, int first, const char* how) {
      b.check.expect(same_bits(other.data(), together.data() + (slot + first) * width, other.size()),
                     "heads of %d, %d slots at %d: other bits %s", shape.dim, chunk.num_slots, chunk.position + first, how);
    };
    same(sequences.attend({chunk}, true, kPartsForAll), 0, "alone, in pieces");
    same(sequences.attend({chunk}, true, 0), 0, "alone, in tiles of few");
    for (int i = 0; !shape.sees_all && i < chunk.num_slots; i += 6) {
      same(sequences.attend({{chunk.row, chunk.position + i, 1}}, true, i % 2 == 0 ? kPartsForAll : 0), i, "slot for slot");
    }
    slot += chunk.num_slots;
  }
}

// Pieces follow each other, and tiles of keys lie in one each.
void check_pieces(Check& check) {
  int count = 0;
  for (int key = 0; key < 100000; key = piece_end(key), count++) {
    const int last = piece_end(key) - 1;
    check.expect(piece_begin(key) == key && piece_begin(last) == key && piece_end(last) == last + 1 && key % 64 == 0, "the piece at %d",
                 key);
    const int want = key == 1024 ? 8 : key == 8192 ? 36 : key == 32768 ? 84 : count;
    check.expect(count == want && count_pieces(0, last + 1) == count + 1, "%d pieces before %d", count, key);
  }
}

}  // namespace

void attention_tiles(Bench& b) {
  // A first token, drafts behind the border of a piece, and a chunk over it that fills a tile of many rows.
  const std::vector<Chunk> some = {{0, 0, 1}, {2, 256, 2}, {1, 250, 17}};
  check_pieces(b.check);
  for (const int dim : {16, 24, 64, 80, 96, 112, 128, 192, 256}) check_shape(b, {4, 0, 4, 0, 1, dim, 16}, some);
  check_shape(b, {2, 0, 4, 0, 2, 64, 16}, {{0, 63, 2}, {1, 127, 2}, {2, 511, 2}});
  Shape is_long{1, 0, 1, 0, 1, 16, 16};
  is_long.max_len = 8224;
  check_shape(b, is_long, {{0, 1023, 2}, {1, 8191, 2}});
  check_shape(b, {1, 0, 2, 0, 2, 32, 8}, {{2, 200, 65}, {0, 577, 1}});
  // A rank with some of the heads of two KV heads; more query heads than a tile has rows.
  check_shape(b, {4, 2, 3, 0, 2, 40, 32}, some);
  check_shape(b, {20, 60, 20, 3, 1, 16, 16}, {{0, 300, 3}, {1, 255, 2}, {2, 9, 4}});
  // Windows that leave pieces and tiles unseen, capped scores, and keys behind a slot.
  for (const int window : {1, 70, 260})
    check_shape(b, {4, 0, 4, 0, 1, 64, 16, window, window == 70 ? 3.0F : 0.0F}, {{1, 575, 17}, {0, 330, 1}});
  for (const int window : {0, 40}) check_shape(b, {1, 0, 1, 0, 1, 24, 16, window, 0, true}, {{0, 0, 262}, {1, 0, 3}});
}

}  // namespace lockstep::test
