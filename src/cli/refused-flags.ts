/**
 * The flags of `vllm serve` that have no row in `options.ts`: why each is refused, and with which values some are taken, as those say what is
 * done here anyway. A flag that is taken and then ignored would make somebody believe in a server that does something else.
 */
const reasons: Readonly<Record<string, string>> = {
  'this is not built here, for GPUs or for CPUs': `--disable-cascade-attn
    --attention-backend --attention-config -ac --kv-offloading-size --kv-offloading-backend
    --offload-backend --cpu-offload-gb --cpu-offload-params --offload-group-size --offload-num-in-group --offload-prefetch-step
    --offload-params --cudagraph-capture-sizes --max-cudagraph-capture-size --cudagraph-metrics --enable-flashinfer-autotune
    --gdn-prefill-backend --kda-prefill-backend --kda-decode-backend --sparse-indexer-topk-backend
    --sleep-mode-offload-cudagraph --sleep-preserve-parameter-names --enable-cumem-allocator --enable-nccl-comm-suspend
    --enable-layerwise-nvtx-tracing --swa-bounded-replay --use-fp64-gumbel`,
  'CUDA_VISIBLE_DEVICES says which GPUs are used, and in which order': '--device-ids',
  'kernels are chosen by the weight format and the instruction set': `--moe-backend --linear-backend --kernel-config --ir-op-priority
    --jit-monitor-mode --jit-monitor-verbose`,
  'nothing is compiled at start; leave it out': '--compilation-config -cc --optimization-level -O',
  'steps are planned for both, short waits and many tokens a second; --max-num-batched-tokens and --max-num-seqs bound them':
    '--performance-mode',
  'the checkpoint says how it is to be read': `--quantization-config --allow-deprecated-quantization --config-format --model-impl
    --language-model-only`,
  'a sliding window is part of what a model computes': '--disable-sliding-window',
  'tokenizers are read from tokenizer.json or a GGUF file, in one way': '--tokenizer-mode',
  'prompts and answers are text': '--skip-tokenizer-init',
  'config.json comes with the model; --hf-overrides changes fields of it': '--hf-config-path',
  'models are data here, and no code of theirs is run': '--trust-remote-code --code-revision --model-class-overrides',
  'files are mapped and packed by the rank that needs them': `--safetensors-load-strategy --safetensors-prefetch-num-threads
    --safetensors-prefetch-block-size --model-loader-extra-config --ignore-patterns --use-tqdm-on-load --pt-load-map-location
    --max-parallel-loading-workers --weight-transfer-config`,
  'only tensor parallelism is built; run more servers behind a router for more': `--pipeline-parallel-size -pp --data-parallel-size -dp
    --data-parallel-rank -dpn --data-parallel-start-rank -dpr --data-parallel-size-local -dpl --data-parallel-address -dpa
    --data-parallel-rpc-port -dpp --data-parallel-backend -dpb --data-parallel-hybrid-lb -dph --data-parallel-external-lb -dpe
    --data-parallel-multi-port-external-lb -dpm --decode-context-parallel-size -dcp --dcp-comm-backend --dcp-q-replicate
    --dcp-kv-cache-interleave-size --cp-kv-cache-interleave-size --prefill-context-parallel-size -pcp --dp-sync-interval
    --disable-nccl-for-dp-synchronization --enable-hc-sp --enable-batch-sharded-sampling`,
  'every rank holds a part of every expert': `--enable-expert-parallel -ep --enable-ep-weight-filter --all2all-backend --enable-dbo
    --ubatch-size --enable-elastic-ep --elastic-ep-max-dp-size --dbo-decode-token-threshold --dbo-prefill-token-threshold --enable-eplb
    --eplb-config --expert-placement-strategy --enable-return-routed-experts --aux-output-config`,
  'all ranks are threads of one process on one machine': `--distributed-executor-backend --master-addr --master-port --nnodes -n
    --node-rank -r --cpu-distributed-timeout-seconds --numa-bind --numa-bind-nodes --numa-bind-cpus
    --ray-workers-use-nsight --enable-shm-tensor-arena --enable-fault-tolerance --fault-tolerance-config --enable-scale-out`,
  'there are no Python plug-ins': `--worker-cls --worker-extension-cls --scheduler-cls --logits-processors --io-processor-plugin
    --middleware --additional-config --tool-parser-plugin --reasoning-parser-plugin`,
  'adapters (LoRA) are not built yet': `--lora-modules --enable-lora --max-loras --max-lora-rank --lora-dtype --max-cpu-loras
    --enable-tower-connector-lora --fully-sharded-loras --lora-target-modules --default-mm-loras --specialize-active-lora
    --enable-mixed-moe-lora-format --enable-moe-shared-loras --max-lora-cls-labels`,
  'only text models are served': `--trust-request-mm-kwargs --allowed-local-media-path --allowed-media-domains --limit-mm-per-prompt
    --enable-mm-embeds --media-io-kwargs --mm-processor-kwargs --mm-processor-cache-gb --mm-processor-cache-type --mm-hasher-algorithm
    --mm-shm-cache-max-object-size-mb --mm-encoder-only --mm-encoder-tp-mode --mm-encoder-attn-backend --mm-encoder-attn-dtype
    --mm-encoder-fp8-scale-path --mm-encoder-fp8-scale-save-path --mm-encoder-fp8-scale-save-margin --interleave-mm-strings
    --skip-mm-profiling --video-pruning-rate --video-pruning-method --mm-tensor-ipc --mm-processor-device --mm-ipc-gpu-memory-gb
    --mm-device-do-normalize --disable-chunked-mm-input --ec-transfer-config --ec-manager-config --diffusion-config -dc`,
  'state-space layers are not built': `--mamba-backend --mamba-ssu-algorithm --enable-mamba-cache-stochastic-rounding
    --mamba-cache-philox-rounds --mamba-cache-dtype --mamba-ssm-cache-dtype --mamba-block-size --mamba-cache-mode
    --enable-mamba-shared-prefix-checkpoint --replayssm-buffer-len --use-replayssm`,
  'the KV cache has one type and one layout in all layers': `--kv-cache-dtype-skip-layers --kv-sharing-fast-prefill
    --prefix-match-unit --disable-hybrid-kv-cache-manager --engram-config`,
  'the prefix cache keeps blocks until their room is needed': '--prefix-cache-retention-interval',
  'blocks are found by the tokens in them, and a hash only says where to look': '--prefix-caching-hash-algo',
  'the KV cache stays in this process': '--kv-transfer-config --kv-events-config',
  'no draft model or draft head is run here: --spec-method ngram needs none': '--spec-model',
  'speculation is counted for the whole server, in /metrics': '--per-request-spec-decode-metrics',
  'tools run where the client is': '--tool-server',
  "there is no route of Cohere's; its models reason and call as --reasoning-parser and --tool-call-parser say": `--cohere-is-reasoning-model
    --cohere-format`,
  'where thinking is disabled, the chat template is told enable_thinking false': '--anthropic-disabled-thinking-effort',
  'whether a chat template takes text or parts is seen in its loops': '--chat-template-content-format',
  'log-probabilities are those of the model before temperature and penalties': '--logprobs-mode',
  'the answers have one form': '--return-sampling-mask',
  'the running requests are always counted, at /load': '--enable-server-load-tracking',
  'the pages at /docs always bring what they need': '--enable-offline-docs',
  'prompts are text, messages or token ids, and answers text': '--tokens-only --enable-prompt-embeds',
  'requests come over HTTP': '-i --input-file -o --output-file --output-tmp-dir --url --renderer-num-workers --headless --grpc',
  'the scheduler bounds a step by --max-num-batched-tokens and --max-num-seqs, and the queue by --max-num-queued-reqs': `--max-num-scheduled-tokens
    --max-num-active-seqs --max-num-queued-tokens`,
  '--long-prefill-token-threshold is the bound, as given': '--long-prefill-token-threshold-adaptive',
  'a request is let in when its whole prompt has room, in every step': '--scheduler-reserve-full-isl --prefill-schedule-interval',
  'texts are not watermarked': '--watermark-config',
  'an answer is logged whole, when it has ended (--enable-log-outputs)': '--enable-log-deltas',
  'the log has one form, a JSON record a line on stderr; --log-level, --enable-log-requests and --disable-uvicorn-access-log choose what is in it': `--log-error-stack --logging-config --log-config-file --disable-log-stats
    --aggregate-engine-logging --enable-logging-iteration-details`,
  '/metrics is always there with one set of names': `--enable-metrics --show-hidden-metrics-for-version --kv-cache-metrics
    --kv-cache-metrics-sample --custom-histogram-buckets --enable-mfu-metrics`,
  'a trace has a span a request (--otlp-traces-endpoint), and profiles are not written':
    '--collect-detailed-traces --profiler-config --enable-trace-replay',
  // Of older releases, as they still stand in scripts.
  '--runner pooling, with --convert embed or classify, says that a model gives vectors or scores': '--task',
  'prompts are logged only with --enable-log-requests': '--disable-log-requests',
  '--reasoning-parser alone is enough': '--enable-reasoning',
  'there is one compiler of grammars; --structured-outputs-config sets its white space': '--guided-decoding-backend',
  'config.json says it, and --hf-overrides wins over that': '--rope-scaling --rope-theta',
  'preempted requests are computed anew, and every step is planned': `--swap-space --preemption-mode --num-scheduler-steps --multi-step-stream-outputs
    --num-lookahead-slots --use-v2-block-manager --max-num-partial-prefills --max-long-partial-prefills`,
  'the HTTP parser is not h11; --max-body-bytes bounds the body': '--h11-max-incomplete-event-size --h11-max-header-count',
};

