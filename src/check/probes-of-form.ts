/** Probes of parameters that show in the form of an answer: how many choices, a stream, log-probabilities, JSON, calls. */
import { isObject, type JsonObject } from '../api/json-object.js';
import type { Outcome } from './outcome.js';
import { type Finding, honoured, ignored, isFinding, type Probe, refusal, type Trial, unknown } from './trial.js';

const n: Probe = async (trial) => {
  const two = await trial.ask({ n: 2, temperature: 1 });
  if (!two.isFine) return refusal(two);
  return two.choices.length === 2 ? honoured('2 choices for 2') : ignored(`${two.choices.length} choices for 2`);
};

/** OpenAI documents that it must not be less than n. */
const bestOf: Probe = async (trial, value) => {
  if (value === 1) return unknown('1 asks for nothing');
  const wrong = await trial.ask({ n: 2, best_of: 1, temperature: 1 });
  if (!wrong.isFine) return unknown('a value below n is refused; which choices are the best is not seen');
  return ignored('a value below n is taken');
};

const stream: Probe = async (trial, value) => {
  if (value !== true) return unknown('false is what holds without it');
  const { isFine, answer, message } = await trial.ask({ stream: true });
  if (!isFine) return unknown(message);
  return answer.events === undefined ? ignored(`the answer is ${answer.contentType}`) : honoured('the answer is a stream of events');
};

const streamOptions: Probe = async (trial, value) => {
  if (!isObject(value) || value['include_usage'] !== true) return unknown('it asks for no usage');
  const { isFine, answer, message } = await trial.ask({ stream: true, stream_options: { include_usage: true } });
  if (!isFine) return unknown(message);
  const hasUsage = answer.events?.some(({ data }) => isObject(data) && isObject(data['usage'])) ?? false;
  return hasUsage ? honoured('the stream has its usage') : ignored('the stream has no usage');
};

const contentOf = ({ choices }: Outcome): unknown[] => {
  const logprobs = choices[0]?.logprobs;
  const tokens = isObject(logprobs) ? (logprobs['content'] ?? logprobs['tokens']) : null;
  return Array.isArray(tokens) ? tokens : [];
};

const logprobs: Probe = async (trial, value) => {
  if (value === false) return unknown('false is what holds without it');
  const outcome = await trial.ask({ logprobs: trial.route === 'chat' ? true : 1 });
  if (!outcome.isFine) return refusal(outcome);
  return contentOf(outcome).length > 0 ? honoured('the tokens have log-probabilities') : ignored('there are none');
};

const topLogprobs: Probe = async (trial) => {
  const wanted = 3;
  const outcome = await trial.ask({ logprobs: true, top_logprobs: wanted });
  if (!outcome.isFine) return refusal(outcome);
  const [first] = contentOf(outcome);
  const shown = isObject(first) && Array.isArray(first['top_logprobs']) ? first['top_logprobs'].length : 0;
  return shown === wanted ? honoured(`${shown} tokens for ${wanted}`) : ignored(`${shown} tokens for ${wanted}`);
};

/** What no model says by itself. */
const password = 'qx7';
const passwordSchema = {
  type: 'object',
  properties: { probe: { type: 'string', enum: [password] } },
  required: ['probe'],
  additionalProperties: false,
};
const isPasswordObject = (text: string) => /^\s*\{\s*"probe"\s*:\s*"qx7"\s*\}\s*$/.test(text);
const structureTokens = 48;

