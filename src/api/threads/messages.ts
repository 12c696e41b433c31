/**
 * What crosses between an API thread and the home thread, the one that keeps what there can be only one of: the responses, and the threads that read
 * long prompts and compile grammars. Plain data. Tokens do not pass here, but for those of responses that are made in the background.
 */
import type { ChatMessage } from '../../chat/template.js';
import { type ErrorCode, LockstepError } from '../../errors.js';
import type { CompiledGrammar } from '../../grammar/compiled.js';
import type { GrammarSpec } from '../../grammar/spec.js';
import type { PoolTask, PreparedPrompt } from '../prepare.js';
import type { KeptResponse } from '../responses/store.js';

/** What has one answer: its argument, and what it is answered with. */
export interface Calls {
  readonly prepare: [task: PoolTask, answer: PreparedPrompt];
  readonly compile: [spec: GrammarSpec, answer: CompiledGrammar];
  readonly messagesOf: [id: string, answer: readonly ChatMessage[]];
  /** A response is to be made in the background: its maker's number. */
  readonly begin: [maker: number, answer: null];
}
export type CallName = keyof Calls;

/** An exchange about a response that is kept. */
export interface KeptExchange {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  /** Of the path, behind /v1/responses/. */
  readonly rest: string;
}

export type ToHome =
  | {
      readonly [N in CallName]: { readonly kind: 'call'; readonly number: number; readonly name: N; readonly argument: Calls[N][0] };
    }[CallName]
  /** `maker`: null: it was made while its client waited. */
  | { readonly kind: 'keep'; readonly response: KeptResponse; readonly maker: number | null }
  | { readonly kind: 'told'; readonly maker: number; readonly events: string }
  | { readonly kind: 'over'; readonly maker: number }
  | { readonly kind: 'discard'; readonly id: string }
  | { readonly kind: 'ask'; readonly number: number; readonly exchange: KeptExchange }
  /** The client of an exchange has gone. */
  | { readonly kind: 'gone'; readonly number: number };

export type FromHome =
  | { readonly kind: 'answer'; readonly number: number; readonly value: Calls[CallName][1] }
  | { readonly kind: 'refusal'; readonly number: number; readonly error: ErrorParts }
  /** Nobody wants what the maker makes. */
  | { readonly kind: 'abort'; readonly maker: number }
  | { readonly kind: 'reply'; readonly number: number; readonly reply: WholeReply }
  | { readonly kind: 'events'; readonly number: number; readonly contentType: string; readonly events: string; readonly isLast: boolean };

export interface WholeReply {
  readonly status: number;
  readonly contentType: string | null;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string | Uint8Array;
}

/** An error as it crosses. */
export interface ErrorParts {
  readonly code: ErrorCode;
  readonly message: string;
  readonly param: string | null;
  readonly retryAfterSeconds: number | null;
}

export const partsOf = ({ code, message, param, retryAfterSeconds }: LockstepError): ErrorParts => ({
  code,
  message,
  param,
  retryAfterSeconds,
});

export function errorOf({ code, message, param, retryAfterSeconds }: ErrorParts): LockstepError {
  return new LockstepError(code, message, { ...(param !== null && { param }), ...(retryAfterSeconds !== null && { retryAfterSeconds }) });
}
