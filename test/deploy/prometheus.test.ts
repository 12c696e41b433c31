/**
 * A Prometheus (LOCKSTEP_PROMETHEUS names its program) scrapes a server that answers some requests: it takes the alerts, and every expression of
 * the dashboard, of the alerts and of docs/metrics.md returns data.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { parse } from 'yaml';

const program = process.env['LOCKSTEP_PROMETHEUS'];
const folder = mkdtempSync(join(tmpdir(), 'lockstep-prometheus-'));
after(() => rmSync(folder, { recursive: true, maxRetries: 5 }));

/** Rates are taken over this, in place of minutes. */
const rangeSeconds = 30;
const numRequests = 10;

interface Panel {
  readonly targets: readonly { readonly expr: string }[];
}

/** What an alert compares with its threshold. */
const leftOf = (expression: string) => expression.replace(/ (?:>|==) [\d.]+$/, '');

function expressions(): string[] {
  const dashboard = JSON.parse(readFileSync('deploy/compose/grafana/dashboard.json', 'utf8')) as { panels: Panel[] };
  const alerts = parse(readFileSync('deploy/prometheus/alerts.yaml', 'utf8')) as { groups: { rules: { expr: string }[] }[] };
  const page = readFileSync('docs/metrics.md', 'utf8');
  const all = [
    ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
    ...alerts.groups.flatMap(({ rules }) => rules.map(({ expr }) => leftOf(expr))),
    ...[...page.matchAll(/^\| [^`|]+ \| `(\w+\(.*|1 - .*)` \|$/gm)].map(([, expr]) => expr!),
  ];
  return all.map((expr) => expr.replace(/\[(?:\d+m|\$__rate_interval)\]/g, `[${rangeSeconds}s]`).replaceAll('$instance', '.*'));
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}

async function untilOk(url: string, of: ChildProcess): Promise<void> {
  while (
    !(await fetch(url).then(
      ({ ok }) => ok,
      () => false,
    ))
  ) {
    assert.equal(of.exitCode, null, `${url}: its program has ended`);
    await delay(100);
  }
}

describe('Prometheus', { skip: program === undefined && 'LOCKSTEP_PROMETHEUS is not set' }, () => {
  const children: ChildProcess[] = [];
  let prometheus = '';
  before(async () => {
    const [ours, theirs] = [await freePort(), await freePort()];
    const start = (file: string, argv: readonly string[]) => {
      const child = spawn(file, argv, { stdio: 'ignore' });
      children.push(child);
      return child;
    };
    const config = parse(readFileSync('deploy/prometheus/prometheus.yaml', 'utf8'));
    config.global = { scrape_interval: '1s', evaluation_interval: '1s' };
    config.rule_files = [resolve('deploy/prometheus/alerts.yaml')];
    config.scrape_configs[0].static_configs[0].targets = [`127.0.0.1:${ours}`];
    const configPath = join(folder, 'prometheus.yaml');
    writeFileSync(configPath, JSON.stringify(config)); // JSON is YAML, too
    const server = start(process.execPath, ['dist/src/cli/main.js', 'serve', '--host', '127.0.0.1', '--port', String(ours)]);
    const address = `--web.listen-address=127.0.0.1:${theirs}`;
    const scraper = start(program!, [`--config.file=${configPath}`, `--storage.tsdb.path=${join(folder, 'data')}`, address]);
    prometheus = `http://127.0.0.1:${theirs}`;
    await Promise.all([untilOk(`http://127.0.0.1:${ours}/health`, server), untilOk(`${prometheus}/-/ready`, scraper)]);
    const body = JSON.stringify({
      messages: [{ role: 'user', content: 'What is Lockstep? Say it in some words please.' }],
      max_tokens: 20,
    });
    for (let i = 0; i < numRequests; i++) {
      const answer = await fetch(`http://127.0.0.1:${ours}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      });
      assert.equal(answer.status, 200);
      await delay(500);
    }
    await delay(2500); // two more scrapes
  });
  after(async () => {
    for (const child of children) {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
    }
  });

  test('takes the alerts', async () => {
    const { data } = (await (await fetch(`${prometheus}/api/v1/rules`)).json()) as { data: { groups: { rules: { health: string }[] }[] } };
    const rules = data.groups.flatMap((group) => group.rules);
    assert.ok(rules.length >= 7);
    for (const rule of rules) assert.equal(rule.health, 'ok');
  });

  for (const expression of expressions()) {
    test(expression, async () => {
      const answer = await fetch(`${prometheus}/api/v1/query?${new URLSearchParams({ query: expression })}`);
      const { status, error, data } = (await answer.json()) as { status: string; error?: string; data: { result: unknown[] } };
      assert.equal(status, 'success', error);
      assert.ok(data.result.length > 0, 'no data');
    });
  }
});