/** What is done here anyway, as vLLM's flags say it: the values that may be given, or `on` and `off` for a flag without one. */
const settled: Readonly<Record<string, string>> = {
  on: `--disable-cascade-attn --disable-log-stats --enable-server-load-tracking
    --enable-offline-docs --language-model-only --skip-mm-profiling --disable-hybrid-kv-cache-manager --scheduler-reserve-full-isl --enable-metrics
    --disable-log-requests --enable-reasoning --use-v2-block-manager`,
  off: '--use-tqdm-on-load --enable-log-deltas --enable-expert-parallel --enable-lora --enable-prompt-embeds',
  // A permission that nothing makes use of.
  'on off': '--trust-remote-code',
  '1': `--pipeline-parallel-size -pp --data-parallel-size -dp --decode-context-parallel-size -dcp --prefill-context-parallel-size -pcp
    --data-parallel-size-local -dpl --nnodes -n --prefill-schedule-interval`,
  '0': '--node-rank -r --optimization-level -O --cpu-offload-gb --mm-processor-cache-gb',
  auto: '--model-impl --chat-template-content-format',
  'auto hf': '--config-format --tokenizer-mode',
  'auto none': '--anthropic-disabled-thinking-effort',
  // Ranks on one machine, without Ray.
  'mp uni': '--distributed-executor-backend',
  balanced: '--performance-mode',
  none: '--per-request-spec-decode-metrics',
  raw_logprobs: '--logprobs-mode',
};

/** Flag, with its dashes, to the values with which it is taken. */
export const settledFlags: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries(settled).flatMap(([values, flags]) => flags.split(/\s+/).map((flag) => [flag, values.split(' ')] as const)),
);

/** Flag, with its dashes, to the reason. */
export const refusedFlags: ReadonlyMap<string, string> = new Map(
  Object.entries(reasons).flatMap(([reason, flags]) => flags.split(/\s+/).map((flag) => [flag, reason] as const)),
);
