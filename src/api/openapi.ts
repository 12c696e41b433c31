/**
 * GET /openapi.json: the API in OpenAPI 3.1, made from the route table, the tables of request fields and the answers' schemas. Whatever a
 * route checks is what stands here, since both read the same rows.
 */
import { type ErrorCode, errorKinds } from '../errors.js';
import type { Context } from './context.js';
import { openAiErrors } from './error-body.js';
import type { Exchange } from './exchange.js';
import { boundedSchema, type Field, type RequestBody } from './fields.js';
import type { Route } from './route.js';
import { anyOf, nothing, nullable, type Schema } from './schema.js';

type Json = Readonly<Record<string, unknown>>;

const component = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });

/** The document, without `servers`: paths stand as they are served, below `--root-path` too. */
export function openApiOf(routes: readonly Route[], version: string): Json {
  const paths: Record<string, Record<string, Json>> = {};
  const schemas: Record<string, unknown> = {};
  for (const route of routes) {
    const { answer, method } = route;
    const { errors = openAiErrors } = route;
    schemas[errors.name] = errors.schema;
    for (const body of bodiesOf(route)) schemas[body.name] = bodySchema(body);
    if (answer.json !== undefined) schemas[answer.name] = answer.json;
    if (answer.events !== undefined) schemas[`${answer.name}Chunk`] = answer.events;
    const path = pathOf(route);
    paths[path] ??= {};
    paths[path][method.toLowerCase()] = operation(route, path);
  }
  const bearer = { type: 'http', scheme: 'bearer', description: 'asked for where the server was started with --api-key' };
  return {
    openapi: '3.1.0',
    info: { title: 'Lockstep', version, description: 'The OpenAI API, with the extensions of vLLM.' },
    paths,
    components: { schemas, securitySchemes: { bearer } },
  };
}

const bodiesOf = ({ body, bodies }: Route) => bodies ?? (body === undefined ? [] : [body]);
const pathOf = ({ path }: Route) => path.replaceAll('*', '{id}');

function operation(route: Route, path: string): Json {
  const { method, summary, access } = route;
  const bodies = bodiesOf(route).map(({ name }) => component(name));
  const schema = bodies.length === 1 ? bodies[0] : { anyOf: bodies };
  return {
    operationId: `${method.toLowerCase()}${path.replace(/[^a-zA-Z0-9]+(\w?)/g, (_, letter: string) => letter.toUpperCase())}`,
    summary,
    parameters: [
      ...(path.includes('{id}') ? [{ name: 'id', in: 'path', required: true, schema: { type: 'string', minLength: 1 } }] : []),
      ...Object.entries(route.query ?? {}).map(([name, schema]) => ({ name, in: 'query', required: false, schema })),
    ],
    ...(bodies.length === 0 ? {} : { requestBody: { required: true, content: { 'application/json': { schema } } } }),
    responses: responsesOf(route, path),
    security: access === 'key' ? [{ bearer: [] }, {}] : [],
  };
}

function responsesOf(route: Route, path: string): Json {
  const { answer, access, inference, needs, errors: format = openAiErrors } = route;
  const bodies = bodiesOf(route);
  const content: Record<string, Json> = {
    ...(answer.json === undefined ? {} : { 'application/json': { schema: component(answer.name) } }),
    ...(answer.media ? { [answer.media]: { schema: { type: 'string' } } } : {}),
    ...(answer.events === undefined ? {} : { 'text/event-stream': { schema: eventSchema(`${answer.name}Chunk`, format.name) } }),
  };
  const possible: ErrorCode[] = [
    ...(bodies.length === 0 ? [] : (['invalid_body', 'body_too_large'] as const)),
    ...(route.query === undefined ? [] : (['invalid_value'] as const)),
    ...(access === 'key' ? (['invalid_api_key'] as const) : []),
    ...(bodies.some(({ fields }) => fields.has('model')) || path.includes('{id}') || needs ? (['not_found'] as const) : []),
    ...(inference ? (['queue_full', 'internal'] as const) : []),
    'not_ready',
  ];
  const errors = possible.map((code) => [
    errorKinds[code].status,
    { description: errorKinds[code].type, content: { 'application/json': { schema: component(format.name) } } },
  ]);
  return { 200: { description: 'the answer', ...(Object.keys(content).length === 0 ? {} : { content }) }, ...Object.fromEntries(errors) };
}

/** One server-sent event of a stream: OpenAPI 3.1 has no place of its own for it (3.2's `itemSchema`); its readers take `schema` as that. */
const eventSchema = (chunk: string, error: string): Json => ({
  type: 'object',
  description: 'a server-sent event; the last of those without names of their own is "data: [DONE]"',
  properties: {
    event: { type: 'string' },
    data: {
      type: 'string',
      anyOf: [
        { contentMediaType: 'application/json', contentSchema: { anyOf: [component(chunk), component(error)] } },
        { const: '[DONE]' },
      ],
    },
  },
  required: ['data'],
});

function bodySchema({ fields }: RequestBody): Json {
  const rows = [...fields.values()];
  const required = rows.filter((row) => row.required !== undefined).map(({ name }) => name);
  return {
    type: 'object',
    properties: Object.fromEntries(rows.map((row) => [row.name, fieldSchema(row)])),
    ...(required.length === 0 ? {} : { required }),
    additionalProperties: false,
  };
}

/** A field's values: what its row takes, within its limits, or null; of a refused field those that ask for nothing. */
export function fieldSchema(field: Field): Schema {
  const { use, help, default: byDefault, required, range, neutral = [] } = field;
  if (use === 'refused')
    return { ...anyOf(nothing, ...neutral.map((value): Schema => ({ const: value }))), description: `Refused: ${help}` };
  const schema = required === undefined ? nullable(boundedSchema(field)) : boundedSchema(field);
  const description = range === undefined ? help : `${help} (${range})`;
  return { ...schema, description, ...(byDefault === undefined ? {} : { default: byDefault }) };
}

/** Made once a process: the routes do not change. */
let document: string | null = null;

export function handleOpenApi(exchange: Exchange, context: Context, routes: readonly Route[]): void {
  document ??= JSON.stringify(openApiOf(routes, context.options.version));
  exchange.reply(200, 'application/json', document);
}
