/**
 * Metrics as numbers in an array: a counter is one, a histogram one a bucket. A series is given its place when it is declared, so that to count is
 * one addition, where a client library looks its labels up each time (a microsecond for every streamed token). Threads that answer requests have an
 * array each, laid out alike; what is shown is their sum.
 */

export type Labels = Readonly<Record<string, string>>;

/** Numbers of one thread, in memory that all of them see. */
export type Sheet = Float64Array;

/** Enough for every series with a bucket for each decade of a context of 10^9 tokens; checked where series are declared. */
const sheetLen = 16_384;

export const createSheet = (): Sheet => new Float64Array(new SharedArrayBuffer(8 * sheetLen));

export interface Counter {
  add(by: number): void;
}

/** `counts`: one for each bound (up to and with it, from the one before) and one above them all. */
export interface HistogramTotals {
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly sum: number;
}

export class Histogram {
  readonly #values: Sheet;
  readonly bounds: readonly number[];

  /** `values[at …]`: a count for each bound and one above them all, then the sum. */
  constructor(
    values: Sheet,
    readonly at: number,
    bounds: readonly number[],
  ) {
    this.#values = values;
    this.bounds = bounds;
  }

  observe(value: number): void {
    const bounds = this.bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++;
    this.#values[this.at + bucket]! += 1;
    this.#values[this.at + bounds.length + 1]! += value;
  }
}

/** Lines of one name, without its help. */
interface Family {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary';
  readonly help: string;
  /** Whether `…_created` tells since when it counts. */
  readonly created: boolean;
  /** The samples of each series; null: nothing was counted, and it is not shown. */
  readonly series: readonly { readonly labels: string; samples(): string | null }[];
}

/** What is read when /metrics is asked for. */
export type Read = () => number;

export class Registry {
  readonly #sheets: readonly Sheet[];
  readonly #own: Sheet;
  readonly #families: Family[] = [];
  readonly #createdSeconds: number;
  #used = 0;

  /**
   * `own`: which of the sheets this thread counts in. Every thread declares the same series in the same order. `startMs`: since when is counted,
   * in milliseconds since 1970.
   */
  constructor(sheets: readonly Sheet[], own: number, startMs: number) {
    this.#createdSeconds = startMs / 1000;
    this.#sheets = sheets;
    this.#own = sheets[own]!;
  }

  #take(count: number): number {
    const at = this.#used;
    this.#used += count;
    if (this.#used > sheetLen) throw new Error(`metrics need more than ${sheetLen} numbers`);
    return at;
  }

  #sum(at: number): number {
    let sum = 0;
    for (const sheet of this.#sheets) sum += sheet[at]!;
    return sum;
  }