/** An answer that these parameters hold to something that no model would say. */
async function held(trial: Trial, changes: Readonly<Record<string, unknown>>, isHeld: (text: string) => boolean): Promise<Finding> {
  const outcome = await trial.ask({ ...changes, [trial.limitName]: structureTokens });
  if (!outcome.isFine) return refusal(outcome);
  const { text = '', finishReason = null } = outcome.choices[0] ?? {};
  if (isHeld(text)) return honoured('the answer is what it was held to');
  return finishReason === 'length' && /^\s*[{["]/.test(text)
    ? unknown('the answer is cut off')
    : ignored('the answer is not what it was held to');
}

/** `formatIn`: where a value of the field names the kind of JSON; `asking`: the field that asks for one. */
const jsonFormat =
  (formatIn: (value: JsonObject) => unknown, asking: (type: 'json_object' | 'json_schema') => JsonObject): Probe =>
  async (trial, value) => {
    const format = isObject(value) ? formatIn(value) : null;
    const type = isObject(format) ? format['type'] : null;
    if (type === 'json_schema') return held(trial, asking(type), isPasswordObject);
    if (type !== 'json_object') return unknown('text is what is answered anyway');
    const free = await trial.greedy();
    if (isFinding(free)) return free;
    if (free.choices[0]?.text.trimStart().startsWith('{')) return unknown('without it too the answer is an object');
    return held(trial, asking(type), (text) => text.trimStart().startsWith('{'));
  };

const schema = { name: 'probe', strict: true, schema: passwordSchema };
const responseFormat = jsonFormat(
  (value) => value,
  (type) => ({ response_format: type === 'json_schema' ? { type, json_schema: schema } : { type } }),
);
const textFormat = jsonFormat(
  ({ format }) => format,
  (type) => ({ text: { format: type === 'json_schema' ? { type, ...schema } : { type } } }),
);

const heldTo =
  (name: string, value: unknown, isHeld: (text: string) => boolean): Probe =>
  (trial) =>
    held(trial, { [name]: value }, isHeld);

const isPassword = (text: string) => text.trim() === password;

const echo: Probe = async (trial, value) => {
  if (value !== true || trial.route !== 'completions' || typeof trial.body['prompt'] !== 'string') return unknown('');
  const outcome = await trial.ask({ echo: true });
  if (!outcome.isFine) return refusal(outcome);
  const begins = outcome.choices[0]?.text.startsWith(trial.body['prompt']) ?? false;
  return begins ? honoured('the prompt stands before the text') : ignored('the prompt does not stand before the text');
};

const callTokens = 128;

const tools: Probe = async (trial, value) => {
  const without = await trial.greedy();
  if (isFinding(without)) return without;
  const outcome = await trial.ask({ tools: value, ...choiceOf(trial), [trial.limitName]: callTokens });
  if (!outcome.isFine) return refusal(outcome);
  if (outcome.choices.some(({ calls }) => calls.length > 0)) return honoured('the model calls them');
  return inPrompt(outcome, without, 'they are');
};

/** Whether something is in the prompt, by the prompt's length. */
function inPrompt(outcome: Outcome, without: Outcome, theyAre: string): Finding {
  if (outcome.promptTokens === null || without.promptTokens === null) return unknown('the answer does not say how long the prompt is');
  const added = outcome.promptTokens - without.promptTokens;
  return added === 0 ? ignored('the prompt is as long without') : honoured(`${theyAre} ${added} tokens of the prompt`);
}

/** What stands before the conversation. */
const preamble =
  (name: 'instructions' | 'system'): Probe =>
  async (trial, value) => {
    const without = await trial.greedy();
    if (isFinding(without)) return without;
    const outcome = await trial.ask({ [name]: value });
    return outcome.isFine ? inPrompt(outcome, without, 'it is') : refusal(outcome);
  };

/** As the application has it: some servers take tools only with it. */
const choiceOf = ({ body }: Trial) => (body['tool_choice'] === undefined ? {} : { tool_choice: body['tool_choice'] });

const toolChoice: Probe = async (trial, value) => {
  const kind = isObject(value) ? value['type'] : value; // Anthropic's are objects
  if (kind === 'auto') return unknown('auto is what holds without it');
  const { tools } = trial.body;
  if (!Array.isArray(tools)) return unknown('the request has no tools');
  const outcome = await trial.ask({ tools, tool_choice: value, [trial.limitName]: callTokens });
  if (!outcome.isFine) return refusal(outcome);
  const isCalled = outcome.choices.some(({ calls }) => calls.length > 0);
  if (kind !== 'none') {
    if (isCalled) return honoured('there is a call');
    return outcome.choices[0]?.finishReason === 'length' ? unknown('the answer is cut off') : ignored('there is no call');
  }
  if (isCalled) return ignored('there is a call all the same');
  const free = await trial.ask({ tools, [trial.limitName]: callTokens });
  return free.choices.some(({ calls }) => calls.length > 0)
    ? honoured('no call, where there is one without it')
    : unknown('no call without it either');
};

export const formProbes: Readonly<Record<string, Probe>> = {
  n,
  best_of: bestOf,
  stream,
  stream_options: streamOptions,
  logprobs,
  top_logprobs: topLogprobs,
  response_format: responseFormat,
  structured_outputs: heldTo('structured_outputs', { choice: [password] }, isPassword),
  guided_choice: heldTo('guided_choice', [password], isPassword),
  guided_regex: heldTo('guided_regex', password, isPassword),
  guided_json: heldTo('guided_json', passwordSchema, isPasswordObject),
  echo,
  tools,
  tool_choice: toolChoice,
};

export const responsesFormProbes: Readonly<Record<string, Probe>> = {
  stream,
  tools,
  tool_choice: toolChoice,
  text: textFormat,
  instructions: preamble('instructions'),
};
export const messagesFormProbes: Readonly<Record<string, Probe>> = { stream, tools, tool_choice: toolChoice, system: preamble('system') };
