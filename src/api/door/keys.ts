/** Who calls: API keys, their names and their shares. Which routes ask for a key is the route table's. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { startError } from '../../errors.js';
import type { Exchange } from '../exchange.js';
import { anybody, type Caller } from './caller.js';

export interface ApiKey {
  readonly key: string;
  /** As records of the log and traces show it; the key itself is never shown. */
  readonly name: string;
  /** Its part of the engine while several keys wait: twice as much with 2 as with 1. */
  readonly weight: number;
  /** null: what the flags say for every key. */
  readonly requestsPerMinute: number | null;
  readonly tokensPerMinute: number | null;
}

export function plainKeys(keys: readonly string[]): ApiKey[] {
  return keys.map((key, i) => ({ key, name: `key-${i + 1}`, weight: 1, requestsPerMinute: null, tokensPerMinute: null }));
}

const rules = ['name', 'weight', 'requests-per-minute', 'tokens-per-minute'] as const;

/**
 * A key a line, `KEY [name=NAME] [weight=N] [requests-per-minute=N] [tokens-per-minute=N]`; empty lines and those that begin with # say nothing.
 * Throws a start error that names the line, and never the key.
 */
export function parseKeyFile(text: string, path: string): ApiKey[] {
  const lines = text.split('\n').map((line, i) => ({ words: line.trim().split(/\s+/), number: i + 1 }));
  return lines
    .filter(({ words }) => words[0] !== '' && !words[0]!.startsWith('#'))
    .map(({ words, number }) => parseLine(words, number, path));
}

function parseLine([key, ...words]: readonly string[], number: number, path: string): ApiKey {
  const refuse = (what: string): never => {
    throw startError(`--api-key-file ${path}, line ${number}: ${what}`, { param: 'api-key-file' });
  };
  const given = new Map<string, string>();
  for (const word of words) {
    const [, name = '', value = ''] =
      /^([a-z-]+)=(.+)$/.exec(word) ?? refuse(`behind the key stands ${rules.join('=…, ')}=…, and nothing else`);
    if (!(rules as readonly string[]).includes(name)) refuse(`there is no '${name}'; there are: ${rules.join(', ')}`);
    given.set(name, value);
  }
  const numberOf = (name: (typeof rules)[number]): number | null => {
    const text = given.get(name);
    if (text === undefined) return null;
    const value = Number(text);
    return value > 0 && Number.isFinite(value) ? value : refuse(`${name} must be a number above 0, not '${text}'`);
  };
  return {
    key: key!,
    name: given.get('name') ?? `line-${number}`,
    weight: numberOf('weight') ?? 1,
    requestsPerMinute: numberOf('requests-per-minute'),
    tokensPerMinute: numberOf('tokens-per-minute'),
  };
}

const digest = (text: string) => createHash('sha256').update(text).digest();

/** Finds out who calls. Every key is compared, by digest, so that the time taken tells nothing about how much of one was right. */
export class KeyRing {
  readonly #keys: readonly { readonly digest: Buffer; readonly caller: Caller }[];

  constructor(keys: readonly ApiKey[]) {
    this.#keys = keys.map(({ key, name, weight }, owner) => {
      const share = keys.length === 1 ? null : { owner, weight };
      return { digest: digest(key), caller: { owner, name, share } };
    });
  }

  /** null: the request has no key, or none of ours. Without keys everybody is `anybody`. */
  callerOf(exchange: Exchange): Caller | null {
    if (this.#keys.length === 0) return anybody;
    let found: Caller | null = null;
    for (const given of givenKeys(exchange).map(digest)) {
      for (const { digest: known, caller } of this.#keys) found = timingSafeEqual(known, given) ? caller : found;
    }
    return found;
  }
}

/** OpenAI's clients send `Authorization: Bearer KEY`, Anthropic's `x-api-key: KEY`; some send both, and one of them is the key. */
export function givenKeys(exchange: Exchange): string[] {
  const [, bearer] = /^bearer\s+(.*)$/i.exec(exchange.header('authorization') ?? '') ?? [];
  return [bearer, exchange.header('x-api-key')].map((key) => key?.trim() ?? '').filter((key) => key !== '');
}
