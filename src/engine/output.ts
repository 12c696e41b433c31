/**
 * New ids -> text, on the API's thread: detokenises each choice, finds stop strings, says how a choice ended. The engine's thread sees no
 * text; what is made of the deltas is the API's.
 */

import type { LockstepError } from '../errors.js';
import type { RepetitionRule, StopRule } from '../sampling/params.js';
import { createDetokenizer, type DetokenizerOptions } from '../tokenizer/detokenizer.js';
import type { DecodeStream, Tokenizer } from '../tokenizer/tokenizer.js';
import type { EngineClient, RequestEvents } from './client.js';
import { endsInCircles } from './repetition.js';
import type { ChoiceEnd, ChoiceTokens, FinishReason, GenerationRequest, PromptFacts, TokenLogprobs } from './request.js';

/** What a step made of one choice. Text may be empty: held back for a stop string or an incomplete character. */
export interface TextDelta {
  readonly choice: number;
  readonly text: string;
  readonly ids: readonly number[];
  /** One for each id, when asked for. */
  readonly logprobs: readonly TokenLogprobs[] | null;
  /** With the last delta of a choice. */
  readonly finishReason: FinishReason | null;
  /** The stop string or the stop token id that ended it. */
  readonly stopReason: string | number | null;
  /** With 'error'. */
  readonly error: LockstepError | null;
}

/** In order: `prompt` once, `delta` for each choice until one has a `finishReason`, `closed` once, always last. */
export interface TextEvents {
  prompt(facts: PromptFacts): void;
  delta(delta: TextDelta): void;
  closed(): void;
  /** See `RequestEvents`. */
  warm?(): number;
}

const noIds: readonly number[] = [];
/** A character has at most 4 bytes, so these are enough for one that the prompt began. */
const promptTailLen = 4;

/** Submits the request. Throws `queue_full` or `not_ready`; otherwise events follow, never inside the call. */
export function generate(
  client: Pick<EngineClient, 'submit' | 'finishChoice'>,
  tokenizer: Tokenizer,
  request: GenerationRequest,
  options: Pick<DetokenizerOptions, 'skipSpecialTokens' | 'keepTokens'>,
  events: TextEvents,
): void {
  const promptTail = request.promptTokens.slice(-promptTailLen);
  const detokenizer = () => createDetokenizer(tokenizer, { ...options, promptTail });
  const choices = Array.from({ length: request.sampling.n }, () => new ChoiceText(detokenizer(), request.stop));
  client.submit(request, new TextRequest(client, request.id, choices, events));
}

/**
 * Tokens of a request to deltas of its text. An object with fields, like all that tokens pass through: with thousands of streams each of them
 * is read from memory for every token, and closures would be three times as many (object, function, what it closes over).
 */
class TextRequest implements RequestEvents {
  readonly #client: Pick<EngineClient, 'finishChoice'>;
  readonly #id: string;
  readonly #choices: readonly ChoiceText[];
  readonly #events: TextEvents;

  constructor(client: Pick<EngineClient, 'finishChoice'>, id: string, choices: readonly ChoiceText[], events: TextEvents) {
    this.#client = client;
    this.#id = id;
    this.#choices = choices;
    this.#events = events;
  }

  prompt(facts: PromptFacts): void {
    this.#events.prompt(facts);
  }

  tokens(tokens: ChoiceTokens): void {
    const choice = this.#choices[tokens.choice]!;
    if (choice.ended) return;
    const delta = choice.push(tokens);
    if (delta === null) return; // its end follows, and joins it
    this.#events.delta(delta);
    if (delta.finishReason !== null) this.#client.finishChoice(this.#id, tokens.choice);
  }

  warm(): number {
    return this.#choices[0]!.warm() + (this.#events.warm?.() ?? 0);
  }

  end(end: ChoiceEnd): void {
    const choice = this.#choices[end.choice]!;
    if (!choice.ended) this.#events.delta(choice.end(end));
  }

  closed(): void {
    this.#events.closed();
  }
}

/** The text of one choice, up to its end. */
class ChoiceText {
  ended = false;
  readonly #detokenizer: DecodeStream;
  // What is looked at for every token, of the rule, whose hidden class may be another one in each request.
  readonly #endIds: readonly number[];
  readonly #stopStrings: readonly string[];
  readonly #includeStopString: boolean;
  readonly #repetition: RepetitionRule | null;
  readonly #minTokens: number;
  readonly #maxTokens: number;
  readonly #holdLen: number;
  #held = ''; // the end of the text so far, which may begin a stop string
  #numTokens = 0;
  /** Kept only where they are looked at: with `StopRule.repetition`. */
  readonly #ids: number[] = [];
  /** The tokens that came with the end, or with it at their back. */
  #last: ChoiceTokens | null = null;
  #lastText = '';

