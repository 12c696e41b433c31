// A GPU's DeviceBackend, in reduce mode: this rank's part of every operation, as kernels in one stream. Activations are float32, and what a
// product reads is of its matrix's type; the KV cache is float32 or bf16. A step's ids, positions and block tables cross to the device in
// one copy; ids come back, and log-probabilities where they are asked for (sampling.h). Memory, the beginning and the end of a step are in
// setup.cpp, the operations in backend.cpp.
#pragma once

#include <vector>

#include "common/backend.h"
#include "common/output_sampler.h"
#include "cuda/attention_plan.h"
#include "cuda/cublaslt.h"
#include "cuda/device.h"
#include "cuda/kernels.h"
#include "cuda/peers.h"
#include "cuda/sampling.h"
#include "cuda/weights.h"

namespace lockstep::cuda {

// Steps of so few tokens, which the starting of kernels would hold up, are recorded: the layers for each number of tokens, the head and the
// sampling for each number of rows and what they ask for.
constexpr int kRecordedTokens = 32;
static_assert(kRecordedTokens <= kHeadRows);
// Who makes a product, a table, so that it is the same in every run:
//
//                            fewer rows   library_rows and more
//   with --deterministic     gemm         gemm
//   where cuBLASLt is there  gemm         cuBLASLt; gemm what it has nothing for
//   on 9.0                   gemm         gemm_wide, of bf16, where it has tiles for a quarter of the multiprocessors; else gemm
//   else                     gemm         gemm
//
// gemm takes few rows through registers and more through shared memory (gemm.cu), and alone gives a row the same bits whatever is beside
// it. Who else makes a product of bricks makes it of what they are as bf16. All by calculation for an H100; what a device says to it
// scripts/gpu-check measures ("product of R rows"). A turn of all multiprocessors through tiles of gemm_wide takes 21,300 cycles for each
// 1,000 columns of k at three quarters of the peak, as long as gemm_tiles' small ones take for the products of a third of such tiles.
enum class ProductBy : uint8_t { kGemm, kWide, kLibrary };
// Our own kernel of bf16 reads each weight once up to a tile's rows, so that nothing is left to win below; bricks must become bf16 first,
// whose bytes, written and read, take as long as our own kernel's products of some 500 rows take longer than the library's. None is
// recorded: what it loads at a first call may not be loaded then.
constexpr int library_rows(Type type, Bricks bricks) {
  return bricks != Bricks::kNone ? 512 : type == Type::kBf16 ? kSmallTile + 1 : kRecordedTokens + 1;
}
static_assert(kSmallTile >= kRecordedTokens);
// wide_blocks: multiprocessors of a device that has gemm_wide; 0 where it has not, or with --deterministic, when there is no library
// either.
constexpr ProductBy product_by(const GemmArgs& args, bool has_library, int wide_blocks) {
  if (args.rows < library_rows(args.type, args.bricks) || args.expert_of != nullptr) return ProductBy::kGemm;
  if (has_library) return ProductBy::kLibrary;
  return wide_blocks > 0 && gemm_has_wide(args) && 4 * wide_tiles(args) >= wide_blocks ? ProductBy::kWide : ProductBy::kGemm;
}
// Whether products of so few rows norm them themselves, which saves a kernel's start and end, some 2 us. Every block then reads the rows
// from L2 and sums them, one after the other, a row of 4,096 in some 0.6 us by calculation for an H100, and each turn of the
// multiprocessors through the blocks does it again; it is hidden where the 64 KiB of first weights that a block has on their way take as
// long: for two blocks on a multiprocessor 5 us at most, of bricks of 4 bits a quarter. Not measured: the probe "norm and product" of
// scripts/gpu-check has it both ways.
constexpr int kNormedRows = 2, kNormedValues = 8192;
constexpr bool products_norm(int rows, int n) { return rows <= kNormedRows && rows * n <= kNormedValues; }
// Weights that are bf16 at one time for others than gemm, of a matrix that is bricks: still enough columns for them to fill any device.
constexpr size_t kDequantizedMax = size_t{16} << 20;

// What a backend is made of; all of it outlives the backend.
struct BackendParts {
  const Device* device;
  const OwnStream* stream;
  WaitBounds bounds;
  const ModelSpec* spec;
  const Weights* weights;
  const StepBuffers* buffers;
  GrammarStore* grammars;
  VocabularyOps vocabulary;
  LtProducts* library;
  const Peers* peers;  // open or not when a step runs
  bool records;        // false: every step starts its kernels one by one
  bool has_one_order;  // a row's bits do not depend on how many are beside it; the library is not open then
};

class CudaBackend final : public DeviceBackend {
 public:
  CudaBackend(const BackendParts& parts, const RankShard& shard, Type kv_type);
  // Takes what a step needs; after this nothing is allocated.
  Status init();
  // Bytes of device memory that init() takes beside the KV cache.
  static Status step_bytes(const Device& device, const ModelSpec& spec, const StepDims& dims, const RankShard& shard, Type kv_type,
                           size_t* bytes);
  // Its memory is not given back: see Memory::abandon.
  void abandon_memory();

