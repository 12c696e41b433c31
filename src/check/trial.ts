/** A server and a short request of the application's, which is sent again with other parameters. */
import type { JsonObject } from '../api/json-object.js';
import { type Outcome, saidIn } from './outcome.js';

export type Route = 'chat' | 'completions';
export type Verdict = 'honoured' | 'refused' | 'ignored' | 'another shape' | 'cannot be told';

export interface Finding {
  readonly verdict: Verdict;
  /** What was seen. */
  readonly because: string;
}

export const honoured = (because: string): Finding => ({ verdict: 'honoured', because });
export const ignored = (because: string): Finding => ({ verdict: 'ignored', because });
export const unknown = (because: string): Finding => ({ verdict: 'cannot be told', because });

/** What would have shown it had no answer, with the values that the probe gave. */
export const refusal = ({ message }: Outcome): Finding => unknown(`what would show it is not answered: ${message}`);

/** `value`: one that the application gives. Throws NoAnswer. */
export type Probe = (trial: Trial, value: unknown) => Promise<Finding>;

/** Of an answer to a trial, where the application asks for no less. */
const tokensMax = 16;
/** So hot that two answers are the same by no chance, unless nothing is drawn. */
export const hot = { temperature: 2 };
export const hotTries = 3;

export class Trial {
  private readonly answers = new Map<string, Promise<Outcome>>();
  private again: Promise<Outcome> | null = null;
  /** max_tokens, or max_completion_tokens where the application says that. */
  readonly limitName: string;
  private readonly base: JsonObject;

  /** `body`: a recorded request that the server takes. */
  constructor(
    readonly route: Route,
    readonly body: JsonObject,
    private readonly send: (body: JsonObject) => Promise<Outcome>,
  ) {
    this.limitName = 'max_completion_tokens' in body ? 'max_completion_tokens' : 'max_tokens';
    const asked = body[this.limitName];
    const limit = typeof asked === 'number' ? Math.min(Math.max(asked, 1), tokensMax) : tokensMax;
    const question = route === 'chat' ? { messages: body['messages'] } : { prompt: body['prompt'] };
    const model = body['model'] === undefined ? {} : { model: body['model'] };
    this.base = { ...model, ...question, temperature: 0, [this.limitName]: limit };
  }

  /** The bare request with these parameters; undefined leaves one out. The same request is sent once. */
  ask(changes: JsonObject = {}): Promise<Outcome> {
    const text = JSON.stringify({ ...this.base, ...changes });
    let answer = this.answers.get(text);
    if (answer === undefined) {
      answer = this.send(JSON.parse(text) as JsonObject);
      this.answers.set(text, answer);
    }
    return answer;
  }

  /** Sent anew. */
  askAgain(changes: JsonObject = {}): Promise<Outcome> {
    return this.send(JSON.parse(JSON.stringify({ ...this.base, ...changes })) as JsonObject);
  }

  /** What the bare request gives at temperature 0; a finding where the server does not say the same twice. */
  async greedy(): Promise<Outcome | Finding> {
    const first = await this.ask();
    if (!first.isFine) return unknown(`without its parameters the request is refused: ${first.message}`);
    this.again ??= this.askAgain();
    const second = await this.again;
    if (saidIn(first) !== saidIn(second)) return unknown('the same request at temperature 0 has two answers');
    return first;
  }

  /** Whether a value of a wrong type is refused where the field is known to everybody. */
  async checksTypes(): Promise<boolean> {
    return (await this.ask({ temperature: {} })).isRefused;
  }
}

export const isFinding = (value: Outcome | Finding): value is Finding => 'verdict' in value;
