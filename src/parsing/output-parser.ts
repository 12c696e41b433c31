/**
 * The text of one choice -> reasoning, content and tool calls, piece by piece. The same for every model: how calls look is `ToolFormat`'s,
 * where reasoning ends `ReasoningFormat`'s. Any cut of a text into pieces gives the same calls, content and reasoning as the whole; no more
 * is held back than what may still be a marker, a call's head (`callHeadLenMax`) or one typed value.
 *
 * Markers of calls are never content. What follows a marker and cannot be a call is content; a call that the end of the text cuts off is
 * a call with the arguments so far, once its name is known, and nothing before. Where a format has no marker, all of that is content.
 */
import { EventList, type ParsedEvent } from './event-list.js';
import { findMarker, Input, nextOf, type Outcome, peek, type Reading, skipSpace } from './input.js';
import { readNamedCall, type ValueRules } from './named-call.js';
import { readObjectCall } from './object-call.js';
import { readPythonCall } from './python-call.js';
import type { ReasoningFormat } from './reasoning-format.js';
import type { ToolFormat } from './tool-format.js';

export interface ParserOptions {
  /** null: calls are not looked for. */
  readonly tools: ToolReading | null;
  /** null: reasoning is not looked for. `begun`: the prompt ends inside of it. */
  readonly reasoning: { readonly format: ReasoningFormat; readonly begun: boolean } | null;
}

export interface ToolReading extends ValueRules {
  readonly format: ToolFormat;
  /** Whether a function was given under this name. */
  readonly isKnown: (name: string) => boolean;
  /**
   * Where a grammar holds calls that the model is free to make: what each run of one call begins with. What begins otherwise was written past the
   * grammar, and is no call. null: no call is, or nothing but calls can come.
   */
  readonly heads: readonly string[] | null;
  /** Nothing but calls can come: a marker that the end of the text cuts off is no content. */
  readonly forced: boolean;
  /** Further calls are dropped. */
  readonly callsMax: number;
  /** The id of the next call. */
  readonly newCallId: () => string;
}

/** Most white space that is held back at the start of the content: where a call follows, there is none. */
const leadingSpaceMax = 64;

/** What stands around the calls of one run besides white space. */
const separator = /[,;[\])}]/;

export class OutputParser {
  readonly #input = new Input();
  readonly #events: EventList;
  readonly #reading: Reading<void>;
  #inReasoning = false;
  #done = false;

  constructor({ tools, reasoning }: ParserOptions) {
    this.#events = new EventList(tools?.callsMax ?? 0, tools?.newCallId ?? (() => ''));
    this.#inReasoning = reasoning?.begun ?? false;
    this.#reading = this.#read(tools, reasoning);
  }

  /** Reasoning has begun and, as far as is known, not ended. */
  get inReasoning(): boolean {
    return this.#inReasoning;
  }

  push(text: string): ParsedEvent[] {
    this.#input.push(text);
    return this.#proceed();
  }

  /** The text is over: what was held back is decided. */
  end(): ParsedEvent[] {
    this.#input.ended = true;
    return this.#proceed();
  }

  #proceed(): ParsedEvent[] {
    if (!this.#done) this.#done = this.#reading.next().done === true;
    return this.#events.take();
  }

