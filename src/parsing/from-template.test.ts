import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Render, toolFormatOf } from './from-template.js';

interface Call {
  readonly function: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> };
}

/** A template in the usual frame, which prints calls as `print` says. */
const framed =
  (print: (calls: readonly Call[]) => string): Render =>
  (messages, { addGenerationPrompt }) => {
    const turns = (messages as readonly { role: string; content: string; tool_calls?: readonly Call[] }[]).map(
      ({ role, content, tool_calls: calls }) => `<|${role}|>\n${content}${calls === undefined ? '' : print(calls)}<|end|>\n`,
    );
    return turns.join('') + (addGenerationPrompt ? '<|assistant|>\n' : '');
  };
const json = ({ function: { name, arguments: args } }: Call) => JSON.stringify({ name, arguments: args });

const jsonCalls = { open: '', nameEnd: '', arguments: { kind: 'json' }, separator: '', close: '' } as const;

test('a list of objects between markers', () => {
  const format = toolFormatOf(
    '',
    framed((calls) => `<calls>[${calls.map(json).join(', ')}]</calls><|also|>`),
  )!;
  assert.deepEqual([format.name, format.opens, format.closes, format.bare], ['generic', ['<calls>'], ['</calls>'], undefined]);
  assert.deepEqual(format.written, { ...jsonCalls, begin: '<calls>[{"name":"', nameEnd: '","arguments":', end: '}]</calls>' });
});

test('names and values between markers', () => {
  const parameter = ([key, value]: [string, unknown]) => `<key>${key}</key>\n<value>${value}</value>`;
  const print = ({ function: { name, arguments: args } }: Call) =>
    `<call>${name}\n${Object.entries(args).map(parameter).join('\n')}\n</call>`;
  const format = toolFormatOf(
    '',
    framed((calls) => calls.map(print).join('\n')),
  )!;
  assert.deepEqual(format.calls, [
    {
      kind: 'named',
      begin: '<call>',
      nameEnd: '',
      arguments: { begin: '<key>', keyEnd: '</key>\n<value>', end: '</value>' },
      end: '</call>',
    },
  ]);
  const args = { kind: 'parameters', begin: '\n<key>', keyEnd: '</key>\n<value>', end: '</value>' } as const;
  assert.deepEqual(format.written, { ...jsonCalls, begin: '<call>', nameEnd: '', arguments: args, end: '\n</call>', separator: '\n' });
});

test('names between markers, arguments as JSON', () => {
  const print = ({ function: { name, arguments: args } }: Call) => `<do ${name}>${JSON.stringify(args)}</do>`;
  const format = toolFormatOf(
    '',
    framed((calls) => `<all>${calls.map(print).join('')}</all>`),
  )!;
  assert.deepEqual([format.opens, format.closes], [['<all>'], ['</all>']]);
  assert.deepEqual(format.written, { ...jsonCalls, begin: '<all><do ', nameEnd: '>', end: '</do></all>' });
});

test('a row that reads what the template prints goes before that', () => {
  const print = (calls: readonly Call[]) => calls.map((call) => `<tool_call>\n${json(call)}\n</tool_call>`).join('\n');
  assert.equal(toolFormatOf('…<tool_call>…', framed(print))?.name, 'hermes');
  assert.equal(
    toolFormatOf(
      '…<tool_call>…',
      framed((calls) => `<tool_calls>${calls.map(json).join('')}</tool_calls>`),
    )?.name,
    'generic',
  );
});

test('a template that prints no calls: by what it tells the model, else the common format', () => {
  assert.equal(
    toolFormatOf(
      '…[TOOL_CALLS]…',
      framed(() => ''),
    )?.name,
    'mistral',
  );
  assert.equal(
    toolFormatOf(
      '',
      framed(() => ''),
    )?.name,
    'hermes',
  );
  const refusing: Render = () => {
    throw new Error('no tools here');
  };
  assert.equal(toolFormatOf('', refusing)?.name, 'hermes');
});

test('calls that cannot be told apart have no format', () => {
  assert.equal(
    toolFormatOf(
      '',
      framed((calls) => calls.map(({ function: { name } }) => `I call ${name}.`).join(' ')),
    ),
    null,
  );
});
