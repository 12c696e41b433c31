#include "common/scaled_rows.h"

#include <algorithm>
#include <cstring>

#include "common/source_files.h"
#include "common/tensor_type.h"

namespace lockstep {
namespace {

constexpr int kPanelRows = 512;
constexpr int kBlock = 32;                              // values of a q4_0, q4_1 or q8_0 block
constexpr int kAwqOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};  // row of the eight that the k-th code of a word belongs to
constexpr int64_t kPlaceBytes[] = {4, 2, 2, 4, 8};      // by PlaceType

Status bad(const WeightTensor& tensor, const std::string& text) { return Status(Fault::kLoad, "tensor " + tensor.name + text); }

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int code_bits(const WeightTensor& tensor) { return tensor.source.type == ElementType::kU4 ? 4 : 8; }
bool by_columns(const WeightTensor& tensor) { return tensor.scaling.layout != CodeLayout::kRows; }
int64_t groups_along_row(const WeightTensor& tensor) { return ceil_div(tensor.source.cols, tensor.scaling.group_cols); }
int64_t groups_along_column(const WeightTensor& tensor) { return ceil_div(tensor.source.rows, tensor.scaling.group_rows); }

// Code `i` of those in a word, lowest bits first.
int code_of(uint32_t word, int i, int bits) { return static_cast<int>(word >> (i * bits) & ((1U << bits) - 1)); }

void place_to_floats(PlaceType type, const uint8_t* bytes, int64_t count, float* out) {
  const ElementType as = type == PlaceType::kF32 ? ElementType::kF32 : type == PlaceType::kF16 ? ElementType::kF16 : ElementType::kBf16;
  to_floats(as, bytes, static_cast<int>(count), out);
}

// The value of each byte of a type; u4 codes are bytes of their own once they are read.
const float* code_values(ElementType type) {
  struct Table {
    float of[256];
    explicit Table(ElementType type) {
      for (int i = 0; i < 256; i++) {
        const uint8_t code = static_cast<uint8_t>(i);
        to_floats(type, &code, 1, &of[i]);
      }
    }
  };
  static const Table kUnsigned(ElementType::kU8);
  static const Table kSigned(ElementType::kI8);
  static const Table kFloat8(ElementType::kF8E4M3);
  return type == ElementType::kI8 ? kSigned.of : type == ElementType::kF8E4M3 ? kFloat8.of : kUnsigned.of;
}

size_t block_bytes(WeightFormat format) { return format == WeightFormat::kQ8_0 ? 34 : format == WeightFormat::kQ4_0 ? 18 : 20; }

}  // namespace

bool holds_its_codes(const WeightTensor& tensor) {
  const Scaling& scaling = tensor.scaling;
  if (!scaling.present || tensor.cols % kBlock != 0) return false;
  if (scaling.group_cols % kBlock != 0 && scaling.group_cols < tensor.cols) return false;
  switch (tensor.source.type) {
    case ElementType::kU4:
      return tensor.format == WeightFormat::kQ4_0 || tensor.format == WeightFormat::kQ4_1;
    case ElementType::kU8:
    case ElementType::kI8:
      return tensor.format == WeightFormat::kQ8_0;
    default:
      return false;
  }
}

