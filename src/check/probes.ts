/** How it is shown for each parameter whether it has an effect. What has no row here is told by `probeAnything`. */
import { isObject } from '../api/json-object.js';
import { findFault } from '../api/schema.js';
import type { Route } from './dialect.js';
import { saidIn } from './outcome.js';
import { formProbes, messagesFormProbes, responsesFormProbes } from './probes-of-form.js';
import { vectorProbes } from './probes-of-vectors.js';
import { type Finding, honoured, hotTries, ignored, isFinding, type Probe, refusal, type Trial, unknown } from './trial.js';

/** Throws NoAnswer. */
export async function probe(trial: Trial, name: string, value: unknown): Promise<Finding> {
  const own = probesOf[trial.route][name];
  const found = own === undefined ? unknown('') : await own(trial, value);
  // Where its effect does not show, whether its value is looked at may.
  return found.verdict === 'cannot be told' ? probeAnything(trial, name, value, found.because) : found;
}

const temperature: Probe = async (trial) => {
  const lively = await trial.lively();
  return isFinding(lively) ? lively : honoured(`temperature ${trial.hot.temperature} has another answer than 0`);
};

/** Where nothing is drawn, what narrows or steers the drawing has no effect that could be seen. */
const notDrawn = ({ because }: Finding) => unknown(`nothing is drawn: ${because}`);

/** A value that leaves nothing but the likeliest token, however hot. */
const narrowing =
  (name: string, narrowest: number): Probe =>
  async (trial) => {
    const lively = await trial.lively();
    if (isFinding(lively)) return notDrawn(lively);
    const said = await trial.several({ ...lively.question, ...trial.hot, [name]: narrowest });
    if (isFinding(said)) return said;
    return said.every((each) => each === lively.cold)
      ? honoured(`with ${narrowest} the answer is that of temperature 0, however hot`)
      : ignored(`with ${narrowest} the answers are as different as without`);
  };

const seed: Probe = async (trial) => {
  const lively = await trial.lively();
  if (isFinding(lively)) return notDrawn(lively);
  const drawn = { ...lively.question, ...trial.hot };
  const same = await trial.several({ ...drawn, seed: 1 });
  if (isFinding(same)) return same;
  if (new Set(same).size > 1) return ignored(`${hotTries} requests with one seed have different answers`);
  const other = await trial.ask({ ...drawn, seed: 2 });
  if (!other.isFine) return refusal(other);
  return saidIn(other) === same[0] ? unknown('two seeds have one answer') : honoured('one seed has one answer, another seed another');
};

const model: Probe = async (trial) => {
  const other = await trial.ask({ model: 'lockstep-check-no-such-model' });
  if (other.isFine) return ignored('a model that is none is answered too');
  return other.isRefused ? honoured(`another one is refused: ${other.message}`) : refusal(other);
};

const question: Probe = async (trial) => {
  const cold = await trial.greedy();
  if (isFinding(cold)) return cold;
  const other = await trial.ask(trial.asking('Count from one to ten, and then back to one.'));
  if (!other.isFine) return refusal(other);
  const isSame = saidIn(other) === saidIn(cold) && other.promptTokens === cold.promptTokens;
  return isSame ? ignored('another question has the same answer') : honoured('another question has another answer');
};

const limit: Probe = async (trial) => {
  const few = Math.max(2, trial.limitMin);
  const short = await trial.ask({ [trial.limitName]: few });
  if (!short.isFine) return refusal(short);
  const { completionTokens, choices } = short;
  if (completionTokens === null) return unknown('the answer does not say how many tokens it has');
  if (completionTokens > few) return ignored(`${completionTokens} tokens, where ${few} are allowed`);
  return choices[0]?.finishReason === 'length' ? honoured(`${few} tokens, and the reason length`) : unknown('the answer is shorter anyway');
};

const stop =
  (name: 'stop' | 'stop_sequences'): Probe =>
  async (trial) => {
    const cold = await trial.greedy();
    if (isFinding(cold)) return cold;
    const text = cold.choices[0]?.text ?? '';
    const word = text.match(/(?<=[^\p{L}])\p{L}{2,}/u)?.[0];
    if (word === undefined) return unknown('the answer has no second word to stop at');
    const stopped = await trial.ask({ [name]: [word] });
    if (!stopped.isFine) return refusal(stopped);
    const rest = stopped.choices[0]?.text ?? '';
    if (rest.trimEnd() === text.slice(0, text.indexOf(word)).trimEnd()) return honoured(`the answer ends before '${word}'`);
    return rest.includes(word) ? ignored(`the answer goes on behind '${word}'`) : unknown('the answer is another one');
  };

