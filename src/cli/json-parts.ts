/**
 * Flags of type json by their parts: `--flag.key value`, `--flag.outer.key value` and, for lists, `--flag.key+ a,b`. vLLM's command line has
 * them so (`utils/argparse_utils.py` there), and its recipes use them.
 */
import { parseSize } from './flag.js';

type Fields = Record<string, unknown>;

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value);

/** `--flag.outer.key+` -> `--flag`, ['outer', 'key'], and that it is a list; null: it has no parts. */
export function splitParts(name: string): { readonly flag: string; readonly keys: readonly string[]; readonly isList: boolean } | null {
  const isList = name.endsWith('+');
  const [flag = '', ...keys] = (isList ? name.slice(0, -1) : name).split('.');
  return keys.length === 0 || keys.includes('') ? null : { flag, keys, isList };
}

/** What the parts of each flag come to. */
export class JsonParts {
  readonly #objects = new Map<string, Fields>();

  /** Later values win over earlier ones, and lists are joined. `raw`: a text, or a value of a file. */
  add(flag: string, keys: readonly string[], isList: boolean, raw: unknown): void {
    const value = typeof raw !== 'string' ? raw : isList ? raw.split(',') : parsed(raw);
    let fields = this.#objects.get(flag);
    if (fields === undefined) this.#objects.set(flag, (fields = emptyFields()));
    for (const key of keys.slice(0, -1)) {
      const inner: unknown = fields[key];
      fields = isFields(inner) ? inner : (fields[key] = emptyFields());
    }
    const last = keys.at(-1)!;
    const before = fields[last];
    fields[last] = Array.isArray(before) && Array.isArray(value) ? [...before, ...value] : value;
  }

  [Symbol.iterator](): IterableIterator<[flag: string, fields: Readonly<Fields>]> {
    return this.#objects.entries();
  }
}

/** Without a prototype: a key may be any word. */
const emptyFields = (): Fields => Object.create(null) as Fields;

/** JSON, a number such as 1k, or else the text itself. */
function parsed(raw: string): unknown {
  try {
    return JSON.parse(raw) as unknown;
  } catch {
    return parseSize(raw) ?? raw;
  }
}
