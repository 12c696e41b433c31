/**
 * Every recorded request of vLLM is sent to a server over an engine that replays the recorded ids, with the real tokenizer and template:
 * status, error texts, keys, nulls, counts and chunks must be those recorded. What differs on purpose is listed in `scope.ts`.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { plainKeys } from '../../src/api/door/keys.js';
import { FakeEngine, fakeModel } from '../../src/api/fake-engine.js';
import { type MarkupOptions, ModelMarkup } from '../../src/api/model-markup.js';
import { createServer, type HttpServer, type ServerOptions } from '../../src/api/server.js';
import { createChatTemplate } from '../../src/chat/template.js';
import type { GenerationRequest } from '../../src/engine/request.js';
import { toolFormats } from '../../src/parsing/tool-formats.js';
import { loadTokenizer } from '../../src/tokenizer/load.js';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { sharedData } from '../shared-data.js';
import { compareDifference, compareShape, compareWhole, sendRecorded } from './compare.js';
import { type Json, type RecordedCase, readCases } from './recordings.js';
import { byShape, differences } from './scope.js';

const eosId = 2; // <|im_end|>
const key = 'token-abc123';

/** Texts of the answers that are lists of blocks, or of their deltas: /v1/messages and /v1/responses. */
function textsOfBlocks({ body, events }: RecordedCase['response']): string[] {
  const blocks: Json[] = body?.type === 'message' ? body.content : (body?.output ?? []).flatMap((item: Json) => item.content);
  const deltas = (events ?? []).map(({ delta }) => (typeof delta === 'string' ? delta : delta?.text)).filter((text) => text !== undefined);
  return [...blocks.map(({ text }) => text), ...deltas];
}

/** The ids of each recorded choice: its text, encoded, and what ended it where it stopped by itself. */
function recordedIds({ body, response }: RecordedCase, tokenizer: Tokenizer): number[][] {
  const choices: { text: string; calls: { name: string; args: string }[]; finish: string | null; stop: string | number | null }[] = [];
  const add = (choice: Json, text: string) => {
    const known = (choices[choice.index] ??= { text: '', calls: [], finish: null, stop: null });
    for (const { function: called } of choice.message?.tool_calls ?? choice.delta?.tool_calls ?? []) {
      if (called.name !== undefined) known.calls.push({ name: called.name, args: '' });
      known.calls.at(-1)!.args += called.arguments ?? '';
    }
    known.text += body?.prompt !== undefined && body.echo === true && known.text === '' ? text.slice(body.prompt.length) : text;
    known.finish ??= choice.finish_reason;
    known.stop ??= choice.stop_reason ?? null;
  };
  for (const choice of response.body?.choices ?? []) add(choice, choice.message?.content ?? choice.text ?? '');
  const chunks: number[][] = [];
  for (const event of response.events ?? []) {
    for (const choice of event.choices ?? []) {
      const text = choice.delta?.content ?? choice.text ?? '';
      add(choice, text);
      if (text !== '') (chunks[choice.index] ??= []).push(...(tokenizer.encode(text, { addSpecialTokens: false }) as Int32Array));
    }
  }
  for (const text of textsOfBlocks(response)) {
    add({ index: 0, finish_reason: 'length' }, text);
    if (response.events !== undefined) (chunks[0] ??= []).push(...(tokenizer.encode(text, { addSpecialTokens: false }) as Int32Array));
  }
  const maxTokens: number = body?.max_completion_tokens ?? body?.max_tokens ?? body?.max_output_tokens ?? 16;
  const encode = (text: string) => Array.from(tokenizer.encode(text, { addSpecialTokens: false }) as Int32Array);
  return choices.map(({ text: said, calls, finish, stop }, index) => {
    const text = said + calls.map(({ name, args }) => `<tool_call>\n{"name": "${name}", "arguments": ${args}}\n</tool_call>`).join('\n');
    if (chunks[index]?.length === maxTokens) return chunks[index];
    if (typeof stop === 'string') return encode(text + stop);
    return finish === 'stop' || calls.length > 0 ? [...encode(text), eosId] : cutInto(text, maxTokens, tokenizer);
  });
}

