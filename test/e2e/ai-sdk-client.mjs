/**
 * The Vercel AI SDK against a running server: its provider for OpenAI-compatible servers, over chat completions, and that for OpenAI, over
 * these and responses; of a model that gives vectors, its embeddings. A model that was trained for neither tools nor JSON serves, since both are forced.
 *
 *     node --test ai-sdk-client.mjs      LOCKSTEP_TEST_URL: http://host:port/v1
 *
 * Needs the packages ai, @ai-sdk/openai-compatible, @ai-sdk/openai and zod, which are looked for beside this file.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, embed, embedMany, generateObject, generateText, isStepCount, streamObject, streamText, tool } from 'ai';
import { z } from 'zod';

const baseURL = process.env.LOCKSTEP_TEST_URL;
const model = (await (await fetch(`${baseURL}/models`)).json()).data[0].id;
const { is_generation: generates } = await (await fetch(new URL('/get_model_info', baseURL))).json();

const asked = { prompt: 'What is Lockstep?', temperature: 0, maxOutputTokens: 24, maxRetries: 0 };
/** Lists and texts are short, so that an answer made at random ends within its tokens. */
const city = z.object({ name: z.string().max(12), inhabitants: z.number().int().min(0).max(99), kind: z.enum(['port', 'capital']) });
const weather = () => {
  const seen = [];
  const execute = async (input) => {
    seen.push(input);
    return { celsius: 21 };
  };
  return { seen, tools: { weather: tool({ description: 'the weather', inputSchema: z.object({ city: z.string().max(12) }), execute }) } };
};

/** By the names of both providers. */
const oneCall = { openai: { parallelToolCalls: false }, lockstep: { parallel_tool_calls: false } };
const compatible = createOpenAICompatible({
  name: 'lockstep',
  baseURL,
  apiKey: 'none',
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const openai = createOpenAI({ baseURL, apiKey: 'none' });
const providers = {
  'openai-compatible': () => compatible(model),
  'openai, chat': () => openai.chat(model),
  'openai, responses': () => openai.responses(model),
};

for (const [name, provider] of Object.entries(providers)) {
  describe(name, { skip: !generates }, () => {
    test('whole and streamed text are equal', async () => {
      const whole = await generateText({ model: provider(), ...asked });
      const stream = streamText({ model: provider(), ...asked });
      let text = '';
      for await (const delta of stream.textStream) text += delta;
      assert.notEqual(text, '');
      assert.equal(text, whole.text);
      assert.equal(await stream.finishReason, whole.finishReason);
      const [usage, streamed] = [whole.usage, await stream.usage];
      assert.ok(usage.inputTokens > 0 && usage.outputTokens > 0 && usage.outputTokens <= 24);
      assert.deepEqual([streamed.inputTokens, streamed.outputTokens], [usage.inputTokens, usage.outputTokens]);
    });

    test('a tool is called, its result goes back, and the next step sees it', async () => {
      const { seen, tools } = weather();
      const { steps } = await generateText({
        ...asked,
        model: provider(),
        maxOutputTokens: 100,
        tools,
        toolChoice: 'required',
        providerOptions: oneCall,
        stopWhen: isStepCount(2),
      });
      assert.equal(steps.length, 2);
      for (const { finishReason, toolResults } of steps) {
        assert.equal(finishReason, 'tool-calls');
        assert.deepEqual(toolResults[0].output, { celsius: 21 });
      }
      assert.ok(seen.every(({ city }) => typeof city === 'string' && city.length <= 12));
      assert.ok(steps[1].usage.inputTokens > steps[0].usage.inputTokens);
    });

    test('a streamed call comes in pieces and is whole at its end', async () => {
      const { seen, tools } = weather();
      const stream = streamText({
        ...asked,
        model: provider(),
        maxOutputTokens: 100,
        tools,
        toolChoice: { type: 'tool', toolName: 'weather' },
      });
      let pieces = '';
      for await (const part of stream.stream) if (part.type === 'tool-input-delta') pieces += part.delta;
      const [call] = await stream.toolCalls;
      assert.deepEqual(JSON.parse(pieces), call.input);
      assert.deepEqual(seen, [call.input]);
    });

    test('an object is of its schema, whole and streamed', async () => {
      const request = { ...asked, model: provider(), maxOutputTokens: 200, schema: city };
      const { object } = await generateObject(request);
      city.parse(object);
      const stream = streamObject(request);
      for await (const _ of stream.partialObjectStream);
      assert.deepEqual(await stream.object, object);
    });

    test('an error has its status and its words', async () => {
      const refused = generateText({ model: provider(), ...asked, temperature: 9 });
      await assert.rejects(refused, (error) => {
        assert.ok(APICallError.isInstance(error), String(error));
        assert.equal(error.statusCode, 400);
        assert.match(error.message, /temperature/);
        return true;
      });
    });

    test('an aborted stream ends', async () => {
      const abort = new AbortController();
      const stream = streamText({ model: provider(), ...asked, temperature: 1, maxOutputTokens: 900, abortSignal: abort.signal });
      let parts = 0;
      for await (const part of stream.stream) {
        if (part.type === 'text-delta' && ++parts === 3) abort.abort();
        if (part.type === 'abort') return;
      }
      assert.fail('the stream ended by itself');
    });
  });
}

test('embeddings, alone and among others', { skip: generates }, async () => {
  for (const provider of [compatible.embeddingModel(model), openai.embedding(model)]) {
    const values = ['the river', 'The old mill stands near the river bank.'];
    const { embeddings, usage } = await embedMany({ model: provider, values, maxRetries: 0 });
    assert.ok(usage.tokens > 0);
    assert.deepEqual((await embed({ model: provider, value: values[1], maxRetries: 0 })).embedding, embeddings[1]);
  }
});