  *#read(tools: ToolReading | null, reasoning: ParserOptions['reasoning']): Reading<void> {
    if (reasoning !== null) yield* this.#readReasoning(reasoning.format, reasoning.begun);
    if (tools !== null) yield* this.#readAnswer(tools);
    else yield* this.#copyUntil([], (text) => this.#events.text('content', text));
  }

  *#readReasoning({ begin, end }: ReasoningFormat, begun: boolean): Reading<void> {
    const input = this.#input;
    input.mark();
    yield* skipSpace(input);
    const isMarked = (yield* nextOf(input, [begin])) !== null;
    if (!begun && !isMarked) return input.back();
    input.forget();
    if (isMarked) input.take(begin.length);
    this.#inReasoning = true;
    yield* skipSpace(input);
    const marker = yield* this.#copyUntil([`\n${end}`, end], (text) => this.#events.text('reasoning', text));
    input.take(marker?.length ?? 0);
    this.#inReasoning = false;
    yield* skipSpace(input);
  }

  *#readAnswer(tools: ToolReading): Reading<void> {
    const { opens, closes, bare, calls } = tools.format;
    const input = this.#input;
    let leading: string | null = ''; // white space that nothing came before; null: something did
    const give = (text: string) => {
      const whole = (leading ?? '') + text;
      const waits = leading !== null && whole.trim() === '' && whole.length <= leadingSpaceMax;
      leading = waits ? whole : null;
      if (!waits) this.#events.text('content', whole);
    };
    while (bare === true && (yield* this.#readBareCalls(tools))) leading = null;
    for (;;) {
      const marker = yield* this.#copyUntil([...opens, ...closes], give, tools.forced);
      if (marker === null) break;
      const isPartOfCall = calls.some((shape) => shape.kind === 'named' && shape.begin.startsWith(marker));
      if (!isPartOfCall) input.take(marker.length);
      if (opens.includes(marker) && (yield* this.#readCalls(tools, null))) leading = null;
      else if (isPartOfCall) input.take(marker.length);
      yield* skipSpace(input);
    }
    if (leading !== null) this.#events.text('content', leading);
  }

  /** Calls at the start of an answer or behind others, of known functions. Without one the text is as it was. */
  *#readBareCalls(tools: ToolReading): Reading<boolean> {
    const input = this.#input;
    const { heads } = tools;
    input.mark();
    if (heads === null) yield* skipSpace(input);
    else yield* skipSeparators(input, heads);
    const first = yield* peek(input);
    const begins = heads === null ? first === '{' || first === '[' : (yield* nextOf(input, heads)) !== null;
    input.back();
    return begins && (yield* this.#readCalls(tools, tools.isKnown));
  }

  /**
   * A run of calls, from behind its marker up to what is no call. `isKnown`: null where any name will do. false: there was none, and
   * nothing is taken.
   */
  *#readCalls(tools: ToolReading, isKnown: ToolReading['isKnown'] | null): Reading<boolean> {
    const input = this.#input;
    const markers = [...tools.format.opens, ...tools.format.closes];
    const behindCall = tools.heads === null ? markers : [...markers, ...tools.heads];
    for (let numRead = 0; ; numRead++) {
      if (numRead === 0) input.mark();
      yield* skipSeparators(input, numRead === 0 ? markers : behindCall);
      if (numRead > 0) input.mark();
      if (numRead > 0 && tools.heads !== null) {
        input.forget();
        return true;
      }
      const outcome = yield* this.#readCall(tools, isKnown);
      if (outcome === 'read') continue;
      if (outcome === 'not a call' || isKnown !== null) input.back();
      else input.take(input.available); // what the end of the text cut off
      input.forget();
      return numRead > 0 || (outcome === 'unfinished' && isKnown === null);
    }
  }

  *#readCall(tools: ToolReading, isKnown: ToolReading['isKnown'] | null): Reading<Outcome> {
    const input = this.#input;
    const first = yield* peek(input);
    for (const shape of tools.format.calls) {
      if (shape.kind === 'object') {
        if (first === '{') return yield* readObjectCall(input, shape, isKnown, this.#events);
      } else if (shape.kind === 'python') {
        if (/[A-Za-z_]/.test(first)) return yield* readPythonCall(input, isKnown, this.#events);
      } else if ((yield* nextOf(input, [shape.begin])) !== null && first !== '') {
        return yield* readNamedCall(input, shape, tools, tools.format.closes, this.#events);
      }
    }
    return input.ended ? 'unfinished' : 'not a call';
  }

  /**
   * Gives the text up to the first of `markers`, which is not taken; null: the text ended. `dropsRest`: what may have begun a marker there
   * is dropped.
   */
  *#copyUntil(markers: readonly string[], give: (text: string) => void, dropsRest = false): Reading<string | null> {
    const input = this.#input;
    for (;;) {
      const { before, marker } = findMarker(input.rest, markers);
      if (before > 0) give(input.take(before));
      if (marker !== null) return marker;
      if (input.ended) {
        const rest = input.take(input.available);
        if (rest !== '' && !dropsRest) give(rest);
        return null;
      }
      yield;
    }
  }
}

/** White space and what else stands around the calls of one run; a marker may begin like that. */
function* skipSeparators(input: Input, markers: readonly string[]): Reading<void> {
  for (;;) {
    yield* skipSpace(input);
    if (!separator.test(yield* peek(input)) || (yield* nextOf(input, markers)) !== null) return;
    input.take(1);
  }
}
