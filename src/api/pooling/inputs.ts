/** What is to be pooled, as token ids: texts, ids, a conversation or pairs of texts, cut to length where that is asked for. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Pooler } from '../../engine/pooler.js';
import { LockstepError } from '../../errors.js';
import { parseConversation } from '../chat-request.js';
import type { Serving } from '../context.js';
import { promptTooLong, type Truncation } from '../context-limit.js';
import { ClientGone, type Exchange } from '../exchange.js';
import { wrongType } from '../fields.js';
import { flagOf, type Present } from '../generation.js';
import type { JsonObject } from '../json-object.js';
import { checkVocabulary, truncated } from '../prepare.js';
import { inputsMax } from './fields.js';

/** One input. */
export interface PoolPrompt {
  readonly ids: Int32Array;
  /** Where the second of a pair of texts begins, for models that are told; null: nowhere. */
  readonly secondSegment: number | null;
}

/** Text encoded before other clients get a turn: about two milliseconds. */
const charsAtATime = 16_384;

/** Encodes the texts and ids of one request. */
export class InputReader {
  readonly #serving: Serving;
  readonly #exchange: Exchange;
  readonly #cut: Truncation | null;
  readonly #pooler: Pooler;
  #chars = 0;

  constructor(serving: Serving, pooler: Pooler, exchange: Exchange, body: JsonObject) {
    this.#serving = serving;
    this.#exchange = exchange;
    this.#pooler = pooler;
    this.#cut = parseCut(body, serving.model.maxModelLen);
  }

