/**
 * GET /docs: the API for people, made of /openapi.json. One page of HTML and CSS: no script, nothing from elsewhere, so that its content
 * security policy can forbid both.
 */
import { createHash } from 'node:crypto';
import type { Context } from './context.js';
import type { Exchange } from './exchange.js';
import { openApiOf } from './openapi.js';
import type { Route } from './route.js';
import { type Schema, wordsFor } from './schema.js';

const style =
  'body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}' +
  'summary{cursor:pointer;padding:.4rem 0}code{font-size:.95em}table{border-collapse:collapse;width:100%}' +
  'td,th{text-align:left;vertical-align:top;padding:.2rem .6rem;border-bottom:1px solid #8884}td p{margin:0}';
const styleHash = createHash('sha256').update(style).digest('base64');
export const docsPolicy = `default-src 'none'; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text: string) => text.replace(/[&<>"]/g, (char) => entities[char]!);
const code = (text: string) => `<code>${escaped(text)}</code>`;

interface Operation {
  readonly summary: string;
  /** A body without a `$ref` is one of other operations' bodies, whose tables stand there. */
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: { readonly $ref?: string } }>> };
  readonly responses: Readonly<Record<string, { readonly description: string }>>;
}
interface Described {
  readonly info: { readonly version: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

function fieldRow([name, schema]: [string, Schema], required: readonly string[]): string {
  const values = schema.anyOf?.every((choice) => 'const' in choice || choice.type === 'null')
    ? schema.anyOf.map((choice) => JSON.stringify(choice.const ?? null)).join(' or ')
    : wordsFor(schema);
  const needed = required.includes(name) ? ' (required)' : '';
  const byDefault = schema.default === undefined ? '' : JSON.stringify(schema.default);
  return `<tr><td>${code(name)}${needed}</td><td>${escaped(values)}</td><td>${code(byDefault)}</td><td>${escaped(schema.description ?? '')}</td></tr>`;
}

function operationOf(
  method: string,
  path: string,
  { summary, requestBody, responses }: Operation,
  schemas: Described['components']['schemas'],
): string {
  const refs = Object.values(requestBody?.content ?? {}).flatMap(({ schema }) => schema.$ref ?? []);
  const tables = refs.map((ref) => {
    const { properties = {}, required = [] } = schemas[ref.slice('#/components/schemas/'.length)]!;
    const rows = Object.entries(properties).map((field) => fieldRow(field, required));
    return `<table><tr><th>field</th><th>values</th><th>default</th><th></th></tr>${rows.join('')}</table>`;
  });
  const answers = Object.entries(responses).map(([status, { description }]) => `<li>${code(status)} ${escaped(description)}</li>`);
  const head = `<summary>${code(`${method.toUpperCase()} ${path}`)} ${escaped(summary)}</summary>`;
  return `<details>${head}${tables.join('')}<ul>${answers.join('')}</ul></details>`;
}

/** The whole page. */
export function docsPageOf(routes: readonly Route[], version: string): string {
  const { paths, components, info } = openApiOf(routes, version) as unknown as Described;
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => operationOf(method, path, operation, components.schemas)),
  );
  const title = `Lockstep ${escaped(info.version)}`;
  return (
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title><style>${style}</style></head>` +
    `<body><h1>${title}</h1><p>For programs: <a href="openapi.json">openapi.json</a>.</p>${operations.join('')}</body></html>`
  );
}

/** Made once a process: the routes do not change. */
let page: string | null = null;

export function handleDocs(exchange: Exchange, context: Context, routes: readonly Route[]): void {
  exchange.setHeader('content-security-policy', docsPolicy);
  exchange.setHeader('x-content-type-options', 'nosniff');
  page ??= docsPageOf(routes, context.options.version);
  exchange.reply(200, 'text/html; charset=utf-8', page);
}
