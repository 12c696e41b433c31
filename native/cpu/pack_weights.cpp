// Packing: rows of checkpoint tensors into the kernels' blocks, each thread the part that it will read first.
#include <cstring>

#include "common/tensor_type.h"
#include "cpu/weights.h"

namespace lockstep::cpu {
namespace {

constexpr int kGatedRows = kBlockRows / 2;

// The GGUF type whose blocks become those of a quantised format.
const quant::TypeInfo& block_type(Format format) { return type_info(static_cast<WeightFormat>(format)); }

bool is_quantised(Format format) { return input_kind(format) == InputKind::kInt8; }

// What a thread reads with.
struct Feed {
  TensorRows rows;
  std::vector<float> floats;  // copies: the second tensor of a gated block would overwrite the first one's rows
  std::vector<uint8_t> bytes;
};

Status feed_floats(const WeightTensor& tensor, int first, int count, Range cols, TensorRows* reader, std::vector<float>* store, size_t at,
                   const float** out) {
  const float* rows[kBlockRows];
  LOCKSTEP_RETURN_IF_ERROR(reader->floats(tensor, first, count, rows));
  for (int i = 0; i < count; i++) {
    float* copy = store->data() + (at + i) * cols.count;
    std::memcpy(copy, rows[i] + cols.first, sizeof(float) * cols.count);
    out[i] = copy;
  }
  return Status();
}

Status pack_float_block(const PackJob& job, int block, const Kernels& kernels, Feed* feed, uint8_t* dst) {
  const float* rows[kBlockRows] = {};
  if (job.up == nullptr) {
    const int first = block * kBlockRows;
    const int count = std::min(kBlockRows, job.num_rows - first);
    LOCKSTEP_RETURN_IF_ERROR(feed->rows.floats(*job.tensor, job.first_row + first, count, rows));
    for (int i = 0; i < count; i++) rows[i] += job.cols.first;
    kernels.pack_float(job.format, rows, count, job.cols.count, dst);
    return Status();
  }
  feed->floats.resize(static_cast<size_t>(kBlockRows) * job.cols.count);
  const int first = block * kGatedRows;
  const int count = std::min(kGatedRows, job.num_rows - first);
  LOCKSTEP_RETURN_IF_ERROR(feed_floats(*job.tensor, job.first_row + first, count, job.cols, &feed->rows, &feed->floats, 0, rows));
  LOCKSTEP_RETURN_IF_ERROR(
      feed_floats(*job.up, job.first_row + first, count, job.cols, &feed->rows, &feed->floats, kGatedRows, rows + kGatedRows));
  kernels.pack_float(job.format, rows, kGatedRows + count, job.cols.count, dst);
  return Status();
}

// Rows of one tensor as blocks of `format`, in `store`; those of the columns `cols` alone.
Status feed_blocks(const WeightTensor& tensor, Format format, int first, int count, Range cols, const Kernels& kernels, TensorRows* reader,
                   uint8_t* store, const uint8_t** out) {
  const quant::TypeInfo& type = block_type(format);
  const size_t row_bytes = quant::row_bytes(type, static_cast<size_t>(cols.count));
  uint8_t* copies[kBlockRows];
  for (int i = 0; i < count; i++) out[i] = copies[i] = store + row_bytes * i;
  if (holds_its_blocks(tensor)) {
    const uint8_t* rows[kBlockRows];
    LOCKSTEP_RETURN_IF_ERROR(reader->blocks(tensor, first, count, rows));
    const size_t skip = quant::row_bytes(type, static_cast<size_t>(cols.first));
    for (int i = 0; i < count; i++) std::memcpy(copies[i], rows[i] + skip, row_bytes);
    return Status();
  }
  const float* rows[kBlockRows];
  LOCKSTEP_RETURN_IF_ERROR(reader->floats(tensor, first, count, rows));
  for (int i = 0; i < count; i++) rows[i] += cols.first;
  kernels.quantize_blocks(format, rows, count, cols.count, copies);
  return Status();
}

Status pack_quantised_block(const PackJob& job, int block, const Kernels& kernels, Feed* feed, uint8_t* dst) {
  const size_t row_bytes = quant::row_bytes(block_type(job.format), static_cast<size_t>(job.cols.count));
  const uint8_t* rows[kBlockRows] = {};  // a row that is not there is a row of zero scales
  const int unit = job.up == nullptr ? kBlockRows : kGatedRows;
  const int first = block * unit;
  const int count = std::min(unit, job.num_rows - first);
  feed->bytes.resize(row_bytes * kBlockRows);
  for (const WeightTensor* tensor : {job.tensor, job.up}) {
    if (tensor == nullptr) continue;
    const int at = tensor == job.up ? unit : 0;
    LOCKSTEP_RETURN_IF_ERROR(feed_blocks(*tensor, job.format, job.first_row + first, count, job.cols, kernels, &feed->rows,
                                         feed->bytes.data() + row_bytes * at, rows + at));
  }
  kernels.pack_blocks(job.format, rows, job.up == nullptr ? count : unit + count, job.cols.count, dst);
  return Status();
}

Status pack_part(const std::vector<PackJob>& jobs, int part, int parts, const SourceFiles& files, const Kernels& kernels) {
  Feed feed{TensorRows(&files), {}, {}};
  for (const PackJob& job : jobs) {
    const int64_t blocks = packed_blocks(job);
    const size_t block_bytes = kernels.packed_block_bytes(job.format, job.cols.count);
    for (int64_t block = blocks * part / parts; block < blocks * (part + 1) / parts; block++) {
      uint8_t* dst = job.data + block_bytes * block;
      LOCKSTEP_RETURN_IF_ERROR(is_quantised(job.format) ? pack_quantised_block(job, static_cast<int>(block), kernels, &feed, dst)
                                                        : pack_float_block(job, static_cast<int>(block), kernels, &feed, dst));
    }
  }
  return Status();
}

}  // namespace

Status pack(const std::vector<PackJob>& jobs, const SourceFiles& files, const Kernels& kernels, Threads* threads) {
  std::vector<Status> results(threads->count());
  threads->run_in_place(threads->count(), [&](int, int first, int count) {
    for (int part = first; part < first + count; part++) results[part] = pack_part(jobs, part, threads->count(), files, kernels);
  });
  LOCKSTEP_RETURN_IF_ERROR(threads->status());
  for (const Status& result : results) LOCKSTEP_RETURN_IF_ERROR(result);
  return Status();
}

}  // namespace lockstep::cpu
