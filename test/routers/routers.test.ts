/**
 * Three replicas behind routers that others have made, with the configurations of deploy/routers: under load one replica is killed and one is
 * rolled. What rolls loses nothing; of what is killed, streams that have begun end, each with an error that its client sees.
 * LOCKSTEP_HAPROXY, LOCKSTEP_VLLM_ROUTER and LOCKSTEP_LITELLM name the programs.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import OpenAI from 'openai';
import { Load, type Outcome } from './load.js';
import { freePort, Program, Replica, replicaKey, servedName, until } from './replica.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-routers-'));
after(() => rmSync(folder, { recursive: true }));

const numReplicas = 3;
const killsMax = 3;
const finished = 'vllm:request_success_total';

/** A file of deploy/routers with these servers in place of those that it names; its path. */
function configuration(name: string, replicas: readonly Replica[], port: number, spare?: Replica): string {
  let text = readFileSync(`deploy/routers/${name}`, 'utf8').replace('0.0.0.0:4000', `127.0.0.1:${port}`);
  const put = (host: string, { origin }: Replica) => {
    assert.ok(text.includes(`${host}:8000`), `${name} names ${host}`);
    text = text.replaceAll(`${host}:8000`, origin.slice('http://'.length));
  };
  for (const [i, replica] of replicas.entries()) put(`lockstep-${i}`, replica);
  if (spare !== undefined) put('lockstep-spare', spare);
  const path = join(folder, `${port}-${name}`);
  writeFileSync(path, text);
  return path;
}

const replicasOf = (count: number) => Promise.all(Array.from({ length: count }, () => Replica.create()));

/** What was not whole, by phase and kind: what a failed test shows. */
function summary(outcomes: readonly Outcome[]): string {
  const counts = new Map<string, number>();
  for (const { isStream, isBegun, end, error, phase } of outcomes) {
    const kind = isStream ? (isBegun ? 'begun stream' : 'stream') : 'answer';
    const words = `${phase}: ${kind} ${end} ${error}`;
    counts.set(words, (counts.get(words) ?? 0) + 1);
  }
  return [...counts].map(([words, count]) => `${count} x ${words}`).join('\n');
}

/** Kills one replica and rolls another while clients ask. */
async function killOneRollOne([killed, rolled, ...others]: readonly Replica[], load: Load): Promise<void> {
  assert.ok(killed !== undefined && rolled !== undefined);
  const isServing = (replica: Replica) => async () => (await replica.metric(finished)) > 0;
  for (const replica of [killed, rolled, ...others])
    await until('every replica has answered', async () => (await replica.metric(finished, '"length"')) > 0);
  load.phase = 'one is killed';
  // By chance no stream may have begun there.
  for (let i = 0; i < killsMax && load.outcomes.every(({ end }) => end === 'whole'); i++) {
    await until('requests run on the one that is killed', async () => (await killed.metric('vllm:num_requests_running')) >= 2);
    await killed.end('SIGKILL');
    await killed.start();
    await until('the router has taken it back', isServing(killed));
  }
  load.phase = 'one is rolled';
  assert.equal(await rolled.end('SIGTERM'), 0, 'it drains and ends as it should');
  await rolled.start();
  await until('the router has taken it back', isServing(rolled));
  load.phase = 'at last';
  await load.stop();
  for (const replica of [killed, rolled, ...others])
    assert.equal(await replica.metric(finished, '"abort"'), 0, 'no router gives up on a replica that runs');
}

/** Only streams that had begun on the killed replica have ended, and each client was told. */
function assertLosses(outcomes: readonly Outcome[]): void {
  const lost = outcomes.filter(({ end }) => end !== 'whole');
  const isAllowed = ({ isStream, isBegun, end, phase }: Outcome) => isStream && isBegun && end === 'error' && phase === 'one is killed';
  assert.ok(lost.every(isAllowed), summary(lost));
  assert.ok(lost.length > 0, 'no stream ran on the killed replica');
  for (const isStream of [true, false]) assert.ok(outcomes.some((outcome) => outcome.end === 'whole' && outcome.isStream === isStream));
}

interface Router {
  readonly name: string;
  /** Where it is, if it is here. */
  readonly program: string | undefined;
  /** What clients send to it. */
  readonly key: string;
  /** Its configuration has a server for when no replica answers. */
  readonly hasSpare?: true;
  readonly start: (program: string, replicas: readonly Replica[], port: number, spare: Replica) => Program | Promise<Program>;
}

async function startVllmRouter(policy: string, program: string, replicas: readonly Replica[], port: number): Promise<Program> {
  const where = ['--host', '127.0.0.1', '--port', String(port), '--prometheus-port', String(await freePort())];
  const argv = [configuration('vllm-router.sh', replicas, port), '--policy', policy, ...where];
  return new Program('sh', argv, { PATH: `${dirname(program)}:${process.env['PATH']}` });
}

