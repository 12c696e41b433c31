/** Keys of callers never come into a record file: only headers that are known to be none are kept, and no value of another is anywhere in a line. */
import type { IncomingHttpHeaders } from 'node:http';

// biome-ignore format: a table
const keptHeaders = new Set([
  'accept', 'anthropic-beta', 'anthropic-version', 'content-type', 'openai-beta', 'user-agent', 'x-request-id',
]);

/** Of headers and of parameters in a query. */
const secretName = /key|token|secret|sig|auth|passw|credential|session|cookie/i;
/** Of a text in a body, as some routers and tools take them. */
const secretField = /^(authorization|cookie|password|secret|(x[-_])?api[-_]?key|(access|auth|bearer)[-_]?token|client[-_]?secret)$/i;

/** Shorter ones could be words of any text. */
const secretLenMin = 6;
const inPlace = '<removed>';

/** A body without such texts, however deep. A property of a JSON Schema that is named so is no text, and stays. */
export function withoutSecretFields(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutSecretFields);
  if (typeof value !== 'object' || value === null) return value;
  const kept = Object.entries(value).filter(([name, each]) => typeof each !== 'string' || !secretField.test(name));
  return Object.fromEntries(kept.map(([name, each]) => [name, withoutSecretFields(each)]));
}

export function keptHeadersOf(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (keptHeaders.has(name) && value !== undefined ? [[name, String(value)]] : [])),
  );
}

/** `path` without the parameters of its query that are keys. */
export function withoutSecrets(path: string): string {
  const [before = '', query] = splitQuery(path);
  if (query === null) return before;
  const kept = query.split('&').filter((pair) => !secretName.test(nameOf(pair)));
  return kept.length === 0 ? before : `${before}?${kept.join('&')}`;
}

/** Values that must not be in the line of a request, wherever a server or a client may have put them. */
export function secretsOf(headers: IncomingHttpHeaders, path: string): string[] {
  const fromHeaders = Object.entries(headers)
    .filter(([name]) => !keptHeaders.has(name) && secretName.test(name))
    .flatMap(([name, value]) => (name === 'cookie' ? String(value).split(/;\s*/).map(contentOf) : [String(value).replace(/^\w+\s+/, '')]));
  const fromQuery = (splitQuery(path)[1]?.split('&') ?? []).filter((pair) => secretName.test(nameOf(pair))).map(contentOf);
  const found = [...fromHeaders, ...fromQuery, ...fromQuery.map(plain)].filter((value) => value.length >= secretLenMin);
  return [...new Set(found)].sort((a, b) => b.length - a.length); // one may be part of another
}

/** `line`, which is JSON, with each of the secrets replaced. */
export const scrubbed = (line: string, secrets: readonly string[]): string =>
  secrets.reduce((text, secret) => text.replaceAll(JSON.stringify(secret).slice(1, -1), inPlace), line);

function splitQuery(path: string): [string, string | null] {
  const at = path.indexOf('?');
  return at === -1 ? [path, null] : [path.slice(0, at), path.slice(at + 1)];
}

const nameOf = (pair: string) => plain(pair.split('=', 1)[0] ?? '');
const contentOf = (pair: string) => pair.slice(pair.indexOf('=') + 1);

function plain(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return text;
  }
}