  /** Of all threads. */
  totals({ at, bounds }: Histogram): HistogramTotals {
    const counts = Array.from({ length: bounds.length + 1 }, (_, i) => this.#sum(at + i));
    return { bounds, counts, sum: this.#sum(at + bounds.length + 1) };
  }

  /** `name` without `_total`. A counter for each set of labels; with `hidesZero` it is shown from its first count on. */
  counters(name: string, help: string, sets: readonly Labels[], hidesZero = false): Counter[] {
    const places = sets.map(() => this.#take(1));
    const series = sets.map((labels, i) => this.#series(labels, () => this.#shown(`${name}_total`, labels, places[i]!, hidesZero)));
    this.#families.push({ name, type: 'counter', help, created: true, series });
    return places.map((at) => counterAt(this.#own, at));
  }

  /** A number of each thread, shown apart; `label` says whose. */
  threadCounter(name: string, help: string, label: string): Counter {
    const at = this.#take(1);
    const series = this.#sheets.map((sheet, thread) => {
      const labels = { [label]: String(thread) };
      return this.#series(labels, () => sample(`${name}_total`, labels, sheet[at]!));
    });
    this.#families.push({ name, type: 'counter', help, created: true, series });
    return counterAt(this.#own, at);
  }

  #shown(name: string, labels: Labels, at: number, hidesZero: boolean): string | null {
    const value = this.#sum(at);
    return hidesZero && value === 0 ? null : sample(name, labels, value);
  }

  #series(labels: Labels, samples: () => string | null) {
    return { labels: shownLabels(labels), samples };
  }

  histogram(name: string, help: string, labels: Labels, bounds: readonly number[]): Histogram {
    return this.histograms(name, help, [labels], bounds)[0]!;
  }

  histograms(name: string, help: string, sets: readonly Labels[], bounds: readonly number[], hidesZero = false): Histogram[] {
    const places = sets.map(() => this.#take(bounds.length + 2));
    const series = sets.map((labels, i) => {
      const at = places[i]!;
      const read = () => Array.from({ length: bounds.length + 2 }, (_, j) => this.#sum(at + j));
      return this.#series(labels, () => histogramSamples(name, labels, bounds, read(), hidesZero));
    });
    this.#families.push({ name, type: 'histogram', help, created: true, series });
    return places.map((at) => new Histogram(this.#own, at, bounds));
  }

  /** Sums and counts, without buckets. */
  summaries(name: string, help: string, sets: readonly Labels[]): Histogram[] {
    const places = sets.map(() => this.#take(2));
    const series = sets.map((labels, i) => {
      const at = places[i]!;
      return this.#series(labels, () => summarySamples(name, labels, this.#sum(at), this.#sum(at + 1)));
    });
    this.#families.push({ name, type: 'summary', help, created: true, series });
    return places.map((at) => new Histogram(this.#own, at, []));
  }

  /** A histogram that somebody else fills: counts for each bound and above, then the sum. */
  readHistogram(name: string, help: string, labels: Labels, bounds: readonly number[], read: () => readonly number[]): void {
    const series = [this.#series(labels, () => histogramSamples(name, labels, bounds, read(), false))];
    this.#families.push({ name, type: 'histogram', help, created: true, series });
  }

  /** Counted elsewhere. `created`: as `Family.created`. */
  readCounter(name: string, help: string, parts: readonly (readonly [Labels, Read])[], created = true): void {
    const series = parts.map(([labels, read]) => this.#series(labels, () => sample(`${name}_total`, labels, read())));
    this.#families.push({ name, type: 'counter', help, created, series });
  }

  gauge(name: string, help: string, parts: readonly (readonly [Labels, Read])[]): void {
    const series = parts.map(([labels, read]) => this.#series(labels, () => sample(name, labels, read())));
    this.#families.push({ name, type: 'gauge', help, created: false, series });
  }

  /** Prometheus' text format 0.0.4, as Python's client library writes it. */
  exposition(): string {
    return this.#families.map((family) => this.#written(family)).join('');
  }

  #written({ name, type, help, created, series }: Family): string {
    const shown = series.map(({ labels, samples }) => ({ labels, text: samples() })).filter(({ text }) => text !== null);
    const counted = type === 'counter' ? `${name}_total` : name;
    const head = `# HELP ${counted} ${help}\n# TYPE ${counted} ${type}\n${shown.map(({ text }) => text).join('')}`;
    if (!created) return head;
    const since = shown.map(({ labels }) => `${name}_created${labels} ${this.#createdSeconds}\n`).join('');
    return `${head}# HELP ${name}_created ${help}\n# TYPE ${name}_created gauge\n${since}`;
  }
}

const counterAt = (values: Sheet, at: number): Counter => ({
  add(by) {
    values[at]! += by;
  },
});

const escaped = (text: string) => text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');

function shownLabels(labels: Labels): string {
  const names = Object.keys(labels).sort();
  return names.length === 0 ? '' : `{${names.map((name) => `${name}="${escaped(labels[name]!)}"`).join(',')}}`;
}

const sample = (name: string, labels: Labels, value: number) => `${name}${shownLabels(labels)} ${value}\n`;

/** Bounds are labels, and compared as text: 1.0, as Python writes it. */
const boundText = (bound: number) => (Number.isInteger(bound) ? bound.toFixed(1) : String(bound));

function histogramSamples(
  name: string,
  labels: Labels,
  bounds: readonly number[],
  values: readonly number[],
  hidesZero: boolean,
): string | null {
  let count = 0;
  let text = '';
  for (let i = 0; i <= bounds.length; i++) {
    count += values[i]!;
    text += sample(`${name}_bucket`, { ...labels, le: i < bounds.length ? boundText(bounds[i]!) : '+Inf' }, count);
  }
  if (hidesZero && count === 0) return null;
  return `${text}${sample(`${name}_count`, labels, count)}${sample(`${name}_sum`, labels, values[bounds.length + 1]!)}`;
}

function summarySamples(name: string, labels: Labels, count: number, sum: number): string | null {
  return count === 0 ? null : `${sample(`${name}_count`, labels, count)}${sample(`${name}_sum`, labels, sum)}`;
}
