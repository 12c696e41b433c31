/** Recorded requests -> what of them a server honours, refuses, ignores or answers in another shape. */
import { startError } from '../errors.js';
import { NoAnswer, type Target } from './client.js';
import type { Exchange } from './exchange.js';
import { type JudgeSettings, judgeParameters, type ParameterResult } from './judge.js';
import { Asker, type Reference, type Replayed, replay } from './replay.js';
import { routeOf } from './routes.js';

export interface CheckSettings extends JudgeSettings {
  readonly exchanges: readonly Exchange[];
  readonly target: Target;
  readonly reference: Reference;
}

export interface ShapeResult {
  /** "chat:choices[].message.annotations" */
  readonly name: string;
  readonly what: string;
  readonly numRequests: number;
  readonly isDifference: boolean;
}

export interface CheckReport {
  readonly numSent: number;
  /** "DELETE /v1/files/x" -> how many were not sent again. */
  readonly notSent: ReadonlyMap<string, number>;
  readonly parameters: readonly ParameterResult[];
  readonly shapes: readonly ShapeResult[];
  readonly numDifferences: number;
}

/** Throws LockstepError `start` where it cannot be done: no request, no server, a key that is refused. */
export async function check(settings: CheckSettings): Promise<CheckReport> {
  const { reference } = settings;
  const asker = new Asker(settings.target);
  const other = typeof reference === 'string' ? null : new Asker(reference);
  const sent: Replayed[] = [];
  const notSent = new Map<string, number>();
  try {
    for (const [i, exchange] of settings.exchanges.entries()) {
      settings.onProgress(`request ${i + 1} of ${settings.exchanges.length}`);
      const route = routeOf(exchange);
      const call = `${exchange.method} ${exchange.path}`;
      if (route === null || exchange.bytesLeftOut !== undefined) notSent.set(call, (notSent.get(call) ?? 0) + 1);
      else sent.push(await replay(exchange, route, asker, reference, other));
    }
    refuseUseless(sent, settings);
    const parameters = await judgeParameters(sent, settings, asker, other);
    const shapes = shapeResults(sent, settings.accepted);
    // Another shape stands in both lists.
    const counted = [...parameters.filter(({ verdict }) => verdict !== 'another shape'), ...shapes];
    const numDifferences = counted.filter(({ isDifference }) => isDifference).length;
    return { numSent: sent.length, notSent, parameters, shapes, numDifferences };
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    const servers = [asker, ...(other === null ? [] : [other])].map(({ target }) => target.base.href).join(' or ');
    throw startError(`${servers} does not answer, after ${sent.length} requests: ${error.message}`, { cause: error });
  }
}

function refuseUseless(sent: readonly Replayed[], { target }: CheckSettings): void {
  if (sent.length === 0) throw startError('the file has no request that can be sent again');
  const isLockedOut = sent.every(({ outcome }) => outcome?.status === 401 || outcome?.status === 403);
  if (isLockedOut)
    throw startError(`${target.base.href} refuses every request, for want of a key: ${sent[0]?.outcome?.message} (--api-key)`);
}

function shapeResults(sent: readonly Replayed[], accepted: readonly string[]): ShapeResult[] {
  const results = new Map<string, ShapeResult>();
  for (const { route, differences } of sent) {
    for (const { path, what } of differences) {
      const name = `${route.name}:${path}`;
      const key = `${name} ${what}`;
      results.set(key, { name, what, numRequests: (results.get(key)?.numRequests ?? 0) + 1, isDifference: !accepted.includes(name) });
    }
  }
  return [...results.values()];
}
