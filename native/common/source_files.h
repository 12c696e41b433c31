// Reading checkpoint files: bounds, pread, and the way from a tensor's rows as stored to rows as we number them.
// pread and not a mapping: a file that shrinks while it is read gives an error where a mapping gives SIGBUS, and the copy of a block of
// rows stays in the cache. The page cache is read once and nothing stays mapped.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "common/model_spec.h"
#include "common/scaled_rows.h"
#include "common/status.h"

namespace lockstep {

class SourceFiles {
 public:
  ~SourceFiles();
  Status open(const std::vector<std::string>& paths);
  Status read(int file, int64_t offset, int64_t bytes, uint8_t* out) const;
  // That the whole source tensor lies in its file and our rows in the tensor.
  Status check(const WeightTensor& tensor) const;
  // That `bytes` bytes from `offset` on lie in a file; `what` is named in the error.
  Status check(const std::string& what, int file, int64_t offset, int64_t bytes) const;

 private:
  struct File {
    std::string path;
    int descriptor;
    int64_t bytes;
  };
  std::vector<File> files_;
};

// One thread's window on tensors: rows in our numbering, as floats or as the file's blocks. Pointers are valid until the next call.
class TensorRows {
 public:
  explicit TensorRows(const SourceFiles* files) : files_(files), scaled_(files) {}
  // rows[i]: row first + i, all its cols as floats.
  Status floats(const WeightTensor& tensor, int first, int count, const float** rows);
  // rows[i]: the same rows as blocks that need no conversion: as they lie in the file, or the codes of a quantised layer as blocks of
  // tensor.format. Not for transposed tensors.
  Status blocks(const WeightTensor& tensor, int first, int count, const uint8_t** rows);
  // See ScaledRows::codes.
  Status codes(const WeightTensor& tensor, int first, int count, const uint8_t** codes, const float** scales) {
    return scaled_.codes(tensor, first, count, codes, scales);
  }

 private:
  Status transposed_panel(const WeightTensor& tensor, int first);

  const SourceFiles* files_;
  ScaledRows scaled_;
  std::vector<uint8_t> raw_;
  std::vector<float> values_;
  std::vector<const uint8_t*> raw_rows_;
  // Columns panel_first_ … of a transposed tensor, turned: reading a column at a time would touch the whole file for each block.
  const WeightTensor* panel_of_ = nullptr;
  int panel_first_ = 0;
  std::vector<float> panel_;
};

// Whether TensorRows::blocks() gives tensor.format: the tensor's bytes in the file are its blocks, or codes that become such; else it is
// read as floats.
bool holds_its_blocks(const WeightTensor& tensor);

// The tensors of a map by our names for them.
class TensorIndex {
 public:
  TensorIndex(const WeightMap& map, const SourceFiles& files);
  // The tensor of that name, which must have that shape and lie in its file.
  Status find(const std::string& name, int rows, int cols, const WeightTensor** out) const;
  // One of a single row, as floats.
  Status vector(const std::string& name, int count, std::vector<float>* out);

 private:
  const SourceFiles& files_;
  TensorRows rows_;
  std::unordered_map<std::string, const WeightTensor*> tensors_;
};

}  // namespace lockstep
