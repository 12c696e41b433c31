/** Errors as Ollama's clients expect them: a message alone. */
import type { LockstepError } from '../../errors.js';
import { boundedMessage, type ErrorFormat } from '../error-body.js';
import { object, string } from '../schema.js';

const body = (error: LockstepError) => JSON.stringify({ error: boundedMessage(error) });

export const ollamaErrors: ErrorFormat = {
  name: 'OllamaError',
  schema: object({ error: string }),
  body,
  lastEvents: (error) => `${body(error)}\n`,
};
