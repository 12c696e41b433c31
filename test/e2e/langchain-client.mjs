/**
 * LangChain.js against a running server: chat completions, responses and completions, streams, tools, structured output; of a model that gives
 * vectors, its embeddings.
 *
 *     node --test langchain-client.mjs      LOCKSTEP_TEST_URL: http://host:port/v1
 *
 * Needs the packages @langchain/openai, @langchain/core and zod, which are looked for beside this file.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HumanMessage, SystemMessage, ToolMessage } from '@langchain/core/messages';
import { StringOutputParser } from '@langchain/core/output_parsers';
import { ChatPromptTemplate } from '@langchain/core/prompts';
import { tool } from '@langchain/core/tools';
import { ChatOpenAI, OpenAI, OpenAIEmbeddings } from '@langchain/openai';
import { z } from 'zod';

const baseURL = process.env.LOCKSTEP_TEST_URL;
const model = (await (await fetch(`${baseURL}/models`)).json()).data[0].id;
const { is_generation: generates } = await (await fetch(new URL('/get_model_info', baseURL))).json();

const configuration = { baseURL };
const greedy = { model, apiKey: 'none', configuration, temperature: 0, maxRetries: 0 };
const chat = (fields = {}) => new ChatOpenAI({ ...greedy, maxTokens: 24, ...fields });
const messages = [new SystemMessage('You are a guide.'), new HumanMessage('What is Lockstep?')];

/** Texts are short, so that an answer made at random ends within its tokens. */
const city = z.object({ name: z.string().max(12), inhabitants: z.number().int().min(0).max(99), kind: z.enum(['port', 'capital']) });
const weather = tool(async ({ city: where }) => `21 degrees in ${where}`, {
  name: 'weather',
  description: 'the weather of a city',
  schema: z.object({ city: z.string().max(12) }),
});

for (const [api, fields] of Object.entries({ 'chat completions': {}, responses: { useResponsesApi: true } })) {
  describe(api, { skip: !generates }, () => {
    test('invoke and stream say the same', async () => {
      const whole = await chat(fields).invoke(messages);
      assert.notEqual(whole.text, '');
      let streamed;
      for await (const chunk of await chat(fields).stream(messages)) streamed = streamed === undefined ? chunk : streamed.concat(chunk);
      assert.equal(streamed.text, whole.text);
      assert.ok(whole.usage_metadata.input_tokens > 0 && whole.usage_metadata.output_tokens <= 24);
      assert.equal(streamed.usage_metadata.output_tokens, whole.usage_metadata.output_tokens);
    });

    test('batches, and chains of a prompt, the model and a parser', async () => {
      const chain = ChatPromptTemplate.fromMessages([['user', '{question}']])
        .pipe(chat(fields))
        .pipe(new StringOutputParser());
      const questions = ['What is Lockstep?', 'What is a rank?'].map((question) => ({ question }));
      assert.deepEqual(await chain.batch(questions), await Promise.all(questions.map((question) => chain.invoke(question))));
    });

    test('a tool is called, and its result goes back', async () => {
      const bound = chat({ ...fields, maxTokens: 100 }).bindTools([weather], { tool_choice: 'weather' });
      const answer = await bound.invoke(messages);
      const [call] = answer.tool_calls;
      assert.equal(call.name, 'weather');
      const result = await weather.invoke(call);
      assert.ok(ToolMessage.isInstance(result));
      const next = await chat(fields).invoke([...messages, answer, result]);
      assert.ok(next.usage_metadata.input_tokens > answer.usage_metadata.input_tokens);
      let streamed;
      for await (const chunk of await bound.stream(messages)) streamed = streamed === undefined ? chunk : streamed.concat(chunk);
      assert.deepEqual(streamed.tool_calls[0].args, call.args);
    });

    test('structured output is of its schema, by JSON Schema and by a call', async () => {
      for (const method of ['jsonSchema', 'functionCalling']) {
        const structured = chat({ ...fields, maxTokens: 200 }).withStructuredOutput(city, { name: 'city', method, strict: true });
        city.parse(await structured.invoke(messages));
      }
    });

    test('an error has its status', async () => {
      await assert.rejects(
        chat({ ...fields, temperature: 9 }).invoke(messages),
        (error) => error.status === 400 && /temperature/.test(error.message),
      );
      await assert.rejects(chat({ ...fields, model: 'none' }).invoke(messages), (error) => error.status === 404);
    });
  });
}

test('completions, whole and streamed', { skip: !generates }, async () => {
  const llm = new OpenAI({ ...greedy, maxTokens: 8 });
  const whole = await llm.invoke('Lockstep is');
  let text = '';
  for await (const piece of await llm.stream('Lockstep is')) text += piece;
  assert.notEqual(text, '');
  assert.equal(text, whole);
});

test('embeddings, alone and among others', { skip: generates }, async () => {
  const embeddings = new OpenAIEmbeddings({ model, apiKey: 'none', configuration, maxRetries: 0 });
  const [river, mill] = await embeddings.embedDocuments(['the river', 'The old mill stands near the river bank.']);
  assert.deepEqual(await embeddings.embedQuery('the river'), river);
  assert.equal(river.length, mill.length);
});
