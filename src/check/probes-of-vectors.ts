/** Probes of parameters that show in the vectors of /v1/embeddings. */
import { isObject } from '../api/json-object.js';
import type { Outcome } from './outcome.js';
import { honoured, ignored, type Probe, refusal, unknown } from './trial.js';

/** null: there is none. */
function firstVector({ answer }: Outcome): unknown {
  const data = isObject(answer.body) ? answer.body['data'] : null;
  const first = Array.isArray(data) ? data[0] : null;
  return isObject(first) ? first['embedding'] : null;
}

const lengthOf = (outcome: Outcome): number => {
  const vector = firstVector(outcome);
  return Array.isArray(vector) ? vector.length : 0;
};

const dimensions: Probe = async (trial, value) => {
  const whole = await trial.ask();
  if (!whole.isFine) return refusal(whole);
  if (lengthOf(whole) === value) return unknown(`${value} is what holds without it`);
  const outcome = await trial.ask({ dimensions: value });
  if (!outcome.isFine) return refusal(outcome);
  const found = lengthOf(outcome);
  return found === value ? honoured(`${found} numbers for ${value}`) : ignored(`${found} numbers for ${value}`);
};

const encodingFormat: Probe = async (trial, value) => {
  if (value === 'float') return unknown('float is what holds without it');
  const outcome = await trial.ask({ encoding_format: value });
  if (!outcome.isFine) return refusal(outcome);
  return typeof firstVector(outcome) === 'string' ? honoured('the vector is text') : ignored('the vector is no text');
};

export const vectorProbes: Readonly<Record<string, Probe>> = { dimensions, encoding_format: encodingFormat };