Status check_scaling(const SourceFiles& files, const WeightTensor& tensor) {
  const Scaling& scaling = tensor.scaling;
  const ElementType type = tensor.source.type;
  const int64_t rows = tensor.source.rows;
  const int64_t cols = tensor.source.cols;
  const bool integers = type == ElementType::kU4 || type == ElementType::kU8;
  if (!integers && (type != ElementType::kI8 && type != ElementType::kF8E4M3))
    return bad(tensor, " has scales, but its values are no codes");
  if (!integers && (by_columns(tensor) || scaling.zeros.present))
    return bad(tensor, " has zero points or a layout that only u4 and u8 have");
  if (by_columns(tensor) && (scaling.group_rows != 1 || rows % 8 != 0 || cols % 8 != 0))
    return bad(tensor, " is packed along its columns, and so needs a multiple of 8 rows and columns and groups of one row");
  if (scaling.scales.type != PlaceType::kF32 && scaling.scales.type != PlaceType::kF16 && scaling.scales.type != PlaceType::kBf16)
    return bad(tensor, " has scales that are no floats");
  if (!scaling.scales.present) return bad(tensor, " has no scales");
  if (scaling.zeros.present && (scaling.group_rows != 1 || scaling.zeros.type != PlaceType::kI32))
    return bad(tensor, " has zero points that are no int32 words, or not one for each row");
  if (scaling.group_of_column.present && scaling.group_of_column.type != PlaceType::kI32 && scaling.group_of_column.type != PlaceType::kI64)
    return bad(tensor, " has column groups that are no integers");
  const int64_t groups = groups_along_row(tensor);
  const int64_t per_word = 32 / code_bits(tensor);
  LOCKSTEP_RETURN_IF_ERROR(files.check(tensor.name + " (scales)", scaling.scales.file, scaling.scales.byte_offset,
                                       groups * groups_along_column(tensor) * kPlaceBytes[static_cast<int>(scaling.scales.type)]));
  if (scaling.zeros.present) {
    LOCKSTEP_RETURN_IF_ERROR(
        files.check(tensor.name + " (zero points)", scaling.zeros.file, scaling.zeros.byte_offset, groups * ceil_div(rows, per_word) * 4));
  }
  if (!scaling.group_of_column.present) return Status();
  return files.check(tensor.name + " (groups)", scaling.group_of_column.file, scaling.group_of_column.byte_offset,
                     cols * kPlaceBytes[static_cast<int>(scaling.group_of_column.type)]);
}

Status ScaledRows::read_words(int file, int64_t offset, int64_t count) {
  words_.resize(static_cast<size_t>(count));
  return files_->read(file, offset, count * 4, reinterpret_cast<uint8_t*>(words_.data()));
}

Status ScaledRows::read_codes(const WeightTensor& tensor, Panel* panel) {
  panel->codes.resize(static_cast<size_t>(panel->count) * tensor.cols);
  switch (tensor.scaling.layout) {
    case CodeLayout::kRows:
      return read_row_codes(tensor, panel);
    case CodeLayout::kGptq:
      return read_gptq_codes(tensor, panel);
    case CodeLayout::kAwq:
      return read_awq_codes(tensor, panel);
  }
  return Status();
}

Status ScaledRows::read_row_codes(const WeightTensor& tensor, Panel* panel) {
  const TensorSource& source = tensor.source;
  const int bits = code_bits(tensor);
  const int64_t row_bytes = source.cols * bits / 8;
  const int64_t at = source.byte_offset + (source.first_row + panel->first) * row_bytes;
  if (bits == 8) return files_->read(source.file, at, panel->count * row_bytes, panel->codes.data());
  raw_.resize(static_cast<size_t>(panel->count * row_bytes));
  LOCKSTEP_RETURN_IF_ERROR(files_->read(source.file, at, panel->count * row_bytes, raw_.data()));
  for (size_t i = 0; i < raw_.size(); i++) {
    panel->codes[2 * i] = raw_[i] & 15;
    panel->codes[2 * i + 1] = raw_[i] >> 4;
  }
  return Status();
}

Status ScaledRows::read_gptq_codes(const WeightTensor& tensor, Panel* panel) {
  const TensorSource& source = tensor.source;
  const int bits = code_bits(tensor);
  const int per_word = 32 / bits;
  for (int64_t line = 0; line < source.cols / per_word; line++) {
    const int64_t word = line * source.rows + source.first_row + panel->first;
    LOCKSTEP_RETURN_IF_ERROR(read_words(source.file, source.byte_offset + word * 4, panel->count));
    for (int r = 0; r < panel->count; r++) {
      uint8_t* out = panel->codes.data() + r * source.cols + line * per_word;
      for (int k = 0; k < per_word; k++) out[k] = static_cast<uint8_t>(code_of(words_[r], k, bits));
    }
  }
  return Status();
}

