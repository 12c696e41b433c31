/** The share of the roof that each engine reaches, as bars in one SVG: no library, readable on light and on dark pages. Pure. */
import type { Engine } from './engines.js';
import { formats, type ModelName, models } from './models.js';
import { figureOf, type Row, shareOf } from './results.js';
import { type WorkloadName, workloads } from './workloads.js';

const shown = ['Lockstep', 'llama.cpp', 'vLLM'] as const satisfies readonly Engine[];
const colors: Readonly<Record<(typeof shown)[number], readonly [light: string, dark: string]>> = {
  Lockstep: ['#0b6bcb', '#5aa9ff'],
  'llama.cpp': ['#c2620a', '#f0a35e'],
  vLLM: ['#6b7280', '#a3abb8'],
};
const size = { width: 860, label: 250, bar: 10, gap: 8, head: 64, title: 30 };
const barsWidth = size.width - size.label - 110;

const style = (pick: 0 | 1) => shown.map((engine, i) => `.e${i}{fill:${colors[engine][pick]}}`).join('');
const css = `text{font:12px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600;font-size:13px}.g{stroke:#d0d7de}${style(0)}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.g{stroke:#3d444d}${style(1)}}`;

const at = (share: number) => size.label + Math.min(1.05, share) * barsWidth;
const text = (x: number, y: number, words: string, more = '') => `<text x="${x}" y="${y}"${more}>${words}</text>`;

/** One group of bars; `y` is its top. */
function groupOf(row: Row, y: number): { readonly svg: string; readonly height: number } {
  const engines = shown.filter((engine) => shareOf(row, engine) !== null);
  const bars = engines.map((engine, i) => {
    const share = shareOf(row, engine)!;
    const top = y + i * (size.bar + 2);
    const figure = `${Math.round(figureOf(row, engine)!).toLocaleString('en-US')} tok/s`;
    const bar = `<rect class="e${shown.indexOf(engine)}" x="${size.label}" y="${top}" width="${(at(share) - size.label).toFixed(1)}" height="${size.bar}" rx="2"/>`;
    return bar + text(at(share) + 6, top + size.bar - 1, `${Math.round(share * 100)} %, ${figure}`, ' font-size="10"');
  });
  const height = engines.length * (size.bar + 2);
  const label = text(size.label - 10, y + height / 2 + 4, `${workloads[row.workload].title}, ${row.format}`, ' text-anchor="end"');
  return { svg: label + bars.join(''), height };
}

/** Rows without a roof are left out. */
export function plotOf(rows: readonly Row[]): string {
  const parts: string[] = [];
  let y = size.head;
  for (const model of Object.keys(models) as ModelName[]) {
    const drawn = rows.filter((row) => row.model === model && row.roofValues !== null);
    if (drawn.length === 0) continue;
    parts.push(text(10, y + 14, `${model}: ${models[model].title}`, ' class="t"'));
    y += size.title;
    for (const name of Object.keys(workloads) as WorkloadName[]) {
      for (const format of formats) {
        const row = drawn.find((candidate) => candidate.workload === name && candidate.format === format);
        if (row === undefined) continue;
        const { svg, height } = groupOf(row, y);
        parts.push(svg);
        y += height + size.gap;
      }
    }
    y += size.gap;
  }
  const lines = [0, 0.25, 0.5, 0.75, 1].map(
    (share) =>
      `<line class="g" x1="${at(share)}" x2="${at(share)}" y1="${size.head - 8}" y2="${y}"/>${text(at(share), size.head - 14, `${share * 100} %`, ' text-anchor="middle"')}`,
  );
  const legend = shown.map(
    (engine, i) =>
      `<rect class="e${i}" x="${size.label + i * 120}" y="8" width="12" height="12" rx="2"/>${text(size.label + 18 + i * 120, 18, engine)}`,
  );
  const title = text(10, 18, 'Share of the roof', ' class="t"');
  const open = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${y}" width="${size.width}" height="${y}" role="img">`;
  return `${open}<style>${css}</style>${title}${legend.join('')}${lines.join('')}${parts.join('')}</svg>\n`;
}
