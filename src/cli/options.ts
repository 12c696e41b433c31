/**
 * The flags of `lockstep serve` and `lockstep chat`, a row a flag. Command line, LOCKSTEP_* variables, --config, --help and the
 * README's table are made from these rows. Names, defaults and meanings are those of `vllm serve` where the thing exists there.
 */
import { clientsMax } from '../engine/client.js';
import { startError } from '../errors.js';
import { reasoningFormats } from '../parsing/reasoning-format.js';
import { toolFormats } from '../parsing/tool-formats.js';
import type { Flag, OptionsOf } from './flag.js';
import { downloadDir, hfToken, model, revision } from './hub-flags.js';
import { type CommandTable, loadOptions } from './load-options.js';
import { refusedReasoningParsers, refusedToolParsers } from './refused-parsers.js';
import { speculationOf } from './speculative-config.js';
import { isJsonCompact } from './structured-outputs-config.js';

const ranks = 'Ranks';
const memory = 'KV cache';
const scheduler = 'Scheduler';
const server = 'Server';
const api = 'API';

const strictLevels = new Map([['function', 'parameter holds names and arguments, and there is nothing between it and auto']]);

/** --max-model-len auto */
export const autoLen = -1;

// biome-ignore format: a row a flag
const ncclLibrary =
  { name: 'nccl-library', type: 'string', default: null, group: ranks, value: 'PATH', variables: ['VLLM_NCCL_SO_PATH'],
    help: 'the libnccl.so for several GPUs, this and no other. Unset: the system, the Python environment (VIRTUAL_ENV, CONDA_PREFIX) and CUDA are searched' } as const satisfies Flag;
// biome-ignore format: a row a flag
const cublasltLibrary =
  { name: 'cublaslt-library', type: 'string', default: null, group: ranks, value: 'PATH',
    help: 'the libcublasLt.so for products of many rows on GPUs, this and no other. Unset: the same places are searched' } as const satisfies Flag;

