/** Bytes of a request -> a JSON object whose depth and text are sound. What its fields mean is `fields.ts`'s. */
import { LockstepError } from '../errors.js';
import type { Exchange } from './exchange.js';
import type { JsonObject } from './json-object.js';

/** Deeper than any honest request, and far from where recursion over it would end the stack. */
export const nestingMax = 128;

/** Most bytes of bodies that are being read at one time, over all connections of all threads. */
export const bodiesBytesMax = 512 * 2 ** 20;

/** What is left of `bodiesBytesMax`. */
export class BodyBudget {
  readonly #taken: Int32Array;

  /** `taken[0]`: bytes, of all threads. */
  constructor(taken: Int32Array) {
    this.#taken = taken;
  }

  /** Throws `queue_full` where the body does not fit; otherwise to be given back with `release`. */
  take(bytes: number): void {
    for (;;) {
      const taken = Atomics.load(this.#taken, 0);
      if (bytes > bodiesBytesMax - taken) {
        throw new LockstepError('queue_full', 'Too many large requests are being read. Try again later.', { retryAfterSeconds: 1 });
      }
      if (Atomics.compareExchange(this.#taken, 0, taken, taken + bytes) === taken) return;
    }
  }

  release(bytes: number): void {
    Atomics.sub(this.#taken, 0, bytes);
  }
}

export interface BodyLimits {
  readonly options: { readonly maxBodyBytes: number };
  readonly bodies: BodyBudget;
}

export interface JsonBody {
  readonly body: JsonObject;
  /** As it came. */
  readonly text: string;
}

/** Bodies that were read by a route which hands its exchanges on to others. */
const handedOn = new WeakMap<Exchange, JsonBody>();

/** The next to read the body of this exchange gets this. */
export function handOn(exchange: Exchange, json: JsonBody): void {
  handedOn.set(exchange, json);
}

export async function readJson(exchange: Exchange, { options, bodies }: BodyLimits): Promise<JsonBody> {
  const before = handedOn.get(exchange);
  if (before !== undefined) return before;
  const mediaType = (exchange.header('content-type') ?? '').split(';', 1)[0]!.trim().toLowerCase();
  if (mediaType !== 'application/json' && !takesAnyType(exchange)) {
    throw new LockstepError('invalid_body', "Unsupported Media Type: Only 'application/json' is allowed");
  }
  const encoding = (exchange.header('content-encoding') ?? 'identity').trim().toLowerCase();
  if (encoding !== 'identity' && encoding !== '') {
    throw new LockstepError('invalid_body', `Content-Encoding '${encoding}' is not taken: send the body as it is.`);
  }
  const text = await readText(exchange, options.maxBodyBytes, bodies);
  return { body: parseJsonObject(text), text };
}

/** Ollama looks at no type, and its examples are of curl, which says that it sends a form. A page of another site can say so too, but not hide its origin. */
function takesAnyType(exchange: Exchange): boolean {
  return /\/api\/(chat|generate|show)$/.test(exchange.path) && exchange.header('origin') === undefined;
}

async function readText(exchange: Exchange, maxBytes: number, bodies: BodyBudget): Promise<string> {
  // Without a length the body may become as long as is allowed.
  const announced = Math.min(Number(exchange.header('content-length') ?? maxBytes), maxBytes) || 0;
  bodies.take(announced);
  try {
    return decodeUtf8(await exchange.readBody(maxBytes));
  } finally {
    bodies.release(announced);
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true });

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new LockstepError('invalid_body', 'The request body is not valid UTF-8.', { param: 'body' });
  }
}

export function parseJsonObject(text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const position = reason.startsWith('Unexpected end') ? String(text.length) : /at position (\d+)/.exec(reason)?.[1];
    const param = position === undefined ? 'body' : `body.${position}`;
    throw new LockstepError('invalid_body', `The request body is not valid JSON: ${reason}.`, { param });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new LockstepError('invalid_body', 'The request body must be a JSON object.', { param: 'body' });
  }
  checkSound(value);
  return value as JsonObject;
}

/** Refuses text that is no Unicode, numbers that overflow, and depth; walks without recursion. */
function checkSound(root: object): void {
  const stack: { value: object; path: string; depth: number }[] = [{ value: root, path: 'body', depth: 1 }];
  for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
    const { value, path, depth } = item;
    if (depth > nestingMax) {
      throw new LockstepError('invalid_body', `The request body is nested more than ${nestingMax} levels deep.`, {
        param: path.split('.', 2).join('.'),
      });
    }
    if (Array.isArray(value)) for (let i = 0; i < value.length; i++) checkOne(value[i], path, i, depth, stack);
    else for (const key in value) checkOne((value as JsonObject)[key], path, key, depth, stack);
  }
}

function checkOne(
  value: unknown,
  path: string,
  key: string | number,
  depth: number,
  stack: { value: object; path: string; depth: number }[],
) {
  if (typeof value === 'object' && value !== null) {
    stack.push({ value, path: `${path}.${key}`, depth: depth + 1 });
  } else if (typeof value === 'string') {
    if (!(value as string & { isWellFormed(): boolean }).isWellFormed()) {
      throw new LockstepError('invalid_body', `${path}.${key} contains a lone surrogate, which is not valid Unicode text.`, {
        param: `${path}.${key}`,
      });
    }
  } else if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new LockstepError('invalid_body', `${path}.${key} is a number too large to represent.`, { param: `${path}.${key}` });
  }
}

/** The digits of an integer field: JSON.parse rounds beyond 2^53, and seeds have 64 bits. */
export function exactInteger(text: string, name: string, parsed: number): bigint {
  if (Number.isSafeInteger(parsed)) return BigInt(parsed);
  for (const match of text.matchAll(new RegExp(`"${name}"\\s*:\\s*(-?\\d+)(?![\\d.eE])`, 'g'))) {
    if (Number(match[1]) === parsed) return BigInt(match[1]!);
  }
  return BigInt(parsed);
}
