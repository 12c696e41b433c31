/** What deploy/ has, as far as it can be tried without a cluster: flags, times, probes against a server that drains, expressions, the unit. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { loadServeOptions } from '../../src/cli/options.js';
import { metricNames } from '../../src/metrics/metric-table.js';
import { metricsIn } from './expressions.js';

// biome-ignore lint/suspicious/noExplicitAny: files of other programs, looked at field by field
type Yaml = any;

const folder = mkdtempSync(join(tmpdir(), 'lockstep-deploy-'));
after(() => rmSync(folder, { recursive: true }));

const read = (path: string): Yaml => parse(readFileSync(`deploy/${path}`, 'utf8'));
const files = readdirSync('deploy', { recursive: true, encoding: 'utf8' }).filter((name) => /\.(yaml|json)$/.test(name));
const configPath = 'deploy/kubernetes/base/lockstep.yaml';
const deployment = read('kubernetes/base/deployment.yaml');
const pod = deployment.spec.template.spec;
const [container] = pod.containers;
const unit = readFileSync('deploy/systemd/lockstep.service', 'utf8');
const settingOf = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1] ?? '';

test('every file parses, and every kustomization names files that are there', () => {
  for (const name of files)
    for (const document of parseAllDocuments(readFileSync(`deploy/${name}`, 'utf8'))) assert.deepEqual(document.errors, [], name);
  const kustomizations = files.filter((name) => name.endsWith('kustomization.yaml'));
  assert.ok(kustomizations.length >= 5);
  for (const name of kustomizations) {
    const { resources, configMapGenerator = [] } = read(name);
    const named = [...resources, ...configMapGenerator.flatMap((each: Yaml) => each.files)];
    for (const resource of named) assert.ok(existsSync(join('deploy', dirname(name), resource)), `${name}: ${resource}`);
  }
});

test('the flags are those of `lockstep serve`, in every way to start it', () => {
  const mounted = '/etc/lockstep/lockstep.yaml';
  const load = (argv: readonly string[]) => {
    assert.ok(argv.includes(mounted), argv.join(' '));
    return loadServeOptions(
      argv.map((word) => (word === mounted ? configPath : word)),
      {},
    );
  };
  assert.equal(load(container.args).port, container.ports[0].containerPort);
  const patched = parse(read('kubernetes/gpu/kustomization.yaml').patches[0].patch).filter(({ path }: Yaml) => path.endsWith('/args/-'));
  assert.equal(load([...container.args, ...patched.map(({ value }: Yaml) => value)]).device, 'cuda');
  const { lockstep } = read('compose/compose.yaml').services;
  load(lockstep.command);
  assert.ok(lockstep.volumes.includes(`../kubernetes/base/lockstep.yaml:${mounted}:ro`));
  const [program, command, ...argv] = settingOf('ExecStart').split(' ');
  assert.deepEqual([program, command], ['/usr/local/bin/lockstep', 'serve']);
  load(argv);
});

test('the images are those that scripts/image makes', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  const names = /'(lockstep-cuda)' : '(lockstep-cpu)'\}:\$\{version\}`/.exec(readFileSync('scripts/image.mjs', 'utf8'));
  const [, cuda, cpu] = names ?? [];
  for (const image of [container.image, read('compose/compose.yaml').services.lockstep.image]) assert.equal(image, `${cpu}:${version}`);
  assert.deepEqual(read('kubernetes/gpu/kustomization.yaml').images, [{ name: cpu, newName: cuda }]);
});

test('a server has longer to end than its requests have', () => {
  const { shutdownTimeout } = loadServeOptions(['--config', configPath], {});
  const preStop = container.lifecycle.preStop.sleep.seconds;
  assert.ok(preStop >= container.readinessProbe.periodSeconds, 'the readiness probe is heard of first');
  const graces = {
    Kubernetes: pod.terminationGracePeriodSeconds - preStop,
    Compose: Number.parseInt(read('compose/compose.yaml').services.lockstep.stop_grace_period, 10),
    systemd: Number(settingOf('TimeoutStopSec')),
  };
  for (const [where, seconds] of Object.entries(graces)) assert.ok(seconds >= shutdownTimeout + 10, `${where}: ${seconds} s`);
});

test('nothing is written but to folders that can be: caches, and those for temporary files', () => {
  assert.equal(container.securityContext.readOnlyRootFilesystem, true);
  assert.equal(pod.securityContext.runAsNonRoot, true);
  const writable = container.volumeMounts.filter(({ readOnly }: Yaml) => !readOnly).map(({ mountPath }: Yaml) => mountPath);
  for (const { name, value } of container.env)
    if (value)
      assert.ok(
        writable.some((path: string) => value.startsWith(`${path}/`)),
        name,
      );
  assert.ok(writable.includes('/tmp'));
});

test('what wakes the first replica asks for the Service, and waits as long as its start may take', () => {
  const { target, timeouts } = read('kubernetes/keda-zero/interceptor-route.yaml').spec;
  const { metadata, spec } = read('kubernetes/base/service.yaml');
  assert.deepEqual(target, { service: metadata.name, port: spec.ports[0].port });
  const { periodSeconds, failureThreshold } = container.startupProbe;
  assert.equal(timeouts.readiness, `${(periodSeconds * failureThreshold) / 60}m`);
});

test("a Service's variables are no flags", () => {
  assert.equal(pod.enableServiceLinks, false);
  assert.throws(() => loadServeOptions([], { LOCKSTEP_PORT: 'tcp://10.0.0.1:8000' }), /LOCKSTEP_PORT must be/, 'what they would do');
});

test('the probes know loading, draining and broken apart', { timeout: 60_000 }, async () => {
  const argv = ['dist/src/cli/main.js', 'serve', '--host', '127.0.0.1', '--port', '0', '--config', configPath, '--model', 'models/guide'];
  const server = spawn(process.execPath, argv, { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  server.stderr.on('data', (chunk) => {
    log += chunk;
  });
  try {
    while (!/ready on port \d+/.test(log))
      await Promise.race([once(server.stderr, 'data'), once(server, 'exit').then(() => assert.fail(log))]);
    const url = `http://127.0.0.1:${/ready on port (\d+)/.exec(log)![1]}`;
    const statusOf = async (probe: Yaml) => (await fetch(url + probe.httpGet.path)).status;
    const { startupProbe, readinessProbe, livenessProbe } = container;
    for (const probe of [startupProbe, readinessProbe, livenessProbe]) assert.equal(await statusOf(probe), 200);
    const body = JSON.stringify({ prompt: 'x', n: 32, max_tokens: 400, ignore_eos: true, stream: true });
    const stream = await fetch(`${url}/v1/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    const exit = once(server, 'exit');
    server.kill('SIGTERM');
    while ((await statusOf(readinessProbe)) !== 503);
    assert.equal(await statusOf(livenessProbe), 200, 'who drains is alive');
    assert.match(await stream.text(), /data: \[DONE\]\n\n$/, 'what ran has ended whole');
    assert.deepEqual(await exit, [0, null]);
  } finally {
    server.kill('SIGKILL');
  }
});

test('expressions name metrics that /metrics has', () => {
  const known = new Set([...metricNames(), 'up']); // `up` is Prometheus' own
  const dashboard = read('compose/grafana/dashboard.json');
  const expressions: string[] = [
    ...dashboard.panels.flatMap(({ targets }: Yaml) => targets.map(({ expr }: Yaml) => expr)),
    ...dashboard.templating.list.map(({ query }: Yaml) => query.replace(', instance', '')),
    ...read('prometheus/alerts.yaml').groups.flatMap(({ rules }: Yaml) => rules.map(({ expr }: Yaml) => expr)),
    ...read('kubernetes/keda/scaled-object.yaml').spec.triggers.map(({ metadata }: Yaml) => metadata.query),
    read('kubernetes/hpa/adapter-rule.yaml').rules.custom[0].seriesQuery,
  ];
  assert.ok(expressions.length > 25);
  for (const expression of expressions) {
    const named = metricsIn(expression);
    assert.ok(named.length > 0, expression);
    for (const name of named) assert.ok(known.has(name), `${name} in ${expression}`);
  }
});

test('the metrics of an expression are found', () => {
  assert.deepEqual(metricsIn('histogram_quantile(0.95, sum by (le) (rate(a:b_bucket{c="d"}[5m]))) > 2 and on (x) e'), ['a:b_bucket', 'e']);
  assert.deepEqual(metricsIn('sum(a) by (b) / sum(c)'), ['a', 'c']);
});

test('the autoscalers ask for the same queue', () => {
  const [metric] = read('kubernetes/hpa/autoscaler.yaml').spec.metrics;
  const [rule] = read('kubernetes/hpa/adapter-rule.yaml').rules.custom;
  assert.equal(metric.pods.metric.name, rule.name.as);
  for (const { spec } of [read('kubernetes/hpa/autoscaler.yaml'), read('kubernetes/keda/scaled-object.yaml')]) {
    assert.equal(spec.scaleTargetRef.name, deployment.metadata.name);
  }
});

const has = (program: string) => spawnSync(program, ['version'], { stdio: 'ignore' }).error === undefined;

test('kustomize makes each variant, and all select the same pods', { skip: !has('kubectl') && 'kubectl is not here' }, () => {
  for (const variant of ['cpu', 'gpu', 'hpa', 'keda', 'keda-zero']) {
    const { stdout, stderr, status } = spawnSync('kubectl', ['kustomize', `deploy/kubernetes/${variant}`], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    const resources: Yaml[] = parseAllDocuments(stdout).map((document) => document.toJS());
    const of = (kind: string) => resources.find((resource) => resource.kind === kind);
    if (variant === 'keda-zero') {
      const { minReplicaCount, triggers } = of('ScaledObject').spec;
      const counts = triggers.find(({ type }: Yaml) => type === 'external-push');
      assert.deepEqual([minReplicaCount, triggers.length], [0, 2], 'from none, by requests; from one, by the queue too');
      assert.equal(counts.metadata.interceptorRoute, of('InterceptorRoute').metadata.name);
    }
    if (of('Deployment') === undefined) continue;
    const { labels } = of('Deployment').spec.template.metadata;
    assert.ok(Object.keys(labels).length > 0);
    for (const selector of [
      of('Service').spec.selector,
      of('PodDisruptionBudget').spec.selector.matchLabels,
      of('Deployment').spec.selector.matchLabels,
    ]) {
      assert.deepEqual(selector, labels, variant);
    }
    assert.ok(of('Deployment').spec.template.spec.containers[0].resources.limits.memory, variant);
  }
});

/** Of 0 to 10; what `systemd-analyze security` calls well protected begins below it. */
const exposureMax = 2;

test('the unit is one, and a hardened one', { skip: !has('systemd-analyze') && 'systemd-analyze is not here' }, () => {
  const path = join(folder, 'lockstep.service');
  writeFileSync(path, unit.replace('/usr/local/bin/lockstep', process.execPath)); // one that is there
  const analyze = (...argv: readonly string[]) => spawnSync('systemd-analyze', [...argv, path], { encoding: 'utf8' });
  const { stdout, stderr, status } = analyze('verify');
  assert.deepEqual([status, stdout, stderr], [0, '', '']);
  const exposure = /exposure level for \S+: ([\d.]+)/.exec(analyze('security', '--offline=true').stdout)?.[1];
  assert.ok(Number(exposure) <= exposureMax, `exposure ${exposure}`);
  assert.equal(settingOf('RestartPreventExitStatus'), '2', 'what cannot be served ends with 2');
});
