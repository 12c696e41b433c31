/** The table of request fields of docs/api.md, made from the field table; `scripts/readme-tables.mjs` writes it, a test checks that it is current. */

import { boundedSchema, type Field } from './fields.js';
import { withMarkedPart } from './marked-part.js';
import { type SharedField, sharedFields } from './request-fields.js';
import type { Schema } from './schema.js';

const code = (name: string) => `\`${name}\``;
const escaped = (text: string) => text.replace(/\|/g, '\\|');

function where({ routes }: SharedField): string {
  const [chat, completions] = [routes.includes('chat'), routes.includes('completions')];
  return chat && completions ? '' : chat ? 'chat' : 'completions';
}

const plural = (type: string) => (type.startsWith('list ') ? type.replace('list ', 'lists ') : `${type}s`);

/** A type in a word or two: `integer`, `string or list of strings`. */
function typeOf({ type, anyOf, items, enum: words }: Schema): string {
  if (words !== undefined) return words.map((word) => JSON.stringify(word)).join(' or ');
  if (anyOf !== undefined) return [...new Set(anyOf.map(typeOf))].join(' or ');
  return type === 'array' && items !== undefined ? `list of ${plural(typeOf(items))}` : (type ?? 'any');
}

/** Bounds of the row's own, then those that flags set. */
function rangeOf(field: Field): string {
  const { minimum, maximum, exclusiveMinimum, minLength, maxLength } = boundedSchema(field);
  const least = exclusiveMinimum === undefined ? minimum : `above ${exclusiveMinimum}`;
  return [
    ...(least === undefined && maximum === undefined ? [] : [`${least ?? ''} … ${maximum ?? ''}`.trim()]),
    ...(maxLength === undefined ? [] : [`${minLength ?? 0} … ${maxLength} characters`]),
    ...(field.range === undefined ? [] : [field.range]),
  ].join(', ');
}

/** Honoured fields as a Markdown table, then the names of those that are accepted without effect and those refused. */
export function fieldTable(rows: readonly SharedField[] = sharedFields): string {
  const generating = rows.filter(({ routes }) => routes.includes('chat') || routes.includes('completions'));
  const namesOf = (use: Field['use']) => [...new Set(generating.filter((row) => row.use === use).map(({ name }) => code(name)))].join(', ');
  const lines = generating
    .filter(({ use }) => use === 'honoured')
    .map((row) => {
      const byDefault = row.default === undefined ? '' : JSON.stringify(row.default);
      return `| ${[code(row.name), where(row), typeOf(row.schema), rangeOf(row), byDefault, row.help].map(escaped).join(' | ')} |`;
    });
  return [
    `| field | only in | type | range | default | |\n| --- | --- | --- | --- | --- | --- |\n${lines.join('\n')}\n`,
    `Accepted, as they ask nothing of the output: ${namesOf('accepted')}.\n`,
    `Refused by name, unless their value asks for nothing: ${namesOf('refused')}.\n`,
  ].join('\n');
}

const markers = ['<!-- fields: written by scripts/readme-tables.mjs -->\n', '<!-- end of fields -->'] as const;

/** `page` with the table between its two markers. Throws where they are not there. */
export const withFieldTable = (page: string) => withMarkedPart(page, markers, fieldTable());
