import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { ApiThreads } from './api-threads.js';

/** A thread that does what `script` says with each command. */
const entryOf = (script: string) =>
  new URL(
    `data:text/javascript,${encodeURIComponent(`import { parentPort } from 'node:worker_threads';
    const report = (message) => parentPort.postMessage(message);
    parentPort.on('message', ({ number, command }) => { ${script} });`)}`,
  );

const answering = "if (command.kind !== 'fail') report({ kind: 'done', number, value: command.timeoutMs !== 1 });";

async function withThreads(script: string, use: (threads: ApiThreads, faults: string[]) => Promise<void>): Promise<void> {
  const faults: string[] = [];
  const threads = new ApiThreads(2, (reason) => faults.push(reason), entryOf(script));
  try {
    await use(threads, faults);
  } finally {
    await threads.terminate();
  }
}

const server = { port: 1, backend: 'uws', descriptor: null, serveThread() {} } as never;
const links = () => [0, 1].map(() => ({ port: new MessageChannel().port1 }));
const loading = { options: {}, serverOptions: {}, shared: {}, started: { links: links(), cache: null } } as never;

test('a drain has ended well where it has on every thread', async () => {
  await withThreads(answering, async (threads, faults) => {
    assert.equal(await threads.drain(2), true);
    assert.equal(await threads.drain(1), false);
    await threads.close();
    threads.fail('over');
    assert.deepEqual(faults, []);
  });
  const none = new ApiThreads(0, () => assert.fail('there is none'));
  assert.equal(await none.drain(1), true);
  await none.close();
});

test('what a thread cannot be started with is refused as the main thread would', async () => {
  const refusing = "report({ kind: 'refused', number, code: 'start', message: 'no such template', param: 'chat-template' });";
  await withThreads(refusing, async (threads, faults) => {
    await assert.rejects(threads.listen(server), { code: 'start', message: 'no such template', param: 'chat-template' });
    assert.deepEqual(faults, []);
  });
});

test('an error that nobody expected on a thread that serves is a fault; before, it is why the server does not start', async () => {
  const failing = `${answering} if (command.kind === 'fail') report({ kind: 'fault', reason: 'Error: lost' });`;
  await withThreads(failing, async (threads, faults) => {
    await threads.listen(server);
    threads.fail('now');
    while (faults.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
    assert.deepEqual(faults.sort(), ['API thread 1: Error: lost', 'API thread 2: Error: lost']);
    assert.equal(await threads.drain(2), true);
  });
  await withThreads("throw new Error('cannot load')", async (threads, faults) => {
    await assert.rejects(threads.load(loading), /API thread [12]: Error: cannot load/);
    assert.deepEqual(faults, []);
  });
  await withThreads(failing, async (threads) => {
    threads.fail('before it listens');
    await assert.rejects(threads.listen(server), /API thread [12]: Error: lost/);
  });
});

test('more threads than cores are served, with a warning', async () => {
  await withThreads(answering, async (threads) => {
    const warnings: string[] = [];
    const logger = { warn: (message: string) => warnings.push(message) } as never;
    for (const cores of [4, 3, 2]) threads.warnOfCrowding(logger, cores);
    assert.deepEqual(warnings.length, 1);
    assert.match(warnings[0]!, /^--api-server-count 3 is more than there are cores \(2\)/);
  });
});
