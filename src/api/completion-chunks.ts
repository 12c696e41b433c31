/** The JSON of completions: chunks of a stream, and the whole. As in `chat-chunks.ts`, a chunk is one string with a ready head. */
import type { CompletionLogprobs } from './logprobs.js';

export interface CompletionEnvelope {
  readonly id: string;
  readonly created: number; // Unix seconds
  readonly model: string;
  readonly fingerprint: string | null;
}

export interface CompletionChoice {
  text: string;
  logprobs: CompletionLogprobs | null;
  finishReason: string | null;
  stopReason: string | number | null;
  tokenIds: number[] | null;
  promptLogprobs: unknown;
  promptTokenIds: number[] | null;
}

/** A piece of one choice's text, its index counted over all prompts. */
export interface CompletionPiece {
  readonly index: number;
  readonly text: string;
  /** JSON each. */
  readonly logprobs: string;
  readonly tokenIds: string;
  readonly promptTokenIds: string;
  readonly finishReason: string | null;
  readonly stopReason: string | number | null;
}

export class CompletionChunks {
  readonly #head: string;
  readonly #fingerprint: string;

  constructor({ id, created, model, fingerprint }: CompletionEnvelope) {
    this.#head = `data: {"id":${JSON.stringify(id)},"object":"text_completion","created":${created},"model":${JSON.stringify(model)},"choices":[`;
    this.#fingerprint = `,"system_fingerprint":${JSON.stringify(fingerprint)}`;
  }

  /** `usage`: JSON, or '' for none. `withFingerprint`: on the chunk that ends a choice, where no usage chunk follows. */
  piece(piece: CompletionPiece, usage: string, withFingerprint: boolean): string {
    const finish =
      piece.finishReason === null
        ? '"finish_reason":null,"stop_reason":null'
        : `"finish_reason":"${piece.finishReason}","stop_reason":${JSON.stringify(piece.stopReason)}`;
    const ids = `"prompt_token_ids":${piece.promptTokenIds},"token_ids":${piece.tokenIds}`;
    const choice = `{"index":${piece.index},"text":${JSON.stringify(piece.text)},"logprobs":${piece.logprobs},${finish},${ids}}]`;
    const fingerprint = withFingerprint && piece.finishReason !== null ? this.#fingerprint : '';
    return `${this.#head}${choice}${usage === '' ? '' : `,"usage":${usage}`}${fingerprint}}\n\n`;
  }

  /** `metrics`: a field, or '' for none. */
  usage(usage: string, metrics: string): string {
    return `${this.#head}],"usage":${usage}${this.#fingerprint}${metrics}}\n\n`;
  }
}

export function wholeCompletion(
  { id, created, model, fingerprint }: CompletionEnvelope,
  choices: readonly CompletionChoice[],
  usage: object,
  metrics: object | null,
): string {
  return JSON.stringify({
    id,
    object: 'text_completion',
    created,
    model,
    choices: choices.map((choice, index) => ({
      index,
      text: choice.text,
      logprobs: choice.logprobs,
      finish_reason: choice.finishReason,
      stop_reason: choice.stopReason,
      token_ids: choice.tokenIds,
      prompt_logprobs: choice.promptLogprobs,
      prompt_token_ids: choice.promptTokenIds,
      routed_experts: null,
    })),
    service_tier: null,
    system_fingerprint: fingerprint,
    usage,
    kv_transfer_params: null,
    ec_transfer_params: null,
    metrics,
  });
}