/** What the engine itself needs: model, ranks, memory, scheduler. */
// biome-ignore format: a row a flag
export const engineFlags = [
  { name: 'model', type: 'string', default: null, group: model, value: 'MODEL',
    help: 'Hugging Face id, folder in Hugging Face layout, or .gguf file; may stand without the flag. Unset: the small bundled model' },
  revision,
  { name: 'tokenizer', type: 'string', default: null, group: model, value: 'MODEL',
    help: "Hugging Face id, folder or .gguf file that has the tokenizer and the chat template. Unset: the model's own" },
  { name: 'tokenizer-revision', type: 'string', default: null, group: model, value: 'REV',
    help: 'branch, tag or commit of that Hugging Face id; without --tokenizer that of MODEL. Unset: main' },
  downloadDir,
  hfToken,
  { name: 'load-format', type: 'string', default: 'auto', choices: ['auto', 'safetensors', 'gguf'], group: model,
    help: 'what the weights must be in; auto: in what the model has' },
  { name: 'dtype', type: 'string', default: 'auto', group: model, value: 'auto|bfloat16|float32',
    help: 'type of activations and KV cache, and of weights that have no kernel of their own; auto: bfloat16' },
  { name: 'quantization', type: 'string', default: null, group: model, value: 'int8|int4', aliases: ['-q'],
    help: 'quantise float weights as they are loaded, in groups of 32 (int4: embedding and head to 8 bits). gptq, awq, compressed-tensors, fp8 and gguf name what a checkpoint is. Unset: as the checkpoint is' },
  { name: 'runner', type: 'string', default: 'auto', choices: ['auto', 'generate', 'pooling'], group: model,
    help: 'generate: tokens; pooling: embeddings or scores of whole inputs; auto: as the files of the model say' },
  { name: 'convert', type: 'string', default: 'auto', choices: ['auto', 'none', 'embed', 'classify'], group: model,
    help: 'what a model is made of that could generate: of embeddings or of scores' },
  { name: 'pooler-config', type: 'json', default: null, group: model, value: 'JSON',
    help: 'how hidden states are pooled, for example {"pooling_type": "MEAN"}: pooling_type (or seq_pooling_type) CLS, LAST or MEAN, use_activation' },
  { name: 'hf-overrides', type: 'json', default: {}, group: model, value: 'JSON',
    help: 'fields that win over those of config.json, for example {"is_matryoshka": true}' },
  { name: 'max-model-len', type: 'size', default: null, min: 1, words: { auto: autoLen, [autoLen]: autoLen }, group: model, value: 'TOKENS|auto',
    help: "longest sequence, prompt and output. auto (or -1): the model's own limit, or what the KV cache holds. Unset: the model's own limit" },
  { name: 'seed', type: 'int', default: null, min: 0, group: model, value: 'N',
    help: 'seed of the random numbers of requests that bring none. Unset: a different one each time' },
  { name: 'max-logprobs', type: 'int', default: 20, min: 0, max: 1000, group: model,
    help: 'most log-probabilities that a request may ask for at each position' },
  { name: 'weight-cache', type: 'boolean', default: true, group: model,
    help: 'keep packed weights and the parsed tokenizer in ~/.cache/lockstep (XDG_CACHE_HOME, LOCKSTEP_CACHE) for the next start' },
  { name: 'weight-cache-size', type: 'size', default: 20 * 2 ** 30, min: 0, group: model, value: 'BYTES',
    help: 'most bytes that are kept there; those not used for longest go first' },

  { name: 'device', type: 'string', default: 'auto', choices: ['auto', 'cpu', 'cuda'], group: ranks,
    help: 'what the ranks are on. cuda: GPUs, the first of CUDA_VISIBLE_DEVICES, one for each rank; auto: that where there are any, else cpu' },
  { name: 'tensor-parallel-size', type: 'int', default: 1, group: ranks, aliases: ['-tp'], value: 'N',
    help: 'number of ranks, 1 to 64, or to the number of GPUs; each is a thread with its share of the weights' },
  { name: 'tensor-parallel-mode', type: 'string', default: 'auto', choices: ['auto', 'gather', 'reduce'], group: ranks,
    help: 'gather: same bits for every N; reduce: partial sums joined by an all-reduce; auto: gather on the CPU, reduce on GPUs, which have no other' },
  { name: 'cpu-threads', type: 'int', default: null, min: 1, max: 1024, group: ranks, value: 'N',
    help: 'compute threads of each rank on the CPU. Unset: the cores that this process may use, divided by the ranks' },
  { name: 'deterministic', type: 'boolean', default: false, group: ranks,
    help: "sums have one order on GPUs, over ranks theirs: by kernels that read the other GPUs' memory, and never by NCCL; and products are never cuBLASLt's, which may sum otherwise in another batch. On the CPU they have it anyway" },
  { name: 'disable-custom-all-reduce', type: 'boolean', default: false, group: ranks,
    help: 'sums over GPUs by NCCL alone' },
  { name: 'enforce-eager', type: 'boolean', default: false, group: ranks,
    help: 'GPUs start the kernels of every step one by one, instead of recording those of short steps once as CUDA graphs' },
  ncclLibrary,
  cublasltLibrary,
  { name: 'distributed-timeout-seconds', type: 'number', default: 60, min: 0.1, max: 86400, group: ranks, value: 'SECONDS',
    help: 'a rank that hears nothing of the others, or of its GPU, for so long within a step has failed: requests end with an error, and the process' },

  { name: 'block-size', type: 'int', default: 16, min: 16, max: 1024, group: memory, value: 'TOKENS',
    help: 'tokens of one KV block, a multiple of 16' },
  { name: 'kv-cache-memory-bytes', type: 'size', default: null, min: 1, group: memory, value: 'BYTES',
    help: 'size of the KV cache, of each GPU where the ranks are on GPUs. Unset: on the CPU the smaller of what max-num-seqs × max-model-len needs and half of the free memory; on GPUs as --gpu-memory-utilization says' },
  { name: 'gpu-memory-utilization', type: 'number', default: null, min: 0.01, max: 1, group: memory, value: 'PART', aliases: ['--device-memory-utilization'],
    help: "part of the memory, each GPU's or else the machine's, that the server takes: what weights and activations leave of it is KV cache. Unset: 0.92 of GPUs; else see --kv-cache-memory-bytes, which wins" },
  { name: 'num-gpu-blocks-override', type: 'int', default: null, min: 1, group: memory, value: 'N',
    help: 'blocks of the KV cache, whatever else would be its size' },
  { name: 'kv-cache-dtype', type: 'string', default: 'auto', group: memory, value: 'auto|bfloat16|int8',
    help: 'how K and V are kept. auto: as the model is computed; int8: half the memory of bfloat16, a scale for each token and head' },
  { name: 'watermark', type: 'number', default: 0.01, min: 0, max: 0.99, group: memory, value: 'PART',
    help: 'part of the KV cache that stays free when a request is let in, so that the running ones can grow' },
  { name: 'enable-prefix-caching', type: 'boolean', default: true, group: memory,
    help: 'keep the KV blocks of finished requests for prompts that begin alike' },

  { name: 'max-num-seqs', type: 'int', default: 256, min: 1, max: 4096, group: scheduler, value: 'N',
    help: 'most sequences that run at once' },
  { name: 'max-num-batched-tokens', type: 'size', default: null, min: 1, group: scheduler, value: 'TOKENS',
    help: 'most tokens of one step. Unset: 512, on GPUs 2048, or max-num-seqs where that is more' },
  { name: 'enable-chunked-prefill', type: 'boolean', default: true, group: scheduler,
    help: 'cut long prompts into chunks that share steps with running requests' },
  { name: 'long-prefill-token-threshold', type: 'int', default: 0, min: 0, group: scheduler, value: 'TOKENS',
    help: 'longest chunk of one prompt in a step; 0: no limit but that of the step' },
  { name: 'async-scheduling', type: 'boolean', default: true, group: scheduler,
    help: 'plan a step while the one before it runs; the tokens are the same either way' },
  { name: 'scheduling-policy', type: 'string', default: 'fcfs', choices: ['fcfs', 'priority'], group: scheduler,
    help: 'order of waiting: first come first served, or by the priority of the request' },
  { name: 'speculative-config', type: 'json', default: null, aliases: ['-sc'], group: scheduler, value: 'JSON',
    help: 'drafts by prompt lookup, for example {"method": "ngram", "num_speculative_tokens": 8}, or a file that holds it; the tokens are the same either way' },
  { name: 'spec-method', type: 'string', default: null, group: scheduler, value: 'ngram',
    help: 'method of --speculative-config, without the JSON; needs --spec-tokens' },
  { name: 'spec-tokens', type: 'int', default: null, min: 1, group: scheduler, value: 'N',
    help: 'num_speculative_tokens of --speculative-config; needs --spec-method' },
  { name: 'max-num-queued-reqs', type: 'int', default: 4096, min: 1, group: scheduler, value: 'N',
    help: 'most requests that wait; one more is answered 429 with Retry-After. Of several keys each may have as many waiting as there are places left, times its weight' },
] as const satisfies readonly Flag[];

