/** The view of the engine: what it does now, where a step's time goes, who holds what. */
import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import { Chart } from './chart.js';
import { isWatched, readings, trouble } from './engine-state.js';
import {
  type EngineReading,
  hitsOf,
  percentOf,
  quantileOf,
  rateOf,
  shortBytes,
  shortNumber,
  shortSeconds,
  stepTimesOf,
} from './figures.js';
import { Shards } from './shards.js';
import { StepTimes } from './step-times.js';

/** Latencies and step times are of the last so many readings. */
const windowLen = 15;

export function Engine() {
  useEffect(() => {
    isWatched.value = true;
    return () => {
      isWatched.value = false;
    };
  }, []);
  const all = readings.value;
  const now = all.at(-1);
  return (
    <main id="main" class="engine" tabIndex={0}>
      <div class="wide">
        {trouble.value === '' ? null : (
          <p class="error" role="alert">
            {trouble}
          </p>
        )}
        {now === undefined ? null : <Figures all={all} now={now} />}
      </div>
    </main>
  );
}

function Figures({ all, now }: { readonly all: readonly EngineReading[]; readonly now: EngineReading }) {
  const { model, ranks, memory, counters } = now;
  const before = all[Math.max(0, all.length - windowLen)]!;
  const last = all.at(-2) ?? now;
  const pairs = all.slice(1).map((reading, i) => [all[i]!, reading] as const);
  const rates = (name: 'generation_tokens' | 'prompt_tokens') => pairs.map(([from, to]) => rateOf(name, from, to));
  const ofTime = (name: 'time_to_first_token_seconds' | 'inter_token_latency_seconds', q: number) => quantileOf(q, before[name], now[name]);
  const [firstToken, firstTokenSlow] = [0.5, 0.95].map((q) => ofTime('time_to_first_token_seconds', q));
  const [interToken, interTokenSlow] = [0.5, 0.95].map((q) => ofTime('inter_token_latency_seconds', q));
  const hits = hitsOf(before, now);
  const onCpu = ranks.devices.every((device) => device === 'cpu');
  const seconds = (value: number | null | undefined) => (value === null || value === undefined ? '–' : shortSeconds(value));
  return (
    <>
      <header class="about">
        <h1>{model.name}</h1>
        <p>
          {model.family}, {shortCount(model.parameters)} parameters in {model.weight_format} · {model.layers} layers ·{' '}
          {ranks.count === 1 ? 'one rank' : `${ranks.count} ranks (${ranks.mode})`}{' '}
          {onCpu
            ? `with ${ranks.threads_per_rank} ${ranks.threads_per_rank === 1 ? 'thread' : 'threads'}${ranks.count === 1 ? '' : ' each'}`
            : `on ${ranks.devices.join(', ')}`}{' '}
          · Lockstep {now.version}
        </p>
      </header>
      <section class="tiles" aria-label="Now">
        <Tile name="Tokens out" value={shortNumber(rateOf('generation_tokens', last, now))} unit="per second">
          <Chart label="Tokens out per second" values={rates('generation_tokens')} written={shortNumber} />
        </Tile>
        <Tile name="Tokens in" value={shortNumber(rateOf('prompt_tokens', last, now))} unit="per second">
          <Chart label="Tokens in per second" values={rates('prompt_tokens')} written={shortNumber} />
        </Tile>
        <Tile name="Requests" value={`${counters.running}`} unit={`running, ${counters.waiting} waiting`}>
          <Chart label="Running requests" values={all.map((reading) => reading.counters.running)} written={shortNumber} />
        </Tile>
        <Tile name="KV cache" value={percentOf(counters.kv_cache_usage)} unit={`of ${shortCount(memory.kv_cache_tokens)} tokens`}>
          <Chart label="KV cache in use" values={all.map((reading) => reading.counters.kv_cache_usage)} most={1} written={percentOf} />
        </Tile>
      </section>
      <dl class="facts">
        <Fact name="Time to first token" value={seconds(firstToken)} note={`95 % within ${seconds(firstTokenSlow)}`} />
        <Fact name="Between tokens" value={seconds(interToken)} note={`95 % within ${seconds(interTokenSlow)}`} />
        <Fact
          name="Prefix cache"
          value={hits === null ? '–' : percentOf(hits)}
          note={`${shortCount(counters.prefix_cache_hits)} of ${shortCount(counters.prefix_cache_queries)} tokens found since the start`}
        />
        <Fact name="Preemptions" value={shortCount(counters.preemptions)} note={`in ${shortCount(counters.steps)} steps since the start`} />
      </dl>
      <StepTimes times={stepTimesOf(before, now)} />
      <Memory reading={now} />
      <Shards reading={now} />
    </>
  );
}

function shortCount(count: number): string {
  return count.toLocaleString('en', { notation: 'compact', maximumFractionDigits: 1 });
}

function Tile(props: { readonly name: string; readonly value: string; readonly unit: string; readonly children: ComponentChildren }) {
  return (
    <div class="tile">
      <h2>{props.name}</h2>
      <p>
        <strong>{props.value}</strong> <span class="note">{props.unit}</span>
      </p>
      {props.children}
    </div>
  );
}

function Fact({ name, value, note }: { readonly name: string; readonly value: string; readonly note: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <strong>{value}</strong> <span class="note">{note}</span>
      </dd>
    </div>
  );
}

function Memory({ reading: { memory, counters } }: { readonly reading: EngineReading }) {
  const used = memory.kv_cache_bytes * counters.kv_cache_usage;
  const rows = [
    ['Weights', memory.weight_bytes, 'in memory, all ranks together'],
    ['KV cache', memory.kv_cache_bytes, `${shortBytes(used)} in use; pages are taken when they are first needed`],
    ['Process', memory.resident_bytes, `resident, of ${shortBytes(memory.system_bytes)} that the machine has`],
  ] as const;
  const largest = Math.max(...rows.map(([, bytes]) => bytes));
  return (
    <section>
      <h2>Memory</h2>
      <table class="figures">
        <tbody>
          {rows.map(([name, bytes, note]) => (
            <tr>
              <th scope="row">{name}</th>
              <td class="number">{shortBytes(bytes)}</td>
              <td class="bar" aria-hidden="true">
                <i style={{ width: `${(100 * bytes) / largest}%` }} />
              </td>
              <td class="note">{note}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
