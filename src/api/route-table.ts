/** The table of routes of docs/api.md, made from the route table; `scripts/readme-tables.mjs` writes it, a test checks that it is current. */
import { withMarkedPart } from './marked-part.js';
import { missingFlag, type Needed, type Route } from './route.js';
import { routes } from './routes.js';

const nothingGiven: Readonly<Record<Needed, boolean>> = { devMode: false, sleepMode: false, tokenizerInfo: false, page: true, docs: true };

/** A row a path and summary; methods that do the same share it. */
export function routeTable(rows: readonly Route[] = routes): string {
  const merged = new Map<string, { readonly methods: string[]; readonly row: Route }>();
  for (const row of rows) {
    const key = `${row.path} ${row.summary}`;
    const same = merged.get(key);
    if (same === undefined) merged.set(key, { methods: [row.method], row });
    else same.methods.push(row.method);
  }
  const lines = [...merged.values()].map(({ methods, row }) => {
    const needed = missingFlag(row, nothingGiven);
    const path = row.path.replace(/\/\*$/, '/{…}');
    return `| ${methods.join(', ')} | \`${path}\` | ${row.access === 'open' ? 'open' : 'key'} | ${row.summary}${needed === null ? '' : `; with \`${needed.replace(/ or /g, '` or `')}\``} |`;
  });
  return `| | route | | |\n| --- | --- | --- | --- |\n${lines.join('\n')}\n`;
}

const markers = ['<!-- routes: written by scripts/readme-tables.mjs -->\n', '<!-- end of routes -->'] as const;

/** `page` with the table between its two markers. Throws where they are not there. */
export const withRouteTable = (page: string) => withMarkedPart(page, markers, routeTable());