export type EngineOptions = OptionsOf<typeof engineFlags>;

/** What HTTP and the API need besides. */
// biome-ignore format: a row a flag
const frontEndFlags = [
  { name: 'served-model-name', type: 'list', default: [], group: model, value: 'NAME',
    help: 'names under which clients may ask for the model; answers carry the first. Unset: MODEL as given' },
  { name: 'generation-config', type: 'string', default: 'auto', group: model, value: 'auto|vllm|FOLDER',
    help: "where default sampling parameters come from: the model's generation_config.json, nowhere (vllm), or that of another folder" },
  { name: 'override-generation-config', type: 'json', default: {}, group: model, value: 'JSON',
    help: 'default sampling parameters that win over generation_config.json, for example {"temperature": 0.5}' },
  { name: 'trust-request-chat-template', type: 'boolean', default: false, group: model,
    help: 'a request may bring its own chat_template' },
  { name: 'chat-template', type: 'string', default: null, group: model, value: 'FILE',
    help: "Jinja template that replaces the model's own" },
  { name: 'default-chat-template-kwargs', type: 'json', default: {}, group: model, value: 'JSON',
    help: 'variables for the chat template, for example {"enable_thinking": false}; those of a request (chat_template_kwargs, reasoning_effort) win' },
  { name: 'tool-call-parser', type: 'string', default: null, choices: ['auto', ...toolFormats.map(({ name }) => name)], refusedChoices: refusedToolParsers, group: api,
    help: 'how the model writes tool calls; auto: as its chat template shows. Unset: only tool_choice none is served' },
  { name: 'enable-auto-tool-choice', type: 'boolean', default: false, group: api,
    help: 'let the model decide whether it calls tools (tool_choice auto, what a request with tools means); needs --tool-call-parser' },
  { name: 'tool-strict-level', type: 'string', default: 'auto', choices: ['auto', 'parameter'], refusedChoices: strictLevels, group: api,
    help: 'parameter: every call is held to the schema of its function, as with strict in a request; auto: as the request says' },
  { name: 'exclude-tools-when-tool-choice-none', type: 'boolean', default: false, group: api,
    help: 'leave tools out of the prompt of a request with tool_choice none' },
  { name: 'reasoning-parser', type: 'string', default: null, choices: ['auto', ...reasoningFormats.map(({ name }) => name)], refusedChoices: refusedReasoningParsers, group: api,
    help: 'how the model marks its reasoning; auto: as its chat template shows. Unset: reasoning is content' },
  { name: 'reasoning-config', type: 'json', default: {}, group: api, value: 'JSON',
    help: '{"reasoning_end_str": "I must answer now.</think>"}: what is forced where thinking_token_budget ends reasoning; it holds the end of --reasoning-parser' },
  { name: 'structured-outputs-config', type: 'json', default: {}, group: api, value: 'JSON',
    help: '{"disable_any_whitespace": true}: JSON that requests ask for has no spaces; the other settings of vLLM are refused unless they say what is done anyway' },
  { name: 'response-role', type: 'string', default: 'assistant', group: model, value: 'ROLE',
    help: 'role of the messages that are generated' },

  { name: 'host', type: 'string', default: '0.0.0.0', group: server, help: 'address to listen on' },
  { name: 'port', type: 'int', default: 8000, min: 0, max: 65535, group: server, help: 'port to listen on; 0: any free one' },
  { name: 'api-server-count', type: 'int', default: 1, min: 1, max: clientsMax, group: server, value: 'N',
    help: 'threads that serve HTTP at the same port, each with its connections and a tokenizer of its own' },
  { name: 'uds', type: 'string', default: null, group: server, value: 'PATH', help: 'Unix domain socket to listen on instead of host and port' },
  { name: 'root-path', type: 'string', default: '', group: server, value: 'PATH',
    help: 'prefix of every route, for a proxy that does not strip it' },
  { name: 'max-body-bytes', type: 'size', default: 16 * 2 ** 20, min: 1024, group: server, value: 'BYTES', help: 'largest request body' },
  { name: 'allowed-origins', type: 'list', default: ['*'], group: server, help: 'origins that browsers may call from (CORS)' },
  { name: 'allowed-methods', type: 'list', default: ['*'], group: server, help: 'methods that CORS allows' },
  { name: 'allowed-headers', type: 'list', default: ['*'], group: server, help: 'headers that CORS allows' },
  { name: 'allow-credentials', type: 'boolean', default: false, group: server, help: 'let browsers send credentials (CORS)' },
  { name: 'ssl-keyfile', type: 'string', default: null, group: server, value: 'FILE', help: 'private key (PEM): with --ssl-certfile the port speaks TLS' },
  { name: 'ssl-certfile', type: 'string', default: null, group: server, value: 'FILE', help: 'certificate of the server and those above it (PEM)' },
  { name: 'ssl-ca-certs', type: 'string', default: null, group: server, value: 'FILE',
    help: 'certificates (PEM) of those who sign for clients, with --ssl-cert-reqs' },
  { name: 'ssl-cert-reqs', type: 'int', default: 0, min: 0, max: 2, group: server, value: '0|1|2',
    help: 'certificates of clients: 0 not asked for, 1 asked for, 2 demanded; more than 0 is served by node:http' },
  { name: 'ssl-ciphers', type: 'string', default: null, group: server, value: 'LIST', help: 'cipher suites up to TLS 1.2, as OpenSSL writes them' },
  { name: 'enable-ssl-refresh', type: 'boolean', default: false, group: server,
    help: 'read key and certificate again when their files change; open connections stay' },
  { name: 'sse-keep-alive-interval', type: 'number', default: 0, min: 0, max: 3600, group: server, value: 'SECONDS',
    help: 'a comment goes into streams on which nothing came for so long; 0: none' },
  { name: 'enable-request-id-headers', type: 'boolean', default: false, group: server,
    help: 'every reply has an X-Request-Id; without, those whose request had one' },
  { name: 'shutdown-timeout', type: 'number', default: 60, min: 0, max: 86400, group: server, value: 'SECONDS',
    help: 'how long running requests may go on after SIGTERM; a second SIGTERM ends them at once' },
  { name: 'log-level', type: 'string', default: 'info', choices: ['debug', 'info', 'warning', 'error', 'critical'], aliases: ['--uvicorn-log-level'], group: server,
    help: 'least serious records that are written' },
  { name: 'fail-on-environ-validation', type: 'boolean', default: false, group: server,
    help: 'end where a LOCKSTEP_* or VLLM_* variable is set that is not read, instead of a warning' },
  { name: 'http-backend', type: 'string', default: 'auto', choices: ['auto', 'uws', 'node'], group: server,
    help: 'auto: uWebSockets.js where its binary loads, else node:http' },
  { name: 'otlp-traces-endpoint', type: 'string', default: null, group: server, value: 'URL',
    help: 'collector of OpenTelemetry to which a span goes for every request, as OTLP over HTTP in JSON: http://HOST:4318/v1/traces. OTEL_SERVICE_NAME and OTEL_EXPORTER_OTLP_HEADERS are read' },
  { name: 'disable-uvicorn-access-log', type: 'boolean', default: false, group: server,
    help: 'no record for every answer (client, method, path, status, milliseconds, name of the key)' },
  { name: 'disable-access-log-for-endpoints', type: 'list', default: [], group: server, value: 'PATH',
    help: 'paths of which there is no such record, for example /health,/metrics' },
  { name: 'enable-log-requests', type: 'boolean', default: false, group: server,
    help: 'a record for every request with its parameters and the text of its prompt' },
  { name: 'enable-log-outputs', type: 'boolean', default: false, group: server, help: 'a record for every answer that has ended, with its text' },
  { name: 'max-log-len', type: 'int', default: null, min: 0, group: server, value: 'N', help: 'longest text of a prompt or an answer in the log, in characters. Unset: all of it' },

  { name: 'api-key', type: 'list', default: [], group: api, value: 'KEY', variables: ['VLLM_API_KEY'],
    help: 'key that clients must send, as Authorization: Bearer KEY or x-api-key: KEY; may be given several times. Unset: no key is asked for' },
  { name: 'api-key-file', type: 'string', default: null, group: api, value: 'FILE',
    help: 'more keys, a line each: KEY [name=NAME] [weight=N] [requests-per-minute=N] [tokens-per-minute=N]; the name is what logs show, the weight its part of the engine while several keys wait' },
  { name: 'requests-per-minute', type: 'number', default: null, min: 0.001, group: api, value: 'N',
    help: 'most requests of a key in a minute; one more is answered 429 with Retry-After and x-ratelimit-* headers. Unset: no limit' },
  { name: 'tokens-per-minute', type: 'number', default: null, min: 1, group: api, value: 'N',
    help: 'the same for tokens, read and made: a key that is over is answered 429. Unset: no limit' },
  { name: 'unknown-fields', type: 'string', default: 'refuse', choices: ['refuse', 'warn'], group: api,
    help: 'fields of a request that nobody knows: refuse with 400, or let pass with a Warning header' },
  { name: 'enable-prompt-tokens-details', type: 'boolean', default: false, group: api,
    help: 'usage says how much of the prompt came from the prefix cache' },
  { name: 'enable-per-request-metrics', type: 'boolean', default: false, group: api,
    help: 'answers of chat and completions with one choice say how long they waited, their first token and the others took (metrics); streams with their usage' },
  { name: 'enable-force-include-usage', type: 'boolean', default: false, group: api, help: 'every stream carries usage, asked for or not' },
  { name: 'stream-interval', type: 'int', default: 1, min: 1, group: api, value: 'TOKENS',
    help: 'tokens of an event of a stream; the first of a choice comes at once. A request may ask for more (stream_interval)' },
  { name: 'return-tokens-as-token-ids', type: 'boolean', default: false, group: api,
    help: 'log-probabilities name tokens as "token_id:5" where a request does not say otherwise' },
  { name: 'fingerprint-mode', type: 'string', default: 'full', choices: ['full', 'hash', 'none', 'custom'], group: api,
    help: 'system_fingerprint of answers: version and hash of the model, the hash alone, null, or --fingerprint-value' },
  { name: 'fingerprint-value', type: 'string', default: null, group: api, value: 'TEXT', help: 'the fingerprint, with --fingerprint-mode custom' },
  { name: 'disable-fastapi-docs', type: 'boolean', default: false, group: api, help: 'do not serve /openapi.json and /docs' },
  { name: 'page', type: 'boolean', default: true, group: api, help: 'serve the page at /: to chat, and to watch the engine' },
  { name: 'server-dev-mode', type: 'boolean', default: false, group: api, variables: ['VLLM_SERVER_DEV_MODE'],
    help: 'serve the routes that steer the engine: /sleep, /pause, /reset_prefix_cache, /server_info and their like' },
  { name: 'enable-sleep-mode', type: 'boolean', default: false, group: api, help: 'serve /sleep, /wake_up and /is_sleeping' },
  { name: 'enable-tokenizer-info-endpoint', type: 'boolean', default: false, group: api, help: 'serve /tokenizer_info' },
  { name: 'error-code-style', type: 'string', default: 'openai', choices: ['openai', 'vllm'], group: api,
    help: "error.code as OpenAI's string or null, or as vLLM's integer" },
] as const satisfies readonly Flag[];

