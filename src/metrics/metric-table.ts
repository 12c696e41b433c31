/** What /metrics has, as a table for docs/metrics.md and as names for those who check expressions over them. */
import { type EngineFigures, Metrics, preemptionBounds, stepTokenBounds } from './metrics.js';
import { createSheet } from './series.js';

export interface MetricRow {
  /** As it is asked for: with _total where it is a counter; of a histogram without _bucket, _sum and _count. */
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly labels: readonly string[];
}

const figures: EngineFigures = {
  running: 0,
  waiting: 0,
  kvCacheUsage: 0,
  preemptions: 0,
  promptTokens: 0,
  generationTokens: 0,
  prefixCacheQueries: 0,
  prefixCacheHits: 0,
  specDrafts: 0,
  specDraftTokens: 0,
  specAcceptedTokens: 0,
  specAcceptedPerPosition: [0],
  steps: 0,
  hostTimeUs: 0,
  phaseTimesUs: {},
  asleep: 0,
  stepTokens: Array.from({ length: stepTokenBounds.length + 2 }, () => 0),
  requestPreemptions: Array.from({ length: preemptionBounds.length + 2 }, () => 0),
};

/** Of a server with a route, a model and speculation that has answered one request: it shows all that there is. */
export function metricRows(): MetricRow[] {
  const metrics = new Metrics({ routes: [{ method: 'POST', path: '/v1/completions' }], sheets: [createSheet()], own: 0 });
  metrics.setModel('model', { counters: () => figures }, 1024, {
    block_size: '16',
    cache_dtype: 'bf16',
    enable_prefix_caching: 'True',
    num_gpu_blocks: '1',
  });
  metrics.setDevices(['cpu']);
  metrics.http.observe('POST', '/v1/completions', 200, 1, 1, 1);
  const { text } = metrics.exposition();
  return [...text.matchAll(/^# HELP (\S+) (.*)\n# TYPE \S+ (\w+)\n([^#]*)/gm)]
    .map(([, name = '', help = '', type = '', samples = '']) => ({ name, help, type, labels: labelsOf(samples) }))
    .filter(({ name }) => !name.endsWith('_created'));
}

const labelsOf = (samples: string) =>
  [...new Set([...samples.matchAll(/[{,](\w+)="/g)].map(([, label]) => label!))].filter((label) => label !== 'le');

/** All that may stand in an expression: of a histogram its parts. */
export function metricNames(): ReadonlySet<string> {
  return new Set(
    metricRows().flatMap(({ name, type }) => {
      if (type === 'histogram') return ['_bucket', '_sum', '_count'].map((part) => name + part);
      return type === 'summary' ? ['_sum', '_count'].map((part) => name + part) : [name];
    }),
  );
}

export function metricTable(): string {
  const escaped = (text: string) => text.replace(/\|/g, '\\|');
  const lines = metricRows().map(({ name, type, help, labels }) => `| \`${name}\` | ${type} | ${labels.join(', ')} | ${escaped(help)} |`);
  return `| name | type | labels | |\n| --- | --- | --- | --- |\n${lines.join('\n')}\n`;
}