  // What other ranks read of this one. After init().
  PeerMemory peer_memory() const;
  float* partial() override { return y_; }
  size_t partial_count() const override { return static_cast<size_t>(m_) * ld_hidden_; }
  bool sums_ranks() const override { return way_ != JoinWay::kLibrary; }
  bool gathers_ranks() const override { return parts_.peers->is_open(); }
  Status begin_step(const StepView& step) override;
  Status begin_layers(bool* are_done) override;
  Status end_layers() override;
  bool samples_in_order() const override { return true; }
  // Whether the step of such a plan can be put behind the one that runs, whose end it does not wait for: with other ranks, only what waits
  // for none of them on the host's side, since they may not have come so far.
  bool may_go_ahead(int num_tokens) const;
  // Whether no rank has put the next step behind the one before it.
  void set_may_record(bool may_record) { may_record_ = may_record; }
  // Behind all work of the step that was begun last; and whether the device has come there.
  Status mark_end();
  bool has_ended(const StepView& step, Status* answer) const { return ended_[step.slot].has_come(answer); }
  Status begin_outputs(int first, int count, bool* are_done) override;
  Status end_outputs(int first, int count) override;
  void embed() override;
  void add_embedding() override;
  void attention_input(int layer) override;
  void qkv(int layer) override;
  void rope_append(int layer) override;
  void attention(int layer) override;
  void attention_merge(int) override {}
  void out_projection(int layer) override;
  void add_attention(int layer) override;
  void mlp_input(int layer) override;
  void gate_up(int layer) override;
  void down_input(int layer) override;
  void down(int layer) override;
  void add_mlp(int layer) override;
  void pool() override;
  void head_input(int first, int count) override;
  void head(int first, int count) override;
  const float* logits_part() override { return logits_; }
  size_t logits_part_count() const override { return static_cast<size_t>(kHeadRows) * ld_logits_; }
  float* logits_whole() override { return logits_whole_; }
  Status sample(int first, int count) override;
  Status end_step(const StepView& step) override;
  bool adds_attention(int layer) const override { return !out_product(layer).adds; }
  bool adds_mlp(int layer) const override { return !down_product(layer).adds; }

 private:
  // Hands out parts of the memory; run once without it, to learn the size.
  struct Cursor {
    uint8_t* base;
    size_t used = 0;
    template <class T>
    T* take(size_t count);
  };
  // A step's integers, from `ids` to the end of `tables` in one piece, in the pinned buffer and on the device.
  struct StepIntegers {
    int32_t *ids, *position, *end_of, *type_of, *table_row;  // [max_tokens]
    int32_t* output_slot;                                    // [max_tokens]
    int32_t* history_row;                                    // [max_tokens] the sequence row whose history takes the token; -1: none
    PoolEntry* pool;                                         // [max_rows]
    int32_t* num_items;                                      // [windows, 2] of few slots, and of many
    int32_t* tables;                                         // [entries, max_blocks_per_row], last: only those of the step are copied
    AttentionItem* items;                                    // [windows, max_items_], each window's copied for itself
  };
  // setup.cpp
  Status find_shapes();
  void find_cut();
  void take_memory(Cursor* cursor);
  StepIntegers lay_out_integers(Cursor* cursor) const;
  KvCache kv_of(int layer) const;
  Status record_or_launch(RecordedWork* work, bool* are_done);
  Status score_on_host(int first, int count);
  bool attends_in_tiles() const { return attention_has_tiles(kv_type_, spec_.head_dim) && shard_.heads.count > 0; }
  // What the step's attention is cut into, for each of the windows that layers have, to the device.
  Status send_items();
  Status check(Error error, const char* what) const { return parts_.device->check(error, what); }
  // backend.cpp
  // Notes the first launch that failed; the step's end tells it.
  void run(Error error, const char* what);
  // Of every slot's position, once a step for all layers.
  void prepare_rotations();
  // Of what the products behind mlp_input read.
  unsigned mlp_types(int layer) const;
  unsigned qkv_types(int layer) const;
  // Whether they all norm what they read, so that no kernel does: of matrices of these types.
  bool products_norm_input(const NormWeights& weights, unsigned types) const;
  bool qkv_norms(int layer) const;
  bool mlp_norms(int layer) const;
  void norm(const NormWeights& weights, const int32_t* row_of, int rows, unsigned types);
  void attend_in_tiles(const AttentionArgs& args);
  // What matrices of these types read, in `input`.
  RowsOut input_rows(unsigned types, int ld);
  void add(const NormWeights& after, const NormWeights* next, unsigned types);
  void multiply_by_library(const GemmArgs& args);
  // Of bricks, some columns after the others.
  void multiply_dequantized(const GemmArgs& args);
  // The sum over ranks of y_, by the peers' kernels; y_ is the other part then.
  void join(PeerJoinArgs args);
  // Of what lies in `input`.
  GemmArgs product(const Matrix& w, int rows, float* out, int ld_out, const int32_t* expert_of = nullptr, int rows_per_input = 1) const;
  // Of x_, normed.
  GemmArgs normed(GemmArgs args, const NormWeights& weights) const;
  void multiply(const GemmArgs& args);
  // What the table says. What is never the library's takes on what would come behind it as a kernel of its own, with the same bits: it adds
  // itself to x, where neither another rank's part nor a norm comes between; and gate and up become what down reads, in act_, since
  // input_bf16_ is what they read, where they are made at one time.
  ProductBy by_whom(const GemmArgs& args) const { return product_by(args, parts_.library->is_open(), wide_blocks_); }
  GemmArgs added(GemmArgs args, const NormWeights& after) const;
  GemmArgs out_product(int layer) const;
  GemmArgs gate_up_product(int layer) const;
  GemmArgs down_product(int layer) const;
  // Of an MLP.
  int rows_of_token(int layer) const { return spec_.layers[layer].experts > 0 ? spec_.layers[layer].experts_top_k : 1; }

