/** What of an answer of chat or completions tells whether a parameter had its effect. */
import { isObject, type JsonObject } from '../api/json-object.js';
import type { Answer } from './exchange.js';

export interface Outcome {
  readonly status: number;
  readonly isFine: boolean;
  /** For what it asks; not for want of a key, of time or of a server. */
  readonly isRefused: boolean;
  /** Of an error, else ''. */
  readonly message: string;
  /** The parameter that an error names. */
  readonly param: string | null;
  readonly choices: readonly Choice[];
  readonly promptTokens: number | null;
  readonly completionTokens: number | null;
  readonly answer: Answer;
}

export interface Choice {
  readonly text: string;
  readonly calls: readonly string[];
  readonly finishReason: string | null;
  readonly logprobs: unknown;
}

/** Statuses that say nothing of what a request asks. */
const otherStatuses = [401, 403, 408, 429, 502, 503, 504];

/** In place of an answer that did not come. */
export const noOutcome = (): Outcome => outcomeOf({ status: 504, contentType: '', ms: 0, isWhole: false, text: 'no answer came' });

export function outcomeOf(answer: Answer): Outcome {
  const body = isObject(answer.body) ? answer.body : {};
  const usage = isObject(body['usage']) ? body['usage'] : {};
  const choices = Array.isArray(body['choices']) ? body['choices'].filter(isObject) : [];
  const count = (name: string) => (typeof usage[name] === 'number' ? usage[name] : null);
  return {
    status: answer.status,
    isFine: answer.status >= 200 && answer.status < 300,
    isRefused: answer.status >= 400 && !otherStatuses.includes(answer.status),
    ...errorOf(answer),
    choices: choices.map(choiceOf),
    promptTokens: count('prompt_tokens'),
    completionTokens: count('completion_tokens'),
    answer,
  };
}

const messageLenMax = 300;

function errorOf({ status, body, text }: Answer): Pick<Outcome, 'message' | 'param'> {
  if (status < 400) return { message: '', param: null };
  const error = isObject(body) ? (body['error'] ?? body['detail'] ?? body) : (text ?? '');
  const said = isObject(error) && typeof error['message'] === 'string' ? error['message'] : error;
  const message = (typeof said === 'string' ? said : JSON.stringify(said)).replace(/\s+/g, ' ').slice(0, messageLenMax);
  return { message, param: isObject(error) && typeof error['param'] === 'string' ? error['param'] : null };
}

function choiceOf(choice: JsonObject): Choice {
  const message = isObject(choice['message']) ? choice['message'] : {};
  const text = choice['text'] ?? message['content'];
  const calls = Array.isArray(message['tool_calls']) ? message['tool_calls'].filter(isObject) : [];
  return {
    text: typeof text === 'string' ? text : '',
    calls: calls.map(({ function: called }) => (isObject(called) ? `${called['name']}(${called['arguments']})` : '')),
    finishReason: typeof choice['finish_reason'] === 'string' ? choice['finish_reason'] : null,
    logprobs: choice['logprobs'] ?? null,
  };
}

/** All that the model said: answers with the same are the same answer. */
export const saidIn = ({ choices }: Outcome): string => JSON.stringify(choices.map(({ text, calls }) => [text, ...calls]));
