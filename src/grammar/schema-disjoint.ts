/** Whether alternatives of a JSON Schema can have a value in common, as far as it is plain to see. */
import { isDeepStrictEqual } from 'node:util';
import { type Flat, kindOf, namesProperties, propertiesOf, requiredOf, typesOf, valuesOf } from './schema-merge.js';

/** Whether no value that is made of one of these satisfies another one; `each` has the ways to satisfy it. */
export function areDisjoint(each: readonly (readonly Flat[])[]): boolean {
  return each.every((a, i) => each.slice(i + 1).every((b) => a.every((x) => b.every((y) => excludes(x, y)))));
}

const kindsOfValues = (values: readonly unknown[] | null) => values && [...new Set(values.map(kindOf))];

/** Whether no value that is made of one of the two satisfies the other. Objects are made closed, so that a name that one requires and the other lacks tells them apart. */
function excludes(a: Flat, b: Flat): boolean {
  const [valuesA, valuesB] = [valuesOf(a), valuesOf(b)];
  if (valuesA !== null && valuesB !== null) return !valuesA.some((x) => valuesB.some((y) => isDeepStrictEqual(x, y)));
  const [typesA, typesB] = [typesOf(a) ?? kindsOfValues(valuesA), typesOf(b) ?? kindsOfValues(valuesB)];
  if (typesA === null || typesB === null) return false;
  const wide = (types: readonly string[]) => types.flatMap((type) => (type === 'number' ? ['number', 'integer'] : [type]));
  const common = wide(typesA).filter((type) => wide(typesB).includes(type));
  if (common.length === 0) return true;
  if (common.some((type) => type !== 'object')) return false;
  return apart(a, b) || (lacks(a, b) && lacks(b, a));
}

/** A property that one always has and the other does not take: required on either side. */
function apart(a: Flat, b: Flat): boolean {
  const [propertiesA, propertiesB] = [propertiesOf(a), propertiesOf(b)];
  return [...new Set([...requiredOf(a), ...requiredOf(b)])].some((name) => {
    const both = requiredOf(a).includes(name) && requiredOf(b).includes(name);
    const [x, y] = [propertiesA[name], propertiesB[name]];
    return both && typeof x === 'object' && typeof y === 'object' && !('$ref' in x) && !('$ref' in y) && excludes(x as Flat, y as Flat);
  });
}

/** `b` requires what an object made of `a` never has. */
function lacks(a: Flat, b: Flat): boolean {
  const isClosed = namesProperties(a) && (a['additionalProperties'] ?? false) === false && !('patternProperties' in a);
  return isClosed && requiredOf(b).some((name) => !Object.hasOwn(propertiesOf(a), name) && !requiredOf(a).includes(name));
}