export const serveFlags = [...engineFlags, ...frontEndFlags] as const;

export type ServeOptions = OptionsOf<typeof serveFlags>;

// biome-ignore format: a row a flag
export const chatFlags = [
  { name: 'url', type: 'string', default: 'http://127.0.0.1:8000/v1', group: 'Chat', help: 'base URL of the server' },
  { name: 'model', type: 'string', default: null, group: 'Chat', value: 'NAME',
    help: 'model to ask for. Unset: the first that the server names' },
  { name: 'api-key', type: 'string', default: null, group: 'Chat', value: 'KEY', variables: ['VLLM_API_KEY', 'OPENAI_API_KEY'],
    help: 'key that the server asks for' },
  { name: 'system', type: 'string', default: null, group: 'Chat', value: 'TEXT',
    help: 'system message that every conversation begins with' },
  { name: 'temperature', type: 'number', default: null, min: 0, max: 2, group: 'Chat',
    help: "sampling temperature. Unset: the server's default" },
  { name: 'max-tokens', type: 'int', default: null, min: 1, group: 'Chat', value: 'N',
    help: 'longest answer. Unset: what is left of the context' },
] as const satisfies readonly Flag[];

export type ChatOptions = OptionsOf<typeof chatFlags>;

export const serveCommand = {
  name: 'serve',
  summary: 'serve a model behind the OpenAI HTTP API',
  flags: serveFlags,
  positional: 'model',
  isConfigurable: true,
} as const satisfies CommandTable;

