// Quantised linear layers of safetensors checkpoints (GPTQ, AWQ, compressed-tensors, fp8): codes, scales and zero points as rows of
// weights. One thread's window, as TensorRows, which sends here every tensor that has a Scaling. Layouts: `Scaling` of src/model/spec.ts.
#pragma once

#include <vector>

#include "common/model_spec.h"
#include "common/status.h"

namespace lockstep {

class SourceFiles;

class ScaledRows {
 public:
  explicit ScaledRows(const SourceFiles* files) : files_(files) {}
  // rows[i]: row first + i as floats, scale * (code - zero): exact for integers with half or bf16 scales.
  Status floats(const WeightTensor& tensor, int first, int count, const float** rows);
  // rows[i]: the same row as blocks of tensor.format (holds_its_codes), code for code. Scales and minimums become halves: a scale of 16
  // bits is kept; a minimum, -zero * scale, and a float scale are rounded by at most 2^-12 of themselves, an eighth of what bf16 would.
  Status blocks(const WeightTensor& tensor, int first, int count, const uint8_t** rows);
  // The same rows' codes as stored, a byte each, and the scales of their groups: [cols / group_cols]. Of float8, which has no zero points.
  Status codes(const WeightTensor& tensor, int first, int count, const uint8_t** codes, const float** scales);

 private:
  // Rows [first, first + count) of a tensor, decoded. Layouts that run along the columns are read many rows at a time: a row there
  // touches the whole file.
  struct Panel {
    const WeightTensor* tensor = nullptr;
    int first = 0, count = 0;
    int groups = 0;                         // of a row
    std::vector<uint8_t> codes;             // [count][cols], as stored
    std::vector<float> scales;              // [count][groups]
    std::vector<int> zeros;                 // [count][groups]
    const WeightTensor* grouped = nullptr;  // whose columns group_of is about
    std::vector<int> group_of;              // [cols]
    bool groups_in_order = true;            // group_of is column / group_cols
  };
  Status find(const WeightTensor& tensor, int first, int count, const Panel** out);
  Status load(const WeightTensor& tensor, int first, int count, Panel* panel);
  Status read_codes(const WeightTensor& tensor, Panel* panel);
  Status read_row_codes(const WeightTensor& tensor, Panel* panel);
  Status read_gptq_codes(const WeightTensor& tensor, Panel* panel);
  Status read_awq_codes(const WeightTensor& tensor, Panel* panel);
  Status read_scales(const WeightTensor& tensor, Panel* panel);
  Status read_zeros(const WeightTensor& tensor, Panel* panel);
  Status read_groups(const WeightTensor& tensor, Panel* panel);
  Status read_words(int file, int64_t offset, int64_t count);

  const SourceFiles* files_;
  Panel panels_[2];  // gate and up are read in turns
  int last_ = 0;
  std::vector<uint32_t> words_;
  std::vector<uint8_t> raw_;
  std::vector<float> values_;
  std::vector<uint8_t> blocks_;
};

// Whether blocks() can give tensor.format: the codes are its codes and no group of 32 has two scales.
bool holds_its_codes(const WeightTensor& tensor);
// That scales, zero points and groups lie in their files.
Status check_scaling(const SourceFiles& files, const WeightTensor& tensor);

}  // namespace lockstep
