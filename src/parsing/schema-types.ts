/** Which JSON types a function's parameter may have, read from its schema: models that write values as plain text leave it to that. */
import type { TypesOf } from './named-call.js';

type Schema = Readonly<Record<string, unknown>>;

/** Deepest chain of references and alternatives that is followed. */
const depthMax = 16;

const isSchema = (value: unknown): value is Schema => typeof value === 'object' && value !== null && !Array.isArray(value);

/** `schemas`: of each function's parameters, by its name. */
export function typesFrom(schemas: ReadonlyMap<string, unknown>): TypesOf {
  return (name, parameter) => {
    const schema = schemas.get(name);
    if (!isSchema(schema)) return null;
    const found = new Set<string>();
    const { properties, additionalProperties } = resolve(schema, schema, depthMax);
    const isNamed = isSchema(properties) && parameter !== null && Object.hasOwn(properties, parameter);
    collect(isNamed ? properties[parameter] : additionalProperties, schema, found, depthMax);
    return found.size === 0 ? null : [...found];
  };
}

function collect(value: unknown, root: Schema, found: Set<string>, depth: number): void {
  if (!isSchema(value) || depth === 0) return;
  const schema = resolve(value, root, depth);
  const { type } = schema;
  if (type !== undefined) {
    for (const each of Array.isArray(type) ? type : [type]) found.add(String(each));
    return;
  }
  for (const each of [...(Array.isArray(schema['enum']) ? schema['enum'] : []), ...('const' in schema ? [schema['const']] : [])]) {
    found.add(each === null ? 'null' : Array.isArray(each) ? 'array' : typeof each);
  }
  if ('properties' in schema) found.add('object');
  if ('items' in schema) found.add('array');
  for (const key of ['anyOf', 'oneOf', 'allOf']) {
    const choices = schema[key];
    if (Array.isArray(choices)) for (const choice of choices) collect(choice, root, found, depth - 1);
  }
}

/** Follows `$ref` inside of the same schema. */
function resolve(schema: Schema, root: Schema, depth: number): Schema {
  const { $ref: reference } = schema;
  if (typeof reference !== 'string' || !reference.startsWith('#/') || depth === 0) return schema;
  let target: unknown = root;
  for (const step of reference.slice(2).split('/')) {
    target = isSchema(target) ? target[step.replaceAll('~1', '/').replaceAll('~0', '~')] : undefined;
  }
  return isSchema(target) ? resolve(target, root, depth - 1) : schema;
}
