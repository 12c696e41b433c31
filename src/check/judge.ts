/** A verdict for each parameter that the application uses, from its requests as they were answered and from trials. */
import { isObject, type JsonObject } from '../api/json-object.js';
import { isProbed } from './dialect.js';
import type { Exchange } from './exchange.js';
import { probe } from './probes.js';
import type { Asker, Replayed } from './replay.js';
import { type Finding, Trial, unknown } from './trial.js';

export interface ParameterResult extends Finding {
  /** "chat.temperature" */
  readonly name: string;
  /** Requests that have it. */
  readonly numRequests: number;
  /** Of the server, or the record, that it is held against. */
  readonly elsewhere: Finding | null;
  readonly isDifference: boolean;
}

export interface JudgeSettings {
  /** Send further requests, which show whether parameters have an effect. */
  readonly probes: boolean;
  /** Names of findings that are known and no differences. */
  readonly accepted: readonly string[];
  readonly onProgress: (text: string) => void;
}

/** `other`: the server that it is held against, if one is. Throws NoAnswer. */
export async function judgeParameters(
  sent: readonly Replayed[],
  { probes, accepted, onProgress }: JudgeSettings,
  asker: Asker,
  other: Asker | null,
): Promise<ParameterResult[]> {
  const results: ParameterResult[] = [];
  const trials = new Trials(asker, probes);
  const otherTrials = other === null ? null : new Trials(other, probes);
  for (const { route, parameter, requests } of usesOf(sent)) {
    const name = `${route}.${parameter}`;
    onProgress(name);
    const refusing = requests.filter(({ refused }) => refused === parameter);
    const found = refusalIn(refusing) ?? shapeFinding(route, parameter, requests, accepted) ?? (await trials.judge(parameter, requests));
    const wasRefused = refusing.length > 0 && refusing.every((each) => each.wasRefused);
    const elsewhere = wasRefused ? refusalIn(refusing) : ((await otherTrials?.judge(parameter, requests)) ?? null);
    const isWrong = found.verdict !== 'honoured' && found.verdict !== 'cannot be told';
    // What is not done elsewhere either, the application does without already.
    const isDifference = isWrong && found.verdict !== elsewhere?.verdict && !accepted.includes(name);
    results.push({ name, ...found, numRequests: requests.length, elsewhere, isDifference });
  }
  return results;
}

interface Use {
  readonly route: string;
  readonly parameter: string;
  readonly requests: Replayed[];
}

function usesOf(sent: readonly Replayed[]): Use[] {
  const uses = new Map<string, Use>();
  for (const replayed of sent) {
    const { route, exchange } = replayed;
    for (const [parameter, value] of Object.entries(isObject(exchange.body) ? exchange.body : {})) {
      if (value === null) continue;
      const name = `${route.name}.${parameter}`;
      if (!uses.has(name)) uses.set(name, { route: route.name, parameter, requests: [] });
      uses.get(name)!.requests.push(replayed);
    }
  }
  return [...uses.values()];
}

const refusalIn = ([first]: readonly Replayed[]): Finding | null =>
  first === undefined ? null : { verdict: 'refused', because: first.outcome?.message ?? '' };

/** Which differences of shape are a parameter's own. */
const shapesOf: Readonly<Record<string, RegExp>> = {
  logprobs: /logprobs/,
  stream: /^stream\.(\[DONE\]|order|data|error|id|created|choices\[\]\.(finish_reason|delta\.role))$/,
  stream_options: /^stream\.usage/,
  tools: /tool_calls/,
};

function shapeFinding(route: string, parameter: string, requests: readonly Replayed[], accepted: readonly string[]): Finding | null {
  const own = shapesOf[parameter];
  const open = requests.flatMap(({ differences }) => differences).filter(({ path }) => !accepted.includes(`${route}:${path}`));
  const found = open.find(({ path }) => own?.test(path));
  return found === undefined ? null : { verdict: 'another shape', because: `${found.path} is ${found.what}` };
}

/** The trials of a server: one for each request that serves as an example. */
class Trials {
  private readonly trials = new Map<Exchange, Trial>();

  constructor(
    private readonly asker: Asker,
    private readonly isOn: boolean,
  ) {}

  /** By the shortest request that has the parameter and was taken. */
  async judge(parameter: string, requests: readonly Replayed[]): Promise<Finding> {
    if (!this.isOn) return unknown('it was not probed');
    const taken = requests.filter(({ outcome }) => outcome?.isFine);
    const [example] = taken.sort((a, b) => lengthOf(a) - lengthOf(b));
    if (example === undefined) return unknown('no request that has it was taken');
    const { exchange, route } = example;
    const { name } = route;
    if (!isProbed(name)) return unknown('requests of this route are not probed');
    const body = exchange.body as JsonObject;
    const trial = this.trials.get(exchange) ?? new Trial(name, body, (changed) => this.asker.outcome(exchange, changed));
    this.trials.set(exchange, trial);
    return probe(trial, parameter, body[parameter]);
  }
}

const lengthOf = ({ exchange }: Replayed) => JSON.stringify(exchange.body).length;
