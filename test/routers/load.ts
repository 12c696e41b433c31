/** Clients that ask without a pause, streams and whole answers in turn, and what became of each request. */
import { setTimeout as delay } from 'node:timers/promises';
import type OpenAI from 'openai';

const numClients = 12;
/** An answer takes long enough to be interrupted. */
const numTokens = 900;
/** Every third request is not streamed. */
const wholeEvery = 3;
/** Between a failure and the next request of that client. */
const pauseMs = 50;

/** whole: it has ended as it should, with the text that it must have. cut: the client was told of no error, and the answer is not whole. */
type End = 'whole' | 'cut' | 'error';

export interface Outcome {
  readonly isStream: boolean;
  /** The client has had the status and the headers of a stream. */
  readonly isBegun: boolean;
  readonly end: End;
  readonly error: string;
  /** What `Load.phase` was when it ended. */
  readonly phase: string;
}

export class Load {
  /** What goes on: noted with each outcome. */
  phase = 'at first';
  readonly outcomes: Outcome[] = [];
  readonly #client: OpenAI;
  readonly #model: string;
  #expected = '';
  #isOver = false;
  #clients: Promise<void>[] = [];

  /** The client must not try again by itself. */
  constructor(client: OpenAI, model: string) {
    this.#client = client;
    this.#model = model;
  }

  async start(): Promise<void> {
    const { choices } = await this.#client.chat.completions.create(this.#request);
    this.#expected = choices[0]!.message.content!;
    this.#clients = Array.from({ length: numClients }, (_, i) => this.#ask(i));
  }

  /** Nothing new; what runs goes on to its end. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#clients);
  }

  get #request() {
    const messages = [{ role: 'user', content: 'What is Lockstep?' } as const];
    return { model: this.#model, messages, temperature: 0, max_tokens: numTokens, ...{ ignore_eos: true } };
  }

  async #ask(first: number): Promise<void> {
    for (let i = first; !this.#isOver; i++) {
      const outcome = i % wholeEvery === 0 ? await this.#whole() : await this.#stream();
      this.outcomes.push(outcome);
      if (outcome.end !== 'whole') await delay(pauseMs);
    }
  }

  async #whole(): Promise<Outcome> {
    const outcome = (end: End, error = ''): Outcome => ({ isStream: false, isBegun: false, end, error, phase: this.phase });
    try {
      const { choices } = await this.#client.chat.completions.create(this.#request);
      return outcome(this.#isWhole(choices[0]?.message.content ?? '', choices[0]?.finish_reason ?? null));
    } catch (error) {
      return outcome('error', String(error));
    }
  }

  async #stream(): Promise<Outcome> {
    let isBegun = false;
    const outcome = (end: End, error = ''): Outcome => ({ isStream: true, isBegun, end, error, phase: this.phase });
    try {
      const events = await this.#client.chat.completions.create({ ...this.#request, stream: true });
      isBegun = true;
      let text = '';
      let reason: string | null = null;
      for await (const { choices } of events) {
        text += choices[0]?.delta.content ?? '';
        reason ??= choices[0]?.finish_reason ?? null;
      }
      return outcome(this.#isWhole(text, reason));
    } catch (error) {
      return outcome('error', String(error));
    }
  }

  #isWhole(text: string, reason: string | null): 'whole' | 'cut' {
    return reason === 'length' && text === this.#expected ? 'whole' : 'cut';
  }
}