  const BackendParts parts_;
  const Runtime& runtime_;
  const Kernels& k_;
  const ModelSpec& spec_;
  const Weights& w_;
  const StepDims& dims_;
  const RankShard shard_;
  const Type kv_type_;
  const OutputSampler outputs_;
  DeviceSampler device_sampler_;
  Sampler sampler_;  // for what asks for more than devices tell
  Memory memory_, kv_, pinned_;

  int ld_hidden_ = 0, ld_qkv_ = 0, ld_act_ = 0, ld_router_ = 0, ld_logits_ = 0;
  int max_input_ = 0;       // widest input of any matrix, padded
  size_t max_matrix_ = 0;   // values of the largest matrix, whole tiles
  int rows_per_token_ = 1;  // experts that a token is sent to
  float *x_ = nullptr,
        *y_ = nullptr;           // [max_tokens, ld_hidden] residual stream; this rank's part of what is added to it: parts_of_sum_[turn_]
  float* parts_of_sum_[2] = {};  // used in turn where other ranks read them
  float* sum_ = nullptr;         // [max_tokens, ld_hidden] of several ranks: see PeerMemory
  float* qkv_ = nullptr;         // [max_tokens, ld_qkv]
  struct Rotation {
    float *cosines, *sines;  // [max_tokens, rotary_dim / 2]
  };
  std::vector<Rotation> rotations_;  // [ropes]
  float* input_f32_ = nullptr;       // [max_tokens * rows_per_token, max_input] what the next product reads
  uint16_t* input_bf16_ = nullptr;
  uint16_t* dequantized_ = nullptr;    // kDequantizedMax values, or as many as the largest matrix has
  float* act_ = nullptr;               // [max_tokens * rows_per_token, ld_act] gate and up, or what down reads where their product gates
  float* parts_of_experts_ = nullptr;  // [max_tokens * rows_per_token, ld_hidden]
  float* router_logits_ = nullptr;     // [max_tokens, ld_router]
  int32_t* expert_of_ = nullptr;       // [max_tokens, rows_per_token]
  float* weight_of_ = nullptr;
  float* logits_ = nullptr;        // [kHeadRows, ld_logits]
  float* logits_whole_ = nullptr;  // [ranks, kHeadRows, ld_logits]
  float* pooled_ = nullptr;        // [max_rows, ld_hidden]
  std::vector<int> windows_;       // that layers have; empty: attention has no tiles
  AttentionCut cut_{};
  int max_items_ = 0;    // of a step and window
  int max_pieces_ = 0;   // of a sequence
  int wide_blocks_ = 0;  // see product_by
  float* attention_parts_ = nullptr;
  uint32_t* attention_ended_ = nullptr;
  size_t num_ended_ = 0;
  StepIntegers on_device_{}, on_host_[kNumSlots] = {};
  float* pooled_on_host_ = nullptr;
  float* logits_on_host_ = nullptr;  // where rows may ask for more than devices tell
  std::vector<float> row_logits_;    // [vocab]

  // [kRecordedTokens + 1] the layers of a step of so many tokens. All that differs from step to step lies in on_device_.
  std::vector<RecordedWork> recorded_;
  std::vector<RecordedWork> recorded_outputs_;  // [kRecordedTokens + 1, DeviceSampler::kFeatureSets]
  RecordedWork* recording_ = nullptr;           // that is made
  // To record waits for the device and for the other ranks, which must all come to it: none does in a step that any of them put behind the
  // one before. A rank that lacks one does not go ahead with the next, and so all make it there.
  bool may_record_ = true, lacks_recording_ = false;
  OwnEvent ended_[kNumSlots];

  // Of the step that runs.
  const StepView* step_ = nullptr;
  int m_ = 0;
  bool is_recorded_ = false;  // or of so few tokens that it may be
  int num_pooled_ = 0;
  JoinWay way_ = JoinWay::kLibrary;
  int turn_ = 0;
  bool input_is_ready_ = false;  // a join has made the next norm too
  Status status_;
};

}  // namespace lockstep::cuda
