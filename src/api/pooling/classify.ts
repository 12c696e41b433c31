/** POST /classify: the probabilities of a classifier's labels, for each input. */
import type { Context } from '../context.js';
import type { Exchange } from '../exchange.js';
import { responseId } from '../run.js';
import { classifyBody } from './fields.js';
import { InputReader } from './inputs.js';
import { activationOf, envelope, finishAll, pool, readPooling, tokensOf, usageOf } from './run.js';

export async function handleClassify(exchange: Exchange, context: Context): Promise<void> {
  const request = await readPooling(exchange, context, classifyBody, { name: 'Classification API', task: 'classify' });
  const { serving, body, pooler } = request;
  const prompts = await new InputReader(serving, pooler, exchange, body).read(body);
  const pooled = await pool(exchange, context, request, prompts);
  const options = { dimensions: null, activation: activationOf(body) };
  const data = (await finishAll(pooler, pooled, prompts, options)).map((vector, index) => {
    const probs = Array.from(vector);
    const label = pooler.spec.labels[probs.indexOf(Math.max(...probs))]!;
    return { index, label, probs, num_classes: probs.length };
  });
  const whole = {
    ...envelope(serving, responseId('classify', exchange, body)),
    data,
    usage: usageOf(tokensOf(prompts), pooled.cachedTokens, context),
  };
  exchange.reply(200, 'application/json', JSON.stringify(whole));
}