Status ScaledRows::read_awq_codes(const WeightTensor& tensor, Panel* panel) {
  const TensorSource& source = tensor.source;
  const int64_t first = source.first_row + panel->first;
  const int64_t first_word = first / 8;
  const int64_t num_words = (first + panel->count - 1) / 8 - first_word + 1;
  for (int64_t col = 0; col < source.cols; col++) {
    const int64_t word = col * (source.rows / 8) + first_word;
    LOCKSTEP_RETURN_IF_ERROR(read_words(source.file, source.byte_offset + word * 4, num_words));
    for (int64_t w = 0; w < num_words; w++) {
      for (int k = 0; k < 8; k++) {
        const int64_t r = (first_word + w) * 8 + kAwqOrder[k] - first;
        if (r >= 0 && r < panel->count) panel->codes[r * source.cols + col] = static_cast<uint8_t>(code_of(words_[w], k, 4));
      }
    }
  }
  return Status();
}

Status ScaledRows::read_scales(const WeightTensor& tensor, Panel* panel) {
  const Scaling& scaling = tensor.scaling;
  const int64_t value_bytes = kPlaceBytes[static_cast<int>(scaling.scales.type)];
  const int64_t first = tensor.source.first_row + panel->first;
  const int groups = panel->groups;
  panel->scales.resize(static_cast<size_t>(panel->count) * groups);
  const auto read = [&](int64_t at, int64_t count) {
    raw_.resize(static_cast<size_t>(count * value_bytes));
    values_.resize(static_cast<size_t>(count));
    const Status status =
        files_->read(scaling.scales.file, scaling.scales.byte_offset + at * value_bytes, count * value_bytes, raw_.data());
    if (status.ok()) place_to_floats(scaling.scales.type, raw_.data(), count, values_.data());
    return status;
  };
  if (by_columns(tensor)) {
    for (int g = 0; g < groups; g++) {
      LOCKSTEP_RETURN_IF_ERROR(read(g * tensor.source.rows + first, panel->count));
      for (int r = 0; r < panel->count; r++) panel->scales[static_cast<size_t>(r) * groups + g] = values_[r];
    }
    return Status();
  }
  const int64_t first_line = first / scaling.group_rows;
  const int64_t lines = (first + panel->count - 1) / scaling.group_rows - first_line + 1;
  LOCKSTEP_RETURN_IF_ERROR(read(first_line * groups, lines * groups));
  for (int r = 0; r < panel->count; r++) {
    const int64_t line = (first + r) / scaling.group_rows - first_line;
    std::copy_n(values_.data() + line * groups, groups, panel->scales.data() + static_cast<size_t>(r) * groups);
  }
  return Status();
}

Status ScaledRows::read_zeros(const WeightTensor& tensor, Panel* panel) {
  const Scaling& scaling = tensor.scaling;
  const int groups = panel->groups;
  panel->zeros.assign(static_cast<size_t>(panel->count) * groups, scaling.zero_point);
  if (!scaling.zeros.present) return Status();
  const int bits = code_bits(tensor);
  const int per_word = 32 / bits;
  const int64_t first = tensor.source.first_row + panel->first;
  const int64_t row_words = ceil_div(tensor.source.rows, per_word);
  const int64_t first_word = first / per_word;
  const int64_t num_words = (first + panel->count - 1) / per_word - first_word + 1;
  const bool along_rows = scaling.layout == CodeLayout::kRows;  // [out/8][groups], else [groups][out/8]
  // GPTQ's first form stores zero - 1 in the bits of a code, so that 15 stands for 0.
  const int most = (1 << bits) - 1;
  for (int g = 0; g < (along_rows ? 1 : groups); g++) {
    const int64_t at = along_rows ? first_word * groups : g * row_words + first_word;
    LOCKSTEP_RETURN_IF_ERROR(
        read_words(scaling.zeros.file, scaling.zeros.byte_offset + at * 4, along_rows ? num_words * groups : num_words));
    for (int r = 0; r < panel->count; r++) {
      const int64_t word = (first + r) / per_word - first_word;
      const int within = static_cast<int>((first + r) % per_word);
      const int code =
          scaling.layout == CodeLayout::kAwq ? static_cast<int>(std::find(kAwqOrder, kAwqOrder + 8, within) - kAwqOrder) : within;
      for (int i = g; i < (along_rows ? groups : g + 1); i++) {
        const int stored = code_of(words_[along_rows ? word * groups + i : word], code, bits);
        panel->zeros[static_cast<size_t>(r) * groups + i] = (stored + scaling.zero_point) & most;
      }
    }
  }
  return Status();
}