/** A sampled text may be cut into other tokens than its encoding: finds `count` tokens that make it. */
function cutInto(text: string, count: number, tokenizer: Tokenizer): number[] {
  const encode = (part: string) => tokenizer.encode(part, { addSpecialTokens: false }) as Int32Array;
  const whole = Array.from(encode(text));
  if (whole.length === count) return whole;
  const longest = 16;
  const deadEnds = new Set<string>();
  const from = (start: number, left: number): number[] | null => {
    if (start === text.length) return left === 0 ? [] : null;
    if (left === 0 || deadEnds.has(`${start} ${left}`)) return null;
    for (let end = Math.min(text.length, start + longest); end > start; end--) {
      const ids = encode(text.slice(start, end));
      const rest = ids.length === 1 ? from(end, left - 1) : null;
      if (rest !== null) return [ids[0]!, ...rest];
    }
    deadEnds.add(`${start} ${left}`);
    return null;
  };
  return from(0, count) ?? whole;
}

interface Recording {
  readonly file: string;
  readonly options: Partial<ServerOptions>;
  readonly names: readonly string[];
  readonly markup: MarkupOptions;
}

const recordings: readonly Recording[] = [
  { file: 'default-flags.json', options: {}, names: ['smol'], markup: {} },
  {
    file: 'tools-and-auth.json',
    options: {
      apiKeys: plainKeys([key]),
      forceIncludeUsage: true,
      promptTokensDetails: true,
      cors: { allowedOrigins: ['http://a.test'], allowedMethods: ['*'], allowedHeaders: ['*'], allowCredentials: false },
    },
    names: ['smol', 'alias2'],
    markup: { toolFormat: toolFormats.find(({ name }) => name === 'hermes')!, autoToolChoice: true },
  },
];

for (const { file, options, names, markup } of recordings) {
  describe(file, { skip: sharedData === null ? 'the shared data is not here' : false }, () => {
    let server: HttpServer;
    let tokenizer: Tokenizer;
    let replay: number[][] = [];
    const cases = sharedData === null ? [] : readCases(file);

    before(async () => {
      const folder = join(sharedData!, 'tokenizers', 'smollm2');
      const config = JSON.parse(readFileSync(join(folder, 'tokenizer_config.json'), 'utf8'));
      tokenizer = await loadTokenizer({ kind: 'huggingface', path: join(folder, 'tokenizer.json'), config });
      const engine = new FakeEngine({ nextId: (request, choice, position) => nextReplayed(request, choice, position) });
      server = await createServer({ host: '127.0.0.1', port: 0, ...options });
      server.setModel(
        fakeModel(engine, {
          names,
          root: 'SmolLM2-135M-Instruct',
          vocabSize: 49152,
          tokenizer,
          markup: new ModelMarkup(tokenizer, markup),
          template: createChatTemplate(config.chat_template, tokenizer),
          defaults: { eosTokenIds: [eosId] },
        }),
      );
    });
    after(() => server?.close());

    /** Prompts of one request come in order; each takes its own choices of the recording. */
    const seen = new Map<GenerationRequest, number>();
    const nextReplayed = (request: GenerationRequest, choice: number, position: number): number => {
      const prompt = seen.get(request) ?? seen.size;
      seen.set(request, prompt);
      return replay[prompt * request.sampling.n + choice]?.[position] ?? 28;
    };

    for (const recorded of cases) {
      const difference = differences[recorded.name];
      test(recorded.name, async () => {
        replay = recordedIds(recorded, tokenizer);
        seen.clear();
        const base = `http://127.0.0.1:${server.port}`;
        const answer = await sendRecorded(base, recorded, options.apiKeys === undefined ? null : key);
        const text = await answer.text();
        if (difference !== undefined) compareDifference(difference.expect, answer, text);
        else if (byShape.has(recorded.name)) compareShape(recorded, answer, text);
        else compareWhole(recorded, answer, text);
      });
    }
  });
}
