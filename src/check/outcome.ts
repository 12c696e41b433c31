/** What of an answer tells whether a parameter had its effect, in whichever API's shape it is. */
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
  const count = (...names: readonly string[]) => {
    const found = names.map((name) => usage[name]).find((value) => typeof value === 'number');
    return typeof found === 'number' ? found : null;
  };
  return {
    status: answer.status,
    isFine: answer.status >= 200 && answer.status < 300,
    isRefused: answer.status >= 400 && !otherStatuses.includes(answer.status),
    ...errorOf(answer),
    choices: choicesIn(body),
    promptTokens: count('prompt_tokens', 'input_tokens'),
    completionTokens: count('completion_tokens', 'output_tokens'),
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

const objectsIn = (value: unknown): JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : []);
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

function choicesIn(body: JsonObject): readonly Choice[] {
  const { choices, output, content, data } = body;
  if (Array.isArray(choices)) return objectsIn(choices).map(choiceOf);
  if (Array.isArray(output)) return [responseOf(body, objectsIn(output))];
  if (Array.isArray(content)) return [messageOf(body, objectsIn(content))];
  const vectors = objectsIn(data).filter(({ embedding }) => embedding !== undefined);
  return vectors.map(({ embedding }) => ({ text: JSON.stringify(embedding), calls: [], finishReason: null, logprobs: null }));
}

function choiceOf(choice: JsonObject): Choice {
  const message = isObject(choice['message']) ? choice['message'] : {};
  return {
    text: textOf(choice['text'] ?? message['content']),
    calls: objectsIn(message['tool_calls']).map(({ function: called }) =>
      isObject(called) ? `${called['name']}(${called['arguments']})` : '',
    ),
    finishReason: typeof choice['finish_reason'] === 'string' ? choice['finish_reason'] : null,
    logprobs: choice['logprobs'] ?? null,
  };
}

/** Of /v1/responses. */
function responseOf({ incomplete_details: details }: JsonObject, output: readonly JsonObject[]): Choice {
  const parts = output.flatMap(({ content }) => objectsIn(content));
  const calls = output.filter(({ type }) => type === 'function_call');
  return {
    text: parts.map(({ text }) => textOf(text)).join(''),
    calls: calls.map((call) => `${call['name']}(${call['arguments']})`),
    finishReason: isObject(details) && details['reason'] === 'max_output_tokens' ? 'length' : 'stop',
    logprobs: null,
  };
}

/** Of /v1/messages. */
function messageOf({ stop_reason: reason }: JsonObject, content: readonly JsonObject[]): Choice {
  const calls = content.filter(({ type }) => type === 'tool_use');
  return {
    text: content.map(({ text }) => textOf(text)).join(''),
    calls: calls.map(({ name, input }) => `${name}(${JSON.stringify(input)})`),
    finishReason: reason === 'max_tokens' ? 'length' : textOf(reason),
    logprobs: null,
  };
}

/** All that the model said: answers with the same are the same answer. */
export const saidIn = ({ choices }: Outcome): string => JSON.stringify(choices.map(({ text, calls }) => [text, ...calls]));