Status ScaledRows::read_groups(const WeightTensor& tensor, Panel* panel) {
  const Scaling& scaling = tensor.scaling;
  const int cols = tensor.cols;
  panel->group_of.resize(static_cast<size_t>(cols));
  panel->groups_in_order = true;
  for (int c = 0; c < cols; c++) panel->group_of[c] = static_cast<int>(c / scaling.group_cols);
  if (!scaling.group_of_column.present) return Status();
  const Place& place = scaling.group_of_column;
  const int64_t bytes = kPlaceBytes[static_cast<int>(place.type)];
  raw_.resize(static_cast<size_t>(cols * bytes));
  LOCKSTEP_RETURN_IF_ERROR(files_->read(place.file, place.byte_offset, cols * bytes, raw_.data()));
  for (int c = 0; c < cols; c++) {
    int64_t group = 0;
    std::memcpy(&group, raw_.data() + c * bytes, static_cast<size_t>(bytes));  // of an int32 the high half stays 0
    if (group < 0 || group >= panel->groups) {
      return bad(tensor, " has column " + std::to_string(c) + " in a group that is not there: its g_idx is damaged (" +
                             std::to_string(panel->groups) + " groups)");
    }
    panel->groups_in_order = panel->groups_in_order && group == panel->group_of[c];
    panel->group_of[c] = static_cast<int>(group);
  }
  return Status();
}

Status ScaledRows::load(const WeightTensor& tensor, int first, int count, Panel* panel) {
  panel->tensor = nullptr;  // until everything is there
  panel->first = first;
  panel->count = std::min(by_columns(tensor) ? kPanelRows : count, tensor.rows - first);
  panel->groups = static_cast<int>(groups_along_row(tensor));
  LOCKSTEP_RETURN_IF_ERROR(read_codes(tensor, panel));
  LOCKSTEP_RETURN_IF_ERROR(read_scales(tensor, panel));
  LOCKSTEP_RETURN_IF_ERROR(read_zeros(tensor, panel));
  if (panel->grouped != &tensor) LOCKSTEP_RETURN_IF_ERROR(read_groups(tensor, panel));
  panel->grouped = panel->tensor = &tensor;
  return Status();
}

Status ScaledRows::find(const WeightTensor& tensor, int first, int count, const Panel** out) {
  for (int i = 0; i < 2; i++) {
    const Panel& panel = panels_[i];
    if (panel.tensor != &tensor || first < panel.first || first + count > panel.first + panel.count) continue;
    last_ = i;
    *out = &panel;
    return Status();
  }
  last_ = panels_[last_].tensor == &tensor ? last_ : 1 - last_;
  *out = &panels_[last_];
  return load(tensor, first, count, &panels_[last_]);
}

