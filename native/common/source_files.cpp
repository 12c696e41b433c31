#include "common/source_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/tensor_type.h"

namespace lockstep {
namespace {

constexpr int kPanelRows = 512;

Status bad(const std::string& text) { return Status(Fault::kLoad, text); }

// Row of the source (column, when it is transposed) that holds our row.
int64_t source_row(const WeightTensor& tensor, int row) {
  const int head_dim = tensor.source.interleaved_head_dim;
  if (head_dim == 0) return tensor.source.first_row + row;
  const int head = row / head_dim;
  const int within = row % head_dim;
  const int half = within / (head_dim / 2);
  const int pair = within % (head_dim / 2);
  return tensor.source.first_row + static_cast<int64_t>(head) * head_dim + 2 * pair + half;
}

}  // namespace

SourceFiles::~SourceFiles() {
  for (const File& file : files_) close(file.descriptor);
}

Status SourceFiles::open(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return bad("cannot open " + path + ": " + std::strerror(errno));
    struct stat info;
    if (fstat(descriptor, &info) != 0) {
      close(descriptor);
      return bad("cannot read the size of " + path + ": " + std::strerror(errno));
    }
    files_.push_back({path, descriptor, static_cast<int64_t>(info.st_size)});
  }
  return Status();
}

Status SourceFiles::read(int file, int64_t offset, int64_t bytes, uint8_t* out) const {
  const File& from = files_[file];
  while (bytes > 0) {
    const ssize_t got = pread(from.descriptor, out, static_cast<size_t>(bytes), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return bad("cannot read " + from.path + ": " + std::strerror(errno));
    if (got == 0) return bad(from.path + " became shorter while it was read");
    out += got;
    offset += got;
    bytes -= got;
  }
  return Status();
}

Status SourceFiles::check(const WeightTensor& tensor) const {
  const TensorSource& source = tensor.source;
  const std::string name = "tensor " + tensor.name;
  if (source.file < 0 || source.file >= static_cast<int>(files_.size())) return bad(name + " names a file that is not in the list");
  if (tensor.rows < 1 || tensor.cols < 1 || source.rows < 1 || source.cols < 1 || source.first_row < 0 || source.byte_offset < 0) {
    return bad(name + " has a shape or an offset below 1");
  }
  const int64_t our_rows_there = source.transposed ? source.cols : source.rows;
  const int64_t our_cols_there = source.transposed ? source.rows : source.cols;
  if (source.first_row + tensor.rows > our_rows_there || our_cols_there != tensor.cols) {
    return bad(name + " is [" + std::to_string(tensor.rows) + ", " + std::to_string(tensor.cols) + "] from row " +
               std::to_string(source.first_row) + " on, but the file has [" + std::to_string(our_rows_there) + ", " +
               std::to_string(our_cols_there) + "]");
  }
  const quant::TypeInfo& shape = type_info(source.type);
  if (source.cols % shape.block_values != 0)
    return bad(name + " has rows that are no multiple of its block of " + std::to_string(shape.block_values));
  if (source.transposed && shape.block_values != 1) return bad(name + " is transposed, which is only read from f32, f16 and bf16");
  if (source.interleaved_head_dim != 0 &&
      (source.interleaved_head_dim % 2 != 0 || tensor.rows % source.interleaved_head_dim != 0 || source.transposed)) {
    return bad(name + " cannot be cut into rotary pairs of heads of " + std::to_string(source.interleaved_head_dim));
  }
  if (tensor.scaling.present) {
    if (source.transposed || source.interleaved_head_dim != 0) return bad(name + " has scales, and so cannot be transposed or interleaved");
    LOCKSTEP_RETURN_IF_ERROR(check_scaling(*this, tensor));
  }
  return check(tensor.name, source.file, source.byte_offset, source.cols / shape.block_values * shape.block_bytes * source.rows);
}

Status SourceFiles::check(const std::string& what, int file, int64_t offset, int64_t bytes) const {
  const File& from = files_[file];
  if (offset <= from.bytes && bytes <= from.bytes - offset) return Status();
  return bad("tensor " + what + " lies beyond the end of " + from.path + " (" + std::to_string(from.bytes) +
             " bytes): the file is truncated or corrupt");
}

Status TensorRows::blocks(const WeightTensor& tensor, int first, int count, const uint8_t** rows) {
  if (tensor.scaling.present) return scaled_.blocks(tensor, first, count, rows);
  const TensorSource& source = tensor.source;
  const quant::TypeInfo& shape = type_info(source.type);
  const int64_t row_bytes = source.cols / shape.block_values * shape.block_bytes;
  int64_t low = source.rows;
  int64_t high = 0;
  for (int i = 0; i < count; i++) {
    low = std::min(low, source_row(tensor, first + i));
    high = std::max(high, source_row(tensor, first + i));
  }
  raw_.resize(static_cast<size_t>((high - low + 1) * row_bytes));
  LOCKSTEP_RETURN_IF_ERROR(files_->read(source.file, source.byte_offset + low * row_bytes, (high - low + 1) * row_bytes, raw_.data()));
  for (int i = 0; i < count; i++) rows[i] = raw_.data() + (source_row(tensor, first + i) - low) * row_bytes;
  return Status();
}

Status TensorRows::floats(const WeightTensor& tensor, int first, int count, const float** rows) {
  if (tensor.scaling.present) return scaled_.floats(tensor, first, count, rows);
  const size_t cols = static_cast<size_t>(tensor.cols);
  if (tensor.source.transposed) {
    const bool here = panel_of_ == &tensor && first >= panel_first_ && first + count <= panel_first_ + kPanelRows;
    if (!here) LOCKSTEP_RETURN_IF_ERROR(transposed_panel(tensor, first));
    for (int i = 0; i < count; i++) rows[i] = panel_.data() + (first + i - panel_first_) * cols;
    return Status();
  }
  raw_rows_.resize(count);
  values_.resize(static_cast<size_t>(count) * cols);
  LOCKSTEP_RETURN_IF_ERROR(blocks(tensor, first, count, raw_rows_.data()));
  for (int i = 0; i < count; i++) {
    float* row = values_.data() + i * cols;
    to_floats(tensor.source.type, raw_rows_[i], tensor.cols, row);
    if (tensor.bias != 0) {
      for (size_t c = 0; c < cols; c++) row[c] += tensor.bias;
    }
    rows[i] = row;
  }
  return Status();
}

Status TensorRows::transposed_panel(const WeightTensor& tensor, int first) {
  const TensorSource& source = tensor.source;
  const int64_t value_bytes = type_info(source.type).block_bytes;
  const int count = std::min(kPanelRows, tensor.rows - first);
  raw_.resize(static_cast<size_t>(count * value_bytes));
  values_.resize(count);
  panel_.resize(static_cast<size_t>(kPanelRows) * tensor.cols);
  for (int c = 0; c < tensor.cols; c++) {
    const int64_t at = (c * source.cols + source.first_row + first) * value_bytes;
    LOCKSTEP_RETURN_IF_ERROR(files_->read(source.file, source.byte_offset + at, count * value_bytes, raw_.data()));
    to_floats(source.type, raw_.data(), count, values_.data());
    for (int r = 0; r < count; r++) panel_[static_cast<size_t>(r) * tensor.cols + c] = values_[r] + tensor.bias;
  }
  panel_of_ = &tensor;
  panel_first_ = first;
  return Status();
}

bool holds_its_blocks(const WeightTensor& tensor) {
  if (tensor.scaling.present) return holds_its_codes(tensor);
  const bool same = &type_info(tensor.format) == &type_info(tensor.source.type);
  return same && tensor.bias == 0 && !tensor.source.transposed;
}

TensorIndex::TensorIndex(const WeightMap& map, const SourceFiles& files) : files_(files), rows_(&files) {
  for (const WeightTensor& tensor : map.tensors) tensors_.emplace(tensor.name, &tensor);
}

Status TensorIndex::find(const std::string& name, int rows, int cols, const WeightTensor** out) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return Status(Fault::kLoad, "tensor " + name + " is missing from the weight map");
  const WeightTensor& tensor = *found->second;
  if (tensor.rows != rows || tensor.cols != cols) {
    return Status(Fault::kLoad, "tensor " + name + " is [" + std::to_string(tensor.rows) + ", " + std::to_string(tensor.cols) +
                                    "], but the model needs [" + std::to_string(rows) + ", " + std::to_string(cols) + "]");
  }
  LOCKSTEP_RETURN_IF_ERROR(files_.check(tensor));
  *out = &tensor;
  return Status();
}

Status TensorIndex::vector(const std::string& name, int count, std::vector<float>* out) {
  const WeightTensor* tensor = nullptr;
  LOCKSTEP_RETURN_IF_ERROR(find(name, 1, count, &tensor));
  WeightTensor plain = *tensor;
  plain.source.interleaved_head_dim = 0;
  const float* row = nullptr;
  LOCKSTEP_RETURN_IF_ERROR(rows_.floats(plain, 0, 1, &row));
  out->resize(count);
  const int head_dim = tensor->source.interleaved_head_dim;
  for (int i = 0; i < count; i++) {
    const int within = head_dim == 0 ? 0 : i % head_dim;
    const int from = head_dim == 0 ? i : i - within + 2 * (within % (head_dim / 2)) + within / (head_dim / 2);
    (*out)[i] = row[from];
  }
  return Status();
}

}  // namespace lockstep
