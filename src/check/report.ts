/** A report as a table for people and as JSON for programs. */
import type { CheckReport } from './check.js';

const gap = '  ';

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) => `${row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column]!))).join(gap)}\n`)
    .join('');
}

/** A star stands before what counts as a difference. */
const star = (isDifference: boolean) => (isDifference ? '*' : ' ');

export function formatReport({ numSent, notSent, parameters, shapes, numDifferences }: CheckReport, heading: string): string {
  const numNotSent = [...notSent.values()].reduce((sum, count) => sum + count, 0);
  const left = numNotSent === 0 ? '' : `; not sent again: ${[...notSent].map(([call, count]) => `${call} (${count})`).join(', ')}`;
  const parameterRows = parameters.map(({ name, numRequests, verdict, because, elsewhere, isDifference }) => {
    const there = elsewhere === null || elsewhere.verdict === verdict ? '' : ` (elsewhere ${elsewhere.verdict})`;
    return [star(isDifference), name, String(numRequests), `${verdict}${there}`, because];
  });
  const shapeRows = shapes.map(({ name, numRequests, what, isDifference }) => [star(isDifference), name, String(numRequests), what]);
  return [
    `${heading}\n${numSent} requests sent again${left}\n`,
    parameters.length === 0 ? '' : table([[' ', 'parameter', 'requests', 'verdict', ''], ...parameterRows]),
    shapes.length === 0 ? '' : table([[' ', 'answer', 'requests', ''], ...shapeRows]),
    numDifferences === 0 ? 'no differences\n' : `${numDifferences} differences (*)\n`,
  ]
    .filter((part) => part !== '')
    .join('\n');
}

export function jsonReport(report: CheckReport, about: Readonly<Record<string, unknown>>): string {
  const { notSent, ...rest } = report;
  return `${JSON.stringify({ ...about, ...rest, notSent: Object.fromEntries(notSent) }, null, 2)}\n`;
}
