/** Bodies of other APIs, written in the terms of /v1/chat/completions; errors speak of the fields that the client gave. */
import { LockstepError } from '../errors.js';
import { type ChatRequest, parseChat } from './chat-request.js';
import { checkFields } from './fields.js';
import type { JsonObject } from './json-body.js';
import type { JsonRequest } from './request.js';
import { chatBody } from './request-fields.js';

/** Chat's name of a field -> the name that it has in the other API. */
export type FieldNames = Readonly<Record<string, string>>;

/** `body`: the request in chat's terms. What of it nobody knows was refused, or let pass, when the request was read. */
export function parseTranslated(body: JsonObject, { text, serving }: JsonRequest, names: FieldNames): ChatRequest {
  try {
    checkFields(body, chatBody, 'warn');
    return parseChat(body, text, serving.model);
  } catch (error) {
    throw error instanceof LockstepError ? inTermsOf(names, error) : error;
  }
}

function inTermsOf(names: FieldNames, error: LockstepError): LockstepError {
  if (error.code === 'context_length_exceeded') return error;
  const known = Object.keys(names);
  const param = known.reduce(
    (place, name) => place.replace(new RegExp(`^(body\\.)?${name}(?=\\.|$)`), `$1${names[name]}`),
    error.param ?? '',
  );
  const message = error.message.replace(new RegExp(`(?<![\\w.])(${known.join('|')})(?!\\w)`, 'g'), (name) => names[name]!);
  return new LockstepError(error.code, message, { ...(param === '' ? {} : { param }), cause: error });
}
