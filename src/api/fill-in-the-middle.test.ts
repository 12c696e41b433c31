import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GenerationRequest } from '../engine/request.js';
import { FakeEngine, FakeTokenizer, fakeModel } from './fake-engine.js';
import { middleFormat } from './fill-in-the-middle.js';
import { createServer } from './server.js';

/** Bytes, and StarCoder's markers as one token each. */
class CodeTokenizer extends FakeTokenizer {
  readonly markers = ['<fim_prefix>', '<fim_suffix>', '<fim_middle>', '<file_sep>'];

  override encode(text: string): Int32Array {
    const parts = text.split(/(<fim_prefix>|<fim_suffix>|<fim_middle>|<file_sep>)/).filter((part) => part !== '');
    return Int32Array.from(
      parts.flatMap((part) => (this.markers.includes(part) ? [1 + this.markers.indexOf(part)] : [...Buffer.from(part)])),
    );
  }
}

test('the family is told by its markers', async () => {
  const format = await middleFormat(new CodeTokenizer());
  assert.equal(format!.prompt('a', 'b'), '<fim_prefix>a<fim_suffix>b<fim_middle>');
  assert.deepEqual(format!.endIds, [4]);
  assert.equal(await middleFormat(new FakeTokenizer()), null);
});

test('suffix: the prompt is put around the middle, and the middle ends with the file', async () => {
  const seen: GenerationRequest[] = [];
  const engine = new FakeEngine({
    nextId(request, _choice, position) {
      if (position === 0) seen.push(request);
      return position < 2 ? 120 : 4;
    },
  });
  const send = async (model: Parameters<typeof fakeModel>[1], body: object) => {
    const server = await createServer({ host: '127.0.0.1', port: 0 });
    server.setModel(fakeModel(engine, model));
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    const answer = await (await fetch(`http://127.0.0.1:${server.port}/v1/completions`, init)).json();
    await server.close();
    return answer as { choices: { text: string; finish_reason: string; stop_reason: null }[]; error: { param: string; message: string } };
  };
  const code = { tokenizer: new CodeTokenizer() };
  const { choices } = await send(code, { prompt: 'f(', suffix: ')', echo: true });
  assert.deepEqual([...seen[0]!.promptTokens], [1, 102, 40, 2, 41, 3]);
  assert.deepEqual([choices[0]!.text, choices[0]!.finish_reason, choices[0]!.stop_reason], ['f(xx', 'stop', null]);
  assert.equal((await send(code, { prompt: [1, 2], suffix: ')' })).error.param, 'suffix');
  assert.equal((await send(code, { prompt: 'f(', suffix: ')', truncate_prompt_tokens: 2 })).error.param, 'truncate_prompt_tokens');
  assert.match((await send({}, { prompt: 'f(', suffix: ')' })).error.message, /^suffix is only supported for models with FIM/);
});
