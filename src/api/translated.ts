/** Bodies of other APIs, written in the terms of /v1/chat/completions; errors speak of the fields that the client gave. */
import { LockstepError } from '../errors.js';
import { type ChatRequest, parseChat } from './chat-request.js';
import { checkFields, type FieldNames } from './fields.js';
import type { JsonObject } from './json-object.js';
import type { JsonRequest } from './request.js';
import { chatBody } from './request-fields.js';

/** `body`: the request in chat's terms. What of it nobody knows was refused, or let pass, when the request was read. */
export function parseTranslated(body: JsonObject, { text, serving }: JsonRequest, names: FieldNames): ChatRequest {
  try {
    checkFields(body, chatBody, 'warn');
    return withNames(names, parseChat(body, text, serving.model));
  } catch (error) {
    throw error instanceof LockstepError ? inTermsOf(names, error) : error;
  }
}

/** Grammars are compiled later, and refused by the names that they carry. */
function withNames(names: FieldNames, chat: ChatRequest): ChatRequest {
  const { generation, tools } = chat;
  const { grammar } = generation;
  const functions = [...(tools?.functions ?? [])].map(([name, each]) => [name, { ...each, field: placeIn(names, each.field) }] as const);
  return {
    ...chat,
    generation: grammar === null ? generation : { ...generation, grammar: { ...grammar, name: placeIn(names, grammar.name) } },
    tools: tools && { ...tools, functions: new Map(functions) },
  };
}

function placeIn(names: FieldNames, place: string): string {
  for (const [name, own] of Object.entries(names)) {
    const pattern = name.replace(/[.[\]]/g, '\\$&').replace('\\[\\]', '(\\[\\d+\\])');
    const match = new RegExp(`^(body\\.)?${pattern}(?=[.[]|$)`).exec(place);
    if (match !== null) return (match[1] ?? '') + own.replace('[]', match[2] ?? '') + place.slice(match[0].length);
  }
  return place;
}

function inTermsOf(names: FieldNames, error: LockstepError): LockstepError {
  if (error.code === 'context_length_exceeded') return error;
  const { param } = error;
  const known = Object.keys(names).filter((name) => /^\w+$/.test(name));
  const message = error.message.replace(new RegExp(`(?<![\\w.])(${known.join('|')})(?!\\w)`, 'g'), (name) => names[name]!);
  return new LockstepError(error.code, message, { ...(param === null ? {} : { param: placeIn(names, param) }), cause: error });
}
