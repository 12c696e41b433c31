/** What the readers have found since it was last taken; neighbours of one kind are one event. */
import type { CallSink } from './call-sink.js';

export type ParsedEvent =
  | { readonly type: 'reasoning' | 'content'; readonly text: string }
  /** A call begins: its id and name, once. `index` counts the calls of the choice. */
  | { readonly type: 'call'; readonly index: number; readonly id: string; readonly name: string }
  /** More of the JSON of its arguments. */
  | { readonly type: 'arguments'; readonly index: number; readonly text: string };

export class EventList implements CallSink {
  readonly #callsMax: number;
  readonly #newCallId: () => string;
  #events: ParsedEvent[] = [];
  #numCalls = 0;
  #hasArguments = false;

  /** Calls beyond `callsMax` are dropped. */
  constructor(callsMax: number, newCallId: () => string) {
    this.#callsMax = callsMax;
    this.#newCallId = newCallId;
  }

  text(type: 'reasoning' | 'content', text: string): void {
    if (text === '') return;
    const last = this.#events.at(-1);
    if (last?.type === type) this.#events[this.#events.length - 1] = { type, text: last.text + text };
    else this.#events.push({ type, text });
  }

  begin(name: string): void {
    this.#numCalls++;
    this.#hasArguments = false;
    if (this.#numCalls > this.#callsMax) return;
    this.#events.push({ type: 'call', index: this.#numCalls - 1, id: this.#newCallId(), name });
  }

  arguments(text: string): void {
    this.#hasArguments = true;
    if (this.#numCalls > this.#callsMax) return;
    const index = this.#numCalls - 1;
    const last = this.#events.at(-1);
    if (last?.type === 'arguments') this.#events[this.#events.length - 1] = { type: 'arguments', index, text: last.text + text };
    else this.#events.push({ type: 'arguments', index, text });
  }

  complete(): void {
    if (!this.#hasArguments) this.arguments('{}');
  }

  take(): ParsedEvent[] {
    const events = this.#events;
    if (events.length > 0) this.#events = [];
    return events;
  }
}
