/**
 * Typed reading of a model's configuration: config.json (as the hub has it, or as transformers 5 writes it) or the record that
 * `gguf-config.ts` makes of a GGUF header. A missing or wrong field is one start error that names file, field and fault.
 * Which fields a family has is left to `architectures/`.
 */
import { readFileSync, statSync } from 'node:fs';
import { startError } from '../errors.js';

type Fields = Readonly<Record<string, unknown>>;

/** Upper bounds of what a configuration may ask for, far above any model: a corrupt number is refused before memory is asked for. */
export const bounds = { layers: 1024, experts: 4096, heads: 4096, width: 1 << 20, vocab: 1 << 24, positions: 1 << 30 } as const;
const jsonBytesMax = 256 << 20;

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function readJson(path: string): unknown {
  let text: string;
  try {
    const { size } = statSync(path);
    if (size > jsonBytesMax) throw new Error(`it has ${size} bytes, and at most ${jsonBytesMax} are read`);
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw startError(`${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    // Python writes Infinity and NaN into JSON. They stand in no field that is read here.
    const repaired = text.replace(/([:[,]\s*)(?:-?Infinity|NaN)(?=\s*[,}\]])/g, '$1null');
    if (repaired === text) throw startError(`${path} is not valid JSON: ${(cause as Error).message}`, { cause });
    try {
      return JSON.parse(repaired);
    } catch {
      throw startError(`${path} is not valid JSON: ${(cause as Error).message}`, { cause });
    }
  }
}

/** Parses a JSON file that holds an object. */
export function readJsonObject(path: string): Fields {
  const value = readJson(path);
  if (!isFields(value)) throw startError(`${path} must hold a JSON object`);
  return value;
}

/** Fields of one object. null counts as absent, as in transformers, except for the `…OrNull` readers. */
export class Config {
  constructor(
    /** File, and the path within it, as errors name it. */
    readonly where: string,
    readonly fields: Fields,
  ) {}

  has(key: string): boolean {
    return this.fields[key] !== undefined && this.fields[key] !== null;
  }

  fault(key: string, expected: string): Error {
    const value = this.fields[key];
    const found = value === undefined ? 'is missing' : `is ${JSON.stringify(value)?.slice(0, 80)}`;
    return startError(`${this.where}: ${key} ${found}; expected ${expected}`);
  }

  number(key: string, fallback?: number): number {
    if (!this.has(key) && fallback !== undefined) return fallback;
    const value = this.fields[key];
    if (typeof value !== 'number' || !Number.isFinite(value)) throw this.fault(key, 'a number');
    return value;
  }

  /** An absent key gives the fallback; null gives null ("none"). */
  numberOrNull(key: string, fallback: number | null): number | null {
    if (this.fields[key] === null) return null;
    return this.has(key) ? this.number(key) : fallback;
  }

  positive(key: string, fallback?: number): number {
    const value = this.number(key, fallback);
    if (!(value > 0)) throw this.fault(key, 'a number above 0');
    return value;
  }

  /** A whole number from 1 to max. */
  count(key: string, max: number, fallback?: number): number {
    const value = this.number(key, fallback);
    if (!Number.isInteger(value) || value < 1 || value > max) throw this.fault(key, `a whole number from 1 to ${max}`);
    return value;
  }

  boolean(key: string, fallback: boolean): boolean {
    if (!this.has(key)) return fallback;
    const value = this.fields[key];
    if (typeof value !== 'boolean') throw this.fault(key, 'true or false');
    return value;
  }

  string(key: string, fallback?: string): string {
    if (!this.has(key) && fallback !== undefined) return fallback;
    const value = this.fields[key];
    if (typeof value !== 'string') throw this.fault(key, 'a string');
    return value;
  }

  numbers(key: string): readonly number[] {
    const value = this.fields[key];
    if (!Array.isArray(value) || !value.every((v) => typeof v === 'number' && Number.isFinite(v)))
      throw this.fault(key, 'a list of numbers');
    return value;
  }

  strings(key: string): readonly string[] {
    const value = this.fields[key];
    if (!Array.isArray(value) || !value.every((v) => typeof v === 'string')) throw this.fault(key, 'a list of strings');
    return value;
  }

  /** The object under `key`, or null. */
  object(key: string): Config | null {
    if (!this.has(key)) return null;
    const value = this.fields[key];
    if (!isFields(value)) throw this.fault(key, 'an object');
    return new Config(`${this.where}: ${key}`, value);
  }
}

export function readConfig(path: string): Config {
  return new Config(path, readJsonObject(path));
}

/** A file that holds a list of objects. */
export function readConfigList(path: string): Config[] {
  const value = readJson(path);
  if (!Array.isArray(value) || !value.every(isFields)) throw startError(`${path} must hold a list of JSON objects`);
  return value.map((fields, i) => new Config(`${path}: entry ${i}`, fields));
}

/** Text models wrapped in a multimodal configuration keep their fields under `text_config`; what it lacks stands outside. */
export function textConfig(config: Config): Config {
  const inner = config.object('text_config');
  return inner === null ? config : new Config(inner.where, { ...config.fields, ...inner.fields });
}