const badWords: Probe = async (trial) => {
  const cold = await trial.greedy();
  if (isFinding(cold)) return cold;
  const word = cold.choices[0]?.text.match(/\p{L}{2,}/u)?.[0];
  if (word === undefined) return unknown('the answer has no word to forbid');
  const without = await trial.ask({ bad_words: [word] });
  if (!without.isFine) return refusal(without);
  return without.choices[0]?.text.includes(word) ? ignored(`the answer has '${word}' all the same`) : honoured(`no '${word}' any more`);
};

const logitBias: Probe = async (trial, value) => {
  const cold = await trial.greedy();
  if (isFinding(cold)) return cold;
  const strongest = 100;
  let last = unknown('it names no token');
  for (const id of isObject(value) ? Object.keys(value).slice(0, 2) : []) {
    const biased = await trial.ask({ logit_bias: { [id]: strongest } });
    if (!biased.isFine) return refusal(biased);
    if (saidIn(biased) !== saidIn(cold)) return honoured(`with ${strongest} for token ${id} the answer is another one`);
    last = ignored(`with ${strongest} for token ${id} the answer is the same`);
  }
  return last;
};

const penaltyTokens = 48;

/**
 * `repeatsThatTell`: a word that comes so often in an answer, and in the same one for both values, would have been pushed out of it. What
 * is added once for a word, however often it comes, may be too little for that.
 */
const penalty =
  (name: string, low: number, high: number, repeatsThatTell: number): Probe =>
  async (trial) => {
    const cold = await trial.greedy();
    if (isFinding(cold)) return cold;
    const long = { [trial.limitName]: penaltyTokens };
    const [mild, strong] = [await trial.ask({ ...long, [name]: low }), await trial.ask({ ...long, [name]: high })];
    if (!mild.isFine || !strong.isFine) return refusal(mild.isFine ? strong : mild);
    if (saidIn(mild) !== saidIn(strong)) return honoured(`${high} has another answer than ${low}`);
    const words = mild.choices[0]?.text.split(/\s+/) ?? [];
    const isTelling = words.some((word) => words.filter((each) => each === word).length >= repeatsThatTell);
    return isTelling
      ? ignored(`${high} and ${low} have one answer, with a word in it again and again`)
      : unknown(`${high} and ${low} have one answer, as they may`);
  };

type Probes = Readonly<Record<string, Probe>>;

const drawn: Probes = {
  temperature,
  top_p: narrowing('top_p', 1e-6),
  top_k: narrowing('top_k', 1),
  min_p: narrowing('min_p', 1),
  seed,
  model,
};

const texts: Probes = {
  ...drawn,
  messages: question,
  prompt: question,
  max_tokens: limit,
  max_completion_tokens: limit,
  stop: stop('stop'),
  bad_words: badWords,
  logit_bias: logitBias,
  presence_penalty: penalty('presence_penalty', -2, 2, Number.POSITIVE_INFINITY),
  frequency_penalty: penalty('frequency_penalty', -2, 2, 8),
  repetition_penalty: penalty('repetition_penalty', 0.5, 2, 4),
  ...formProbes,
};

const probesOf: Readonly<Record<Route, Probes>> = {
  chat: texts,
  completions: texts,
  responses: { ...drawn, input: question, max_output_tokens: limit, ...responsesFormProbes },
  messages: { ...drawn, messages: question, max_tokens: limit, stop_sequences: stop('stop_sequences'), ...messagesFormProbes },
  embeddings: { model, input: question, ...vectorProbes },
};

/** Every field but one that takes anything has one of them that is not of its type. */
const wrongTypes: readonly unknown[] = [{ lockstep_check: [] }, [[]], 'lockstep check'];

/** Without knowing what it is for: does the answer depend on it, and does anybody look at its value? */
async function probeAnything(trial: Trial, name: string, value: unknown, seen: string): Promise<Finding> {
  const cold = await trial.greedy();
  const because = (text: string) => [seen, text].filter((each) => each !== '').join('; ');
  if (isFinding(cold)) return unknown(because(cold.because));
  const given = await trial.ask({ [name]: value });
  if (given.isFine && saidIn(given) !== saidIn(cold)) {
    // Once more: a server may say two things now and then.
    const isSteady = saidIn(await trial.askAgain({ [name]: value })) === saidIn(given) && saidIn(await trial.askAgain()) === saidIn(cold);
    return isSteady ? honoured('without it the answer is another one') : unknown(because('the server says two things to one request'));
  }
  const field = trial.field(name);
  if (field === undefined && given.isFine) return ignored('no API documents it, and without it the answer is the same');
  const wrong = wrongTypes.find((each) => field === undefined || findFault(field.schema, each) !== null);
  if (wrong === undefined || !(await trial.checksTypes())) return unknown(because('the answer is the same without it, as it may be'));
  const odd = await trial.ask({ [name]: wrong });
  if (!odd.isFine && !odd.isRefused) return unknown(because(odd.message));
  return odd.isFine
    ? ignored(because('a value of a wrong type is taken, which is refused elsewhere'))
    : unknown(because('its value is looked at, what it does is not seen'));
}
