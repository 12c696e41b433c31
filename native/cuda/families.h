// The functions of the kernel table, each in the file of its family; table.cpp gathers them. Arguments stand in kernels.h.
#pragma once

#include "cuda/kernels.h"

namespace lockstep::cuda {

Error embed(const EmbedArgs& args, Stream stream);
Error add_embedding(const AddEmbeddingArgs& args, Stream stream);
Error norm(const NormArgs& args, Stream stream);
Error add(const AddArgs& args, Stream stream);
Error pool(const PoolArgs& args, Stream stream);
Error generate(const GenerateArgs& args, Stream stream);
Error gemm(const GemmArgs& args, Stream stream);
Error gemm_tiles(const GemmTilesArgs& args, Stream stream);
Error gemm_wide(const GemmWideArgs& args, Stream stream);
Error gemm_f32(const GemmArgs& args, Stream stream);    // gemm's, of float32; not in the table
Error gemm_gated(const GemmArgs& args, Stream stream);  // gemm's, of few rows, where they gate; not in the table
Error dequantize(const DequantizeArgs& args, Stream stream);
Error rope_table(const RopeTableArgs& args, Stream stream);
Error rope_append(const RopeAppendArgs& args, Stream stream);
Error attention(const AttentionArgs& args, Stream stream);
Error attention_few(const AttentionTilesArgs& args, Stream stream);
Error attention_many(const AttentionTilesArgs& args, Stream stream);
Error activation(const ActivationArgs& args, Stream stream);
Error route(const RouteArgs& args, Stream stream);
Error peer_join(const PeerJoinArgs& args, Stream stream);
Error peer_gather(const PeerGatherArgs& args, Stream stream);
Error finish_logits(const FinishLogitsArgs& args, Stream stream);
Error note_tokens(const NoteTokensArgs& args, Stream stream);
Error sample(const SampleArgs& args, Stream stream);
Error combine(const CombineArgs& args, Stream stream);

}  // namespace lockstep::cuda