  /** The fields `input` and `messages`. Throws for one that is empty, too long or outside the vocabulary. */
  async read(body: JsonObject): Promise<PoolPrompt[]> {
    if (body['messages'] !== null && body['messages'] !== undefined) return [single(await this.#conversation(body))];
    const input = body['input'] as Present<string | readonly (string | number | readonly number[])[]>;
    if (input === null || input === undefined) throw wrongType('input', 'given, or messages');
    const isOne = typeof input === 'string' || typeof input[0] === 'number';
    const items = (isOne ? [input] : input) as readonly (string | readonly number[])[];
    if (items.length === 0) throw new LockstepError('invalid_value', 'You must pass at least one input', { param: 'input' });
    checkNumber(items.length, 'input');
    const addSpecialTokens = flagOf(body, 'add_special_tokens', true);
    const prompts: PoolPrompt[] = [];
    for (const item of items) prompts.push(single(typeof item === 'string' ? await this.text(item, addSpecialTokens) : this.#ids(item)));
    return prompts;
  }

  async text(text: string, addSpecialTokens = true): Promise<Int32Array> {
    const whole = this.#pooler.spec.lowercase ? text.toLowerCase() : text;
    await this.#pause(whole.length);
    return this.#bounded(await this.#encode(this.#cut === null ? whole : this.#worth(whole, this.#cut), addSpecialTokens));
  }

  /** A pair as the model takes it: by the template that --chat-template gave, as two segments, or one text after the other. */
  async pair(text: string, pair: string): Promise<PoolPrompt> {
    const { preparer, model } = this.#serving;
    if (model.pairs === 'template') {
      const messages = [
        { role: 'query', content: text },
        { role: 'document', content: pair },
      ];
      const options = { addGenerationPrompt: false, continueFinalMessage: false };
      await this.#pause(text.length + pair.length);
      return single(this.#bounded(this.#cutIds(await preparer.encode({ kind: 'messages', messages, options, addSpecialTokens: true }))));
    }
    if (model.pairs === 'joined') return single(await this.text(text + pair));
    await this.#pause(text.length + pair.length);
    const lower = (one: string) => (this.#pooler.spec.lowercase ? one.toLowerCase() : one);
    const { ids, secondSegment } = await model.tokenizer.encodePair!(lower(text), lower(pair));
    return { ids: this.#bounded(this.#cutPair(ids, secondSegment)), secondSegment };
  }

  async #conversation(body: JsonObject): Promise<Int32Array> {
    const conversation = parseConversation({ ...body, add_generation_prompt: body['add_generation_prompt'] ?? false }, this.#serving.model);
    return this.#bounded(this.#cutIds(await this.#serving.preparer.encode({ kind: 'messages', ...conversation })));
  }

  #ids(ids: readonly number[]): Int32Array {
    return this.#bounded(this.#cutIds(Int32Array.from(ids)));
  }

  #bounded(ids: Int32Array): Int32Array {
    const { maxModelLen, vocabSize } = this.#serving.model;
    checkVocabulary(ids, vocabSize);
    if (ids.length === 0) throw new LockstepError('invalid_value', 'The input cannot be empty.', { param: 'input' });
    if (ids.length > maxModelLen) throw promptTooLong(maxModelLen);
    return ids;
  }

  /** No more of a text than its tokens that are kept could stand for. */
  #worth(text: string, { side }: Truncation): string {
    const most = this.#serving.preparer.charsMax();
    if (text.length <= most) return text;
    return side === 'right' ? text.slice(0, most) : text.slice(-most);
  }

  /** Where a text is cut, the tokenizer's frame around it stays. */
  async #encode(text: string, addSpecialTokens: boolean): Promise<Int32Array> {
    const { preparer } = this.#serving;
    const ids = await preparer.encode({ kind: 'text', text, addSpecialTokens });
    const cut = this.#cut;
    if (cut === null || ids.length <= cut.len) return ids;
    const bare = addSpecialTokens ? await preparer.encode({ kind: 'text', text, addSpecialTokens: false }) : ids;
    const first = placeOf(bare, ids);
    const room = Math.max(0, cut.len - (ids.length - bare.length));
    const kept = cut.side === 'right' ? bare.subarray(0, room) : bare.subarray(bare.length - room);
    return joined(ids.subarray(0, first), kept, ids.subarray(first + bare.length));
  }

  #cutIds(ids: Int32Array): Int32Array {
    return this.#cut === null ? ids : truncated(ids, this.#cut, this.#serving.model.tokenizer.bosTokenId);
  }

  /** The second text gives way; its last token is the frame's. */
  #cutPair(ids: Int32Array, secondSegment: number): Int32Array {
    if (this.#cut === null || ids.length <= this.#cut.len) return ids;
    const kept = Math.max(secondSegment, this.#cut.len - 1);
    return joined(ids.subarray(0, kept), ids.subarray(-1));
  }

  async #pause(chars: number): Promise<void> {
    this.#chars += chars;
    if (this.#chars > charsAtATime) {
      this.#chars = 0;
      await nextTurn();
    }
    if (this.#exchange.aborted) throw new ClientGone();
  }
}

export function checkNumber(count: number, param: string): void {
  if (count <= inputsMax) return;
  throw new LockstepError('invalid_value', `${param} has ${count} entries, and at most ${inputsMax} fit in one request.`, { param });
}

const single = (ids: Int32Array): PoolPrompt => ({ ids, secondSegment: null });

function parseCut(body: JsonObject, maxModelLen: number): Truncation | null {
  const asked = body['truncate_prompt_tokens'] as Present<number>;
  if (asked === null || asked === undefined) return null;
  if (asked === 0)
    throw new LockstepError('invalid_value', 'truncate_prompt_tokens must be -1 or at least 1, got 0.', {
      param: 'truncate_prompt_tokens',
    });
  if (asked > maxModelLen) {
    const message = `truncate_prompt_tokens value (${asked}) is greater than max_model_len (${maxModelLen}). Please, select a smaller truncation size.`;
    throw new LockstepError('invalid_value', message, { param: 'truncate_prompt_tokens' });
  }
  return { len: asked === -1 ? maxModelLen : asked, side: (body['truncation_side'] as Present<Truncation['side']>) ?? 'right' };
}

function joined(...parts: readonly Int32Array[]): Int32Array {
  const whole = new Int32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Where `part` stands in `whole`, which has a few tokens more at its ends. */
function placeOf(part: Int32Array, whole: Int32Array): number {
  for (let first = 0; first < whole.length - part.length; first++) if (part.every((id, i) => id === whole[first + i])) return first;
  return whole.length - part.length;
}