const masterKey = 'sk-master';
const routers: readonly Router[] = [
  {
    name: 'HAProxy',
    program: process.env['LOCKSTEP_HAPROXY'],
    key: replicaKey,
    start: (program, replicas, port) => new Program(program, ['-f', configuration('haproxy.cfg', replicas, port)]),
  },
  {
    name: 'vllm-router',
    program: process.env['LOCKSTEP_VLLM_ROUTER'],
    key: replicaKey,
    start: (program, replicas, port) => startVllmRouter('round_robin', program, replicas, port),
  },
  {
    name: 'LiteLLM',
    program: process.env['LOCKSTEP_LITELLM'],
    key: masterKey,
    hasSpare: true,
    start: (program, replicas, port, spare) => {
      const argv = ['--config', configuration('litellm.yaml', replicas, port, spare), '--host', '127.0.0.1', '--port', String(port)];
      return new Program(program, argv, {
        LITELLM_MASTER_KEY: masterKey,
        LOCKSTEP_API_KEY: replicaKey,
        LITELLM_LOCAL_MODEL_COST_MAP: 'True', // nothing is fetched from elsewhere
      });
    },
  },
];

const clientOf = (port: number, apiKey: string) => new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey, maxRetries: 0 });
const question = { model: servedName, messages: [{ role: 'user', content: 'What is Lockstep?' }] } as const;
const answerOf = (client: OpenAI) => client.chat.completions.create({ ...question, messages: [...question.messages], max_tokens: 4 });
const isAnswered = (client: OpenAI) => async () => (await answerOf(client)).choices.length === 1;

for (const { name, program, key, hasSpare = false, start } of routers) {
  describe(name, { skip: program === undefined && 'its program is not named' }, () => {
    let replicas: Replica[] = [];
    let spare: Replica;
    let router: Program;
    let port = 0;
    before(async () => {
      [spare, ...replicas] = (await replicasOf(numReplicas + 1)) as [Replica, ...Replica[]];
      port = await freePort();
      router = await start(program!, replicas, port, spare);
      await until(`${name} answers`, isAnswered(clientOf(port, key)), router);
    });
    after(async () => {
      await router.end('SIGKILL');
      await Promise.all([...replicas, spare].map((replica) => replica.end('SIGKILL')));
    });

    test('a key that is none is refused', async () => {
      await assert.rejects(answerOf(clientOf(port, 'none')), OpenAI.APIError);
    });

    test('one replica is killed, one is rolled', async () => {
      const load = new Load(clientOf(port, key), servedName);
      await load.start();
      try {
        await killOneRollOne(replicas, load);
      } finally {
        await load.stop();
      }
      assertLosses(load.outcomes);
    });

    if (!hasSpare) return;
    test('where no replica is left, the spare answers', async () => {
      assert.equal(await spare.metric(finished), 0);
      for (const replica of replicas) await replica.end('SIGTERM');
      await until('the spare answers', isAnswered(clientOf(port, key)), router);
      assert.ok((await spare.metric(finished)) > 0);
    });
  });
}

/** No multiple of the replicas: in turn, a topic is asked of each of them. */
const numTopics = 4;
const questionsOfTopic = 6;

/** What part of the prompts' tokens the replicas' caches had, when some long prompts are asked again and again, in turn. */
async function hitRate(policy: string, program: string): Promise<number> {
  const replicas = await replicasOf(numReplicas);
  const port = await freePort();
  const router = await startVllmRouter(policy, program, replicas, port);
  try {
    const client = clientOf(port, replicaKey);
    await until('the router answers', isAnswered(client), router);
    for (let i = 0; i < questionsOfTopic; i++)
      for (let topic = 0; topic < numTopics; topic++) {
        // Of the same letters: a router that compares texts must not take one topic for another. Some 300 tokens.
        const prompt = `${'abcdef'[topic]!.repeat(300)} ${i}`;
        await client.completions.create({ model: servedName, prompt, max_tokens: 1 });
      }
    const sum = async (name: string) => (await Promise.all(replicas.map((replica) => replica.metric(name)))).reduce((a, b) => a + b);
    return (await sum('vllm:prefix_cache_hits_total')) / (await sum('vllm:prefix_cache_queries_total'));
  } finally {
    await router.end('SIGKILL');
    await Promise.all(replicas.map((replica) => replica.end('SIGKILL')));
  }
}

const vllmRouter = process.env['LOCKSTEP_VLLM_ROUTER'];
test('prefix-aware routing shows in /metrics', { skip: vllmRouter === undefined && 'LOCKSTEP_VLLM_ROUTER is not set' }, async () => {
  const [aware, inTurn] = [await hitRate('cache_aware', vllmRouter!), await hitRate('round_robin', vllmRouter!)];
  // At best all but the first of each topic.
  assert.ok(aware > inTurn && aware > 0.7, `${aware} of the tokens, and ${inTurn} in turn`);
});
