import assert from 'node:assert/strict';
import { test } from 'node:test';
import { benchServeCommand } from './bench-options.js';
import { helpOf, helpTopic, overview } from './help.js';
import { chatCommand, serveCommand, serveFlags } from './options.js';

const listed = (text: string) => [...text.matchAll(/^ {2}--(?:no-)?([a-z][\w-]*)/gm)].map(([, name]) => name);

test('the topic: after =, or as the next word', () => {
  assert.equal(helpTopic(['--port', '1']), null);
  assert.equal(helpTopic(['-h']), 'all');
  assert.equal(helpTopic(['model', '--help']), 'all');
  assert.equal(helpTopic(['--help=seed']), 'seed');
  assert.equal(helpTopic(['--help', 'seed']), 'seed');
  assert.equal(helpTopic(['--help', '--port']), 'all');
});

test('all flags stand in their groups, in lines that fit', () => {
  const text = helpOf(serveCommand, 'all', 100);
  const groups = [...new Set(serveFlags.map(({ group }) => group))];
  const inGroups = groups.flatMap((group) => serveFlags.filter((flag) => flag.group === group)).map(({ name }): string => name);
  assert.deepEqual(listed(text), [...inGroups, 'config', 'help']);
  for (const line of text.split('\n')) assert.ok(line.length <= 110, line);
  assert.match(text, /^ {2}--max-num-seqs N {15,}most sequences that run at once \(default: 256\)$/m);
  assert.match(text, /^ {2}--no-page .*do not serve the page at \//m);
  assert.match(text, /^ {2}--tool-call-parser NAME /m);
});

test('one flag is explained', () => {
  assert.equal(
    helpOf(serveCommand, 'max-num-seqs'),
    `--max-num-seqs N

  most sequences that run at once

  values        a whole number from 1 to 4096
  default       256
  environment   LOCKSTEP_MAX_NUM_SEQS
  in --config   max-num-seqs: 256
  group         Scheduler
`,
  );
  assert.match(helpOf(serveCommand, '--max_num_seqs'), /^--max-num-seqs N\n/);
  assert.match(helpOf(serveCommand, 'tp'), /^--tensor-parallel-size N\n[\s\S]* {2}also {10}-tp\n/);
  assert.match(helpOf(serveCommand, 'max-model-len'), / {2}values {8}auto or -1 or a whole number/);
  assert.match(helpOf(serveCommand, 'tool-call-parser'), / {2}values {8}auto, qwen3_coder, /);
  assert.match(helpOf(serveCommand, 'page'), /^--page, --no-page\n[\s\S]*default {7}on\n[\s\S]*page: false/);
  assert.match(helpOf(serveCommand, 'api-key'), /LOCKSTEP_API_KEY, VLLM_API_KEY\n/);
  assert.ok(!helpOf(chatCommand, 'system').includes('environment'));
});

test('a prefix, a part or a word lists several', () => {
  assert.deepEqual(listed(helpOf(serveCommand, 'max-num')), ['max-num-seqs', 'max-num-batched-tokens', 'max-num-queued-reqs']);
  assert.deepEqual(listed(helpOf(serveCommand, 'prefill')), ['enable-chunked-prefill', 'long-prefill-token-threshold']);
  assert.match(helpOf(serveCommand, 'maxnumseq'), /^--max-num-seqs N/);
  assert.ok(listed(helpOf(serveCommand, 'certificate')).includes('ssl-certfile'));
  assert.ok(listed(helpOf(benchServeCommand, 'random')).includes('random-input-len'));
});

test('groups by name', () => {
  assert.equal(helpOf(chatCommand, 'listgroup'), 'Chat\nConfiguration\n');
  assert.match(helpOf(serveCommand, 'KV-cache'), /^KV cache:\n {2}--block-size/);
});

test('a flag of vLLM that is refused says why, and what is none names the nearest', () => {
  assert.match(helpOf(serveCommand, 'enable-lora'), /^--enable-lora is a flag of vllm serve that is not supported by Lockstep: adapters/);
  assert.throws(() => helpOf(serveCommand, 'max-num-sesq'), /has to do with 'max-num-sesq' \(is max-num-seqs meant\?\)/);
  assert.throws(() => helpOf(chatCommand, 'enable-lora'), /no option of 'lockstep chat'/);
});

test('the overview has a line a command', () => {
  assert.match(overview([serveCommand, chatCommand]), /^ {2}lockstep serve {3}serve a model.*\n {2}lockstep chat {4}talk to/m);
});
