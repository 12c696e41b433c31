/**
 * What one writes first in Node: fastify's routing and body parsing, node:http underneath, a JSON.stringify and a `write` for each token. Prompt, ids
 * and text are made by the same code as Lockstep's, so that the rows differ by the way to the socket alone.
 */
import type { AddressInfo } from 'node:net';
import fastify from 'fastify';
import type { ServedModel } from '../../src/api/served-model.js';
import type { ChatMessage } from '../../src/chat/template.js';
import { generate } from '../../src/engine/output.js';
import { endsByLength, neutralSampling } from '../../src/sampling/params.js';

interface Body {
  readonly messages: readonly ChatMessage[];
  readonly max_tokens: number;
}

export async function listenPlain({ tokenizer, template, engine, names }: ServedModel): Promise<{ port: number; close(): Promise<void> }> {
  const app = fastify();
  let numRequests = 0;
  app.post<{ Body: Body }>('/v1/chat/completions', async (request, reply) => {
    const { messages, max_tokens: maxTokens } = request.body;
    const text = template!.render(messages, { addGenerationPrompt: true, continueFinalMessage: false });
    const promptTokens = await tokenizer.encode(text, { addSpecialTokens: false });
    const id = `chatcmpl-${++numRequests}`;
    const created = Math.floor(Date.now() / 1000);
    reply.hijack();
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' });
    const send = (delta: object, finish_reason: string | null) => {
      const choices = [{ index: 0, delta, logprobs: null, finish_reason, token_ids: null }];
      reply.raw.write(`data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created, model: names[0], choices })}\n\n`);
    };
    const generation = { id, promptTokens, sampling: neutralSampling, stop: endsByLength(maxTokens), priority: 0, cacheSalt: null };
    generate(
      engine,
      tokenizer,
      generation,
      { skipSpecialTokens: true },
      {
        prompt: () => send({ role: 'assistant', content: '' }, null),
        delta: ({ text: content, finishReason }) => send({ content }, finishReason),
        closed: () => reply.raw.end('data: [DONE]\n\n'),
      },
    );
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  return { port: (app.server.address() as AddressInfo).port, close: () => app.close() };
}