Status ScaledRows::floats(const WeightTensor& tensor, int first, int count, const float** rows) {
  const Panel* panel = nullptr;
  LOCKSTEP_RETURN_IF_ERROR(find(tensor, first, count, &panel));
  const size_t cols = static_cast<size_t>(tensor.cols);
  const float* value_of = code_values(tensor.source.type);
  values_.resize(static_cast<size_t>(count) * cols);
  for (int i = 0; i < count; i++) {
    const size_t at = static_cast<size_t>(first + i - panel->first);
    const float* scales = panel->scales.data() + at * panel->groups;
    const int* zeros = panel->zeros.data() + at * panel->groups;
    float* row = values_.data() + i * cols;
    const uint8_t* codes = panel->codes.data() + at * cols;
    for (size_t c = 0; c < cols; c++) {
      const int group = panel->group_of[c];
      row[c] = scales[group] * (value_of[codes[c]] - static_cast<float>(zeros[group]));
    }
    rows[i] = row;
  }
  return Status();
}

Status ScaledRows::codes(const WeightTensor& tensor, int first, int count, const uint8_t** codes, const float** scales) {
  const Panel* panel = nullptr;
  LOCKSTEP_RETURN_IF_ERROR(find(tensor, first, count, &panel));
  for (int i = 0; i < count; i++) {
    const size_t at = static_cast<size_t>(first + i - panel->first);
    codes[i] = panel->codes.data() + at * tensor.cols;
    scales[i] = panel->scales.data() + at * panel->groups;
  }
  return Status();
}

Status ScaledRows::blocks(const WeightTensor& tensor, int first, int count, const uint8_t** rows) {
  const Panel* panel = nullptr;
  LOCKSTEP_RETURN_IF_ERROR(find(tensor, first, count, &panel));
  if (!panel->groups_in_order)
    return bad(tensor,
               " has its columns' groups out of order (act-order), but the checkpoint's quantization_config says that they are not");
  const WeightFormat format = tensor.format;
  const size_t bytes = block_bytes(format);
  const size_t row_bytes = bytes * (tensor.cols / kBlock);
  const int flip = tensor.source.type == ElementType::kI8 ? 0 : 0x80;  // u8 stands for code - 128
  const int centre = format == WeightFormat::kQ4_0 ? 8 : tensor.source.type == ElementType::kU8 ? 128 : 0;
  blocks_.resize(row_bytes * count);
  for (int i = 0; i < count; i++) {
    const size_t at = static_cast<size_t>(first + i - panel->first);
    rows[i] = blocks_.data() + row_bytes * i;
    for (int b = 0; b < tensor.cols / kBlock; b++) {
      const size_t group = at * panel->groups + panel->group_of[b * kBlock];
      const uint8_t* codes = panel->codes.data() + at * tensor.cols + b * kBlock;
      const int zero = panel->zeros[group];
      uint8_t* block = blocks_.data() + row_bytes * i + bytes * b;
      const float least = format == WeightFormat::kQ4_1 ? -static_cast<float>(zero) * panel->scales[group] : 0;
      const uint16_t halves[2] = {quant::float_to_half(panel->scales[group]), quant::float_to_half(least)};
      if ((halves[0] & 0x7c00) == 0x7c00 || (halves[1] & 0x7c00) == 0x7c00)
        return bad(tensor, " has a scale beyond what a half holds; --dtype float32 dequantises it");
      if (format != WeightFormat::kQ4_1 && zero != centre) {
        return bad(tensor, " has the zero point " + std::to_string(zero) +
                               ", but by its quantization_config the checkpoint is symmetric (" + std::to_string(centre) +
                               "); --dtype float32 dequantises it");
      }
      const size_t head = format == WeightFormat::kQ4_1 ? 4 : 2;
      std::memcpy(block, halves, head);
      if (format == WeightFormat::kQ8_0) {
        for (int k = 0; k < kBlock; k++) block[head + k] = static_cast<uint8_t>(codes[k] ^ flip);
      } else {
        for (int k = 0; k < kBlock / 2; k++) block[head + k] = static_cast<uint8_t>(codes[k] | codes[k + kBlock / 2] << 4);
      }
    }
  }
  return Status();
}

}  // namespace lockstep