  constructor(detokenizer: DecodeStream, stop: StopRule) {
    this.#detokenizer = detokenizer;
    this.#endIds = stop.ignoreEos ? stop.stopTokenIds : [...stop.stopTokenIds, ...stop.eosTokenIds];
    this.#stopStrings = stop.stopStrings;
    this.#includeStopString = stop.includeStopString;
    this.#repetition = stop.repetition ?? null;
    this.#minTokens = stop.minTokens;
    this.#maxTokens = stop.maxTokens;
    this.#holdLen = Math.max(0, ...stop.stopStrings.map((text) => text.length - 1));
  }

  warm(): number {
    return this.#numTokens + this.#endIds.length + this.#stopStrings.length + (this.#detokenizer.warm?.() ?? 0);
  }

  /**
   * null: the choice ends with these tokens, and `end` gives the delta. A step may bring several: they are looked at one by one, so that
   * a choice has the same text and tokens however they came.
   */
  push(tokens: ChoiceTokens): TextDelta | null {
    const { ids } = tokens;
    let out = '';
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      this.#numTokens++;
      const isTerminator = this.#isTerminator(id);
      // A token that ends the choice gives no text, unless it is asked for.
      const text = isTerminator && !this.#includeStopString ? '' : this.#detokenizer.push(id);
      const found = this.#findStop(text);
      if (found !== null) {
        this.ended = true;
        return this.#delta(firstOf(tokens, i + 1), out + found.text, 'stop', found.stop);
      }
      this.#held += text;
      if (i === ids.length - 1 && (isTerminator || this.#numTokens >= this.#maxTokens)) {
        this.#last = tokens;
        this.#lastText = out + this.#held;
        return null;
      }
      if (this.#goesRound(id)) {
        this.ended = true;
        return this.#delta(firstOf(tokens, i + 1), out + this.#held + this.#detokenizer.flush(), 'repetition', 'repetition_detected');
      }
      const ready = this.#held.length - this.#holdLen;
      if (ready <= 0) continue;
      out += this.#held.slice(0, ready);
      this.#held = this.#held.slice(ready);
    }
    return this.#delta(tokens, out, null, null);
  }

  end({ choice, finishReason, stopTokenId, error }: ChoiceEnd): TextDelta {
    this.ended = true;
    const tokens = this.#last ?? { choice, ids: noIds, logprobs: null };
    const rest = this.#detokenizer.flush();
    const text = (this.#last === null ? this.#held : this.#lastText) + rest;
    const found = rest === '' ? null : findFirst(text, this.#stopStrings);
    if (found !== null) return this.#delta(tokens, this.#upTo(text, found), 'stop', found.stop);
    return { ...this.#delta(tokens, text, finishReason, stopTokenId), error };
  }

  #delta(
    { choice, ids, logprobs }: ChoiceTokens,
    text: string,
    finishReason: FinishReason | null,
    stopReason: string | number | null,
  ): TextDelta {
    return { choice, text, ids, logprobs, finishReason, stopReason, error: null };
  }

  /** Ids before `minTokens` count as parts of a pattern, but end nothing. */
  #goesRound(id: number): boolean {
    if (this.#repetition === null) return false;
    this.#ids.push(id);
    return this.#numTokens >= this.#minTokens && endsInCircles(this.#ids, this.#repetition);
  }

  #isTerminator(id: number): boolean {
    return this.#numTokens > this.#minTokens && this.#endIds.includes(id);
  }

  /** The first stop string in what is held and what is new: the text up to it (or with it), and which it was. */
  #findStop(text: string): { text: string; stop: string } | null {
    if (this.#stopStrings.length === 0 || text === '') return null;
    if (this.#minTokens > 0 && this.#numTokens <= this.#minTokens) return null;
    const whole = this.#held + text;
    const found = findFirst(whole, this.#stopStrings);
    return found === null ? null : { text: this.#upTo(whole, found), stop: found.stop };
  }

  #upTo(text: string, { at, stop }: { at: number; stop: string }): string {
    return text.slice(0, this.#includeStopString ? at + stop.length : at);
  }
}

function firstOf({ choice, ids, logprobs }: ChoiceTokens, count: number): ChoiceTokens {
  return { choice, ids: ids.slice(0, count), logprobs: logprobs?.slice(0, count) ?? null };
}

function findFirst(text: string, stops: readonly string[]): { at: number; stop: string } | null {
  let first: { at: number; stop: string } | null = null;
  for (const stop of stops) {
    const at = text.indexOf(stop);
    if (at >= 0 && (first === null || at < first.at)) first = { at, stop };
  }
  return first;
}
