/** Each recorded request sent again: which parameters are refused, and where answers have another shape than they should. */
import { isObject, type JsonObject } from '../api/json-object.js';
import { NoAnswer, type Request, send, type Target } from './client.js';
import { endingDifferences } from './endings.js';
import type { Answer, Exchange } from './exchange.js';
import { errorAnswer } from './openai-answers.js';
import { noOutcome, type Outcome, outcomeOf } from './outcome.js';
import type { CheckedRoute } from './routes.js';
import { type Difference, differencesFrom, documentedDifferences } from './shape.js';
import { documentedStreamDifferences, streamDifferencesFrom } from './streams.js';

/** What answers are held against: OpenAI's documentation, the recorded answers, or another server's. */
export type Reference = "OpenAI's documentation" | 'the record' | Target;

export interface Replayed {
  readonly exchange: Exchange;
  readonly route: CheckedRoute;
  /** null: none came. */
  readonly outcome: Outcome | null;
  readonly differences: readonly Difference[];
  /** The parameter without which the request is taken; null: it is taken, or refused whatever is left out. */
  readonly refused: string | null;
  /** The request was refused by whom it is held against, too. */
  readonly wasRefused: boolean;
}

const sentHeaders = /^(accept|content-type|anthropic-|openai-)/;
/** Two in a row may be a fault of the moment; after so many the server is taken for gone. */
const failuresMax = 3;

/** Asks one server, and knows when it is gone. */
export class Asker {
  private numFailed = 0;
  private hasAnswered = false;

  constructor(readonly target: Target) {}

  /** null: no answer, which may be this request's fault. Throws NoAnswer when the server has none for any. */
  async answer(request: Request): Promise<Answer | null> {
    try {
      const answer = await send(this.target, request);
      this.numFailed = 0;
      this.hasAnswered = true;
      return answer;
    } catch (error) {
      if (!(error instanceof NoAnswer) || ++this.numFailed >= failuresMax || !this.hasAnswered) throw error;
      return null;
    }
  }

  /** Of a request of JSON as the exchange had it, with another body. Throws NoAnswer when the server is gone. */
  async outcome(exchange: Exchange, body: JsonObject): Promise<Outcome> {
    const answer = await this.answer(requestOf(exchange, this.target, body));
    return answer === null ? noOutcome() : outcomeOf(answer);
  }
}

export function requestOf({ method, path, headers, text, body }: Exchange, { model }: Target, changed: unknown = body): Request {
  const isRecordedModel = isObject(changed) && isObject(body) && changed['model'] === body['model'];
  const named = isRecordedModel && model !== null ? { ...changed, model } : changed;
  return {
    method,
    path,
    headers: Object.fromEntries(Object.entries(headers).filter(([name]) => sentHeaders.test(name))),
    content: named === undefined ? (text ?? null) : JSON.stringify(named),
  };
}

/** Throws NoAnswer when a server is gone. */
export async function replay(
  exchange: Exchange,
  route: CheckedRoute,
  asker: Asker,
  reference: Reference,
  other: Asker | null,
): Promise<Replayed> {
  const expected = await expectedAnswer(exchange, other);
  const wasRefused = expected !== null && expected.status >= 400;
  const answer = await asker.answer(requestOf(exchange, asker.target));
  if (answer === null)
    return { exchange, route, outcome: null, differences: [{ path: 'answer', what: 'none' }], refused: null, wasRefused };
  const outcome = outcomeOf(answer);
  const refused = outcome.isRefused ? await refusedParameter(exchange, outcome, asker) : null;
  const differences = [
    ...(refused === null ? statusDifferences(outcome, expected) : []),
    ...(reference === "OpenAI's documentation"
      ? fromDocumentation(answer, route, exchange.body)
      : expected === null
        ? []
        : fromAnswer(expected, answer)),
  ];
  return { exchange, route, outcome, differences, refused, wasRefused };
}

/** null: none is known. One that says that a server was too busy or broken tells nothing. */
async function expectedAnswer(exchange: Exchange, other: Asker | null): Promise<Answer | null> {
  const answer = other === null ? exchange.response : await other.answer(requestOf(exchange, other.target));
  const tellsNothing = answer === null || !answer.isWhole || answer.status === 429 || answer.status >= 500;
  return tellsNothing ? null : answer;
}

function statusDifferences({ status, isFine, message }: Outcome, expected: Answer | null): Difference[] {
  const isExpected = expected === null ? isFine : isFine ? expected.status < 400 : status === expected.status;
  if (isExpected) return [];
  const elsewhere = expected === null ? '' : `, where it was ${expected.status}`;
  return [{ path: 'status', what: `${status}${elsewhere}${message === '' ? '' : `: ${message}`}` }];
}

function fromDocumentation(answer: Answer, route: CheckedRoute, body: unknown): Difference[] {
  if (answer.status >= 400) return documentedDifferences(errorAnswer, answer.body ?? answer.text ?? null);
  const asked = isObject(body) ? body : {};
  if (answer.events !== undefined && route.chunk !== null) {
    const options = asked['stream_options'];
    const rules = {
      chunk: route.chunk,
      asksUsage: isObject(options) && options['include_usage'] === true,
      hasRole: route.name === 'chat',
    };
    return documentedStreamDifferences(answer.events, rules).map(inStream);
  }
  return route.answer === null ? [] : documentedDifferences(route.answer, answer.body ?? null);
}

function fromAnswer(expected: Answer, answer: Answer): Difference[] {
  if (expected.status >= 400 !== answer.status >= 400) return []; // said by the status
  const endings = endingDifferences(expected, answer);
  if (expected.events !== undefined && answer.events !== undefined) {
    return [...streamDifferencesFrom(expected.events, answer.events), ...endings].map(inStream);
  }
  const [wanted, found] = [formOf(expected), formOf(answer)];
  if (wanted !== found) return [{ path: 'form', what: `${found}, where ${wanted} is` }];
  return [...differencesFrom(expected.body, answer.body), ...endings];
}

const inStream = ({ path, what }: Difference): Difference => ({ path: `stream.${path}`, what });
const formOf = ({ events, body }: Answer) => (events !== undefined ? 'a stream' : body !== undefined ? 'JSON' : 'no JSON');

/** The one without which the request is taken: first those that the error names, in its field or its text. */
async function refusedParameter(exchange: Exchange, { param, message }: Outcome, asker: Asker): Promise<string | null> {
  const { body } = exchange;
  if (!isObject(body)) return null;
  const named = param?.replace(/^body\./, '').split(/[.[]/)[0];
  const rank = (name: string) => (name === named ? 0 : message.includes(name) ? 1 : 2);
  const names = Object.keys(body).filter((name) => !questionNames.has(name));
  for (const name of names.sort((a, b) => rank(a) - rank(b))) {
    const { [name]: _, ...rest } = body;
    if ((await asker.outcome(exchange, rest)).isFine) return name;
  }
  return named !== undefined && Object.hasOwn(body, named) ? named : null;
}

/** Without these there is nothing to answer. */
const questionNames: ReadonlySet<string> = new Set(['messages', 'prompt', 'input']);
