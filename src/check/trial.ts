/** A server and a short request of the application's, which is sent again with other parameters. */
import type { JsonObject } from '../api/json-object.js';
import { type Dialect, dialectOf, type Route } from './dialect.js';
import { type Outcome, saidIn } from './outcome.js';

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

/** Of an answer to a trial, where the application asks for no less: few of them may leave nothing to draw. */
const tokensMax = 16;
/** From here on what is drawn differs for sure, where more than one answer can be given. */
const tellingTemperature = 2;
export const hotTries = 3;

/** A question with answers beyond number; the application's own may have but one. */
const story = 'Tell me a story of a town that is on no map.';

/** A question whose answer depends on what is drawn. */
export interface Lively {
  readonly question: JsonObject;
  /** What is said to it at temperature 0. */
  readonly cold: string;
}

export class Trial {
  private readonly answers = new Map<string, Promise<Outcome>>();
  private readonly secondAnswers = new Map<string, Promise<Outcome>>();
  private found: Promise<Lively | Finding> | null = null;
  /** The field that bounds an answer, under the name that the application says; '' where answers have no length. */
  readonly limitName: string;
  readonly limitMin: number;
  /** So hot that what is drawn differs. */
  readonly hot: { readonly temperature: number };
  private readonly dialect: Dialect;
  private readonly base: JsonObject;

  /** `body`: a recorded request that the server takes. */
  constructor(
    readonly route: Route,
    readonly body: JsonObject,
    private readonly send: (body: JsonObject) => Promise<Outcome>,
  ) {
    this.dialect = dialectOf(route);
    const { limits, limitMin, question, kept, cold, hottest } = this.dialect;
    this.limitName = limits.find((name) => name in body) ?? limits.at(-1) ?? '';
    this.limitMin = limitMin;
    this.hot = { temperature: hottest };
    const of = (names: readonly string[]) => Object.fromEntries(names.filter((name) => name in body).map((name) => [name, body[name]]));
    this.base = { ...of(kept), ...of([question]), ...cold, ...this.limited(body[this.limitName]) };
  }

  private limited(asked: unknown): JsonObject {
    if (this.limitName === '') return {};
    return { [this.limitName]: typeof asked === 'number' ? Math.min(Math.max(asked, this.limitMin), tokensMax) : tokensMax };
  }

  /** A question in place of the application's. */
  asking(text: string): JsonObject {
    return { [this.dialect.question]: this.dialect.asked(text) };
  }

  /** The field that the API's documents call so. */
  field(name: string) {
    return this.dialect.body.fields.get(name);
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

  /** What the request gives at temperature 0; a finding where the server does not say the same twice. */
  async greedy(changes: JsonObject = {}): Promise<Outcome | Finding> {
    const first = await this.ask(changes);
    if (!first.isFine) return unknown(`without its parameters the request is refused: ${first.message}`);
    const key = JSON.stringify(changes);
    if (!this.secondAnswers.has(key)) this.secondAnswers.set(key, this.askAgain(changes));
    const second = await this.secondAnswers.get(key)!;
    return saidIn(first) === saidIn(second)
      ? first
      : unknown(`the same request${'temperature' in this.base ? ' at temperature 0' : ''} has two answers`);
  }

  /** The application's question or, where that has one answer only, a story; `ignored` where that too has the same however hot it is. */
  lively(): Promise<Lively | Finding> {
    this.found ??= this.findLively();
    return this.found;
  }

  private async findLively(): Promise<Lively | Finding> {
    for (const question of [{}, { ...this.asking(story), ...this.limited(tokensMax) }]) {
      const outcome = await this.greedy(question);
      if (isFinding(outcome)) return outcome;
      const cold = saidIn(outcome);
      const warm = await this.several({ ...question, ...this.hot });
      if (isFinding(warm)) return warm;
      if (warm.some((each) => each !== cold)) return { question, cold };
    }
    const same = `${hotTries} requests at temperature ${this.hot.temperature} have the answer of temperature 0, for a story too`;
    return this.hot.temperature < tellingTemperature ? unknown(same) : ignored(same);
  }

  /** What is said to requests that are sent anew; a finding where one is not answered. */
  async several(changes: JsonObject): Promise<readonly string[] | Finding> {
    const said: string[] = [];
    for (let i = 0; i < hotTries; i++) {
      const outcome = await this.askAgain(changes);
      if (!outcome.isFine) return refusal(outcome);
      said.push(saidIn(outcome));
    }
    return said;
  }

  /** Whether a value of a wrong type is refused where the field is known to everybody. */
  async checksTypes(): Promise<boolean> {
    return (await this.ask({ [this.dialect.typed]: {} })).isRefused;
  }
}

export const isFinding = (value: object): value is Finding => 'verdict' in value;