export const chatCommand = {
  name: 'chat',
  summary: 'talk to a running server in the terminal',
  flags: chatFlags,
  isConfigurable: false,
} as const satisfies CommandTable;

const doctorFlags = [ncclLibrary, cublasltLibrary] as const satisfies readonly Flag[];

export const doctorCommand = {
  name: 'doctor',
  summary: 'which devices and libraries were found on this machine, or why not',
  flags: doctorFlags,
  isConfigurable: false,
} as const satisfies CommandTable;

export const healthCommand = {
  name: 'health',
  summary: 'whether the server on this machine takes requests; the exit status says so too',
  flags: [
    {
      name: 'port',
      type: 'int',
      default: 8000,
      min: 1,
      max: 65535,
      group: server,
      variables: ['LOCKSTEP_PORT'],
      help: 'port that it listens on',
    },
  ],
  isConfigurable: false,
} as const satisfies CommandTable;

export const cacheClearCommand = {
  name: 'cache clear',
  summary: 'remove what starts have kept for the next ones',
  flags: [],
  isConfigurable: false,
} as const satisfies CommandTable;

export const shells = ['bash', 'zsh', 'fish'] as const;

export const completionCommand = {
  name: 'completion',
  summary: 'a script that completes commands, flags and their values: bash, zsh or fish',
  flags: [
    {
      name: 'shell',
      type: 'string',
      default: null,
      group: 'Completion',
      choices: shells,
      help: 'the shell that it is for; may stand without the flag. bash: source <(lockstep completion bash)',
    },
  ],
  positional: 'shell',
  isConfigurable: false,
} as const satisfies CommandTable;

