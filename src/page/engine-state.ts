/** Reads GET /engine: once at the start, and each second while somebody looks at the engine. */
import { computed, effect, signal } from '@preact/signals';
import type { EngineReading } from './figures.js';
import { apiKey, ask, needsKey, type ServerError } from './server.js';

const everyMs = 1000;
/** Two minutes. */
export const readingsMax = 121;

/** The charts are of one piece: after a longer pause they begin anew. */
const gapMsMax = 10_000;

/** Oldest first. */
export const readings = signal<readonly EngineReading[]>([]);
export const engineState = computed(() => readings.value.at(-1) ?? null);
/** Why there is no newest reading; '' where there is one. */
export const trouble = signal('');
/** The engine's view is in front. */
export const isWatched = signal(false);

let timer = 0;
/** Of the newest `read`: an older one that is still on its way goes on no more. */
let newest = 0;

async function read(): Promise<void> {
  clearTimeout(timer);
  const mine = ++newest;
  try {
    const reading = (await (await ask('engine')).json()) as EngineReading;
    const before = readings.value;
    // A server that was started anew counts from zero.
    const sinceMs = before.length === 0 ? 0 : reading.clock_ms - before.at(-1)!.clock_ms;
    const isSame = sinceMs > 0 && sinceMs < gapMsMax && before.at(-1)!.counters.steps <= reading.counters.steps;
    readings.value = isSame ? [...before.slice(1 - readingsMax), reading] : [reading];
    trouble.value = '';
  } catch (error) {
    trouble.value = (error as ServerError).message;
  }
  if (mine !== newest) return;
  const isDone = trouble.value === '' && !isWatched.peek();
  if (!isDone && !needsKey.peek()) timer = window.setTimeout(next, everyMs);
}

/** A page that nobody sees asks nothing. */
function next(): void {
  if (document.hidden) document.addEventListener('visibilitychange', next, { once: true });
  else void read();
}

export function startReading(): void {
  effect(() => {
    void [apiKey.value, isWatched.value]; // read anew when one of them changes
    if (!needsKey.value) void read();
  });
}