/** What `serve` asks for, checked as far as that is possible without a model. `environment` is process.env. */
export function loadServeOptions(argv: readonly string[], environment: Readonly<Record<string, string | undefined>>): ServeOptions {
  const options = loadOptions(serveCommand, argv, environment);
  checkEngineOptions(options);
  isJsonCompact(options.structuredOutputsConfig);
  if ((options.fingerprintMode === 'custom') !== (options.fingerprintValue !== null)) {
    throw startError('--fingerprint-mode custom and --fingerprint-value go together', { param: 'fingerprint-value' });
  }
  if (options.enableAutoToolChoice && options.toolCallParser === null) {
    const message = '--enable-auto-tool-choice requires --tool-call-parser: auto takes it from the chat template';
    throw startError(message, { param: 'enable-auto-tool-choice' });
  }
  return options;
}

/** Throws LockstepError `start` for values that no model makes right. */
export function checkEngineOptions(options: EngineOptions): void {
  const { blockSize, kvCacheDtype, maxNumBatchedTokens, maxNumSeqs } = options;
  const refuse = (param: string, message: string): never => {
    throw startError(message, { param });
  };
  speculationOf(options);
  if (blockSize % 16 !== 0) refuse('block-size', `--block-size must be a multiple of 16, not ${blockSize}`);
  if (kvCacheDtype.startsWith('fp8')) {
    refuse(
      'kv-cache-dtype',
      `--kv-cache-dtype ${kvCacheDtype} is refused: there are no kernels for it, and CPUs have no arithmetic for fp8; int8 takes as little memory there`,
    );
  }
  if (!['auto', 'bfloat16', 'int8'].includes(kvCacheDtype)) {
    refuse('kv-cache-dtype', `--kv-cache-dtype must be auto, bfloat16 or int8, not '${kvCacheDtype}'`);
  }
  if (maxNumBatchedTokens !== null && maxNumBatchedTokens < maxNumSeqs) {
    const message = `--max-num-batched-tokens ${maxNumBatchedTokens} is less than --max-num-seqs ${maxNumSeqs}: a step must have room for a token of each`;
    refuse('max-num-batched-tokens', message);
  }
}
