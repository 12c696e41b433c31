/**
 * GET /: the page, one file that the build made of src/page: script and style stand in it, nothing comes from elsewhere. Its policy names the two
 * by their digests, so that a script that a model writes would not run even if it came to stand in the page.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { LockstepError } from '../errors.js';
import type { Context } from './context.js';
import type { Exchange } from './exchange.js';

/** dist/page, from dist/src/api. */
const file = new URL('../../page/index.html.gz', import.meta.url);

interface Page {
  readonly compressed: Buffer;
  readonly plain: Buffer;
  readonly etag: string;
  readonly policy: string;
}

/** Read once a process. */
let page: Page | null = null;

const digest = (text: string) => createHash('sha256').update(text).digest('base64');

/** `scripts/page.mjs` writes one script and one style. */
export function policyOf(html: string): string {
  const inside = (tag: string) => new RegExp(`<${tag}[^>]*>([\\s\\S]*?)</${tag}>`).exec(html)![1]!;
  return (
    `default-src 'none'; script-src 'sha256-${digest(inside('script'))}'; style-src 'sha256-${digest(inside('style'))}'; connect-src 'self'; ` +
    "img-src data:; require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
  );
}

function readPage(): Page {
  let compressed: Buffer;
  try {
    compressed = readFileSync(file);
  } catch {
    throw new LockstepError('not_found', 'The page has not been built: npm run build makes it.');
  }
  const plain = gunzipSync(compressed);
  const html = plain.toString();
  return { compressed, plain, etag: `"${digest(html).slice(0, 22)}"`, policy: policyOf(html) };
}

export function handlePage(exchange: Exchange, _context: Context): void {
  page ??= readPage();
  const { compressed, plain, etag, policy } = page;
  exchange.setHeader('etag', etag);
  exchange.setHeader('cache-control', 'no-cache'); // kept, and asked for anew: a new build is seen at once
  exchange.setHeader('vary', 'accept-encoding');
  exchange.setHeader('content-security-policy', policy);
  exchange.setHeader('x-content-type-options', 'nosniff');
  exchange.setHeader('referrer-policy', 'no-referrer');
  if (exchange.header('if-none-match')?.includes(etag)) {
    exchange.reply(304, null, '');
    return;
  }
  const takesGzip = /\bgzip\b(?!\s*;\s*q=0(?:[,\s]|$))/.test(exchange.header('accept-encoding') ?? '');
  if (takesGzip) exchange.setHeader('content-encoding', 'gzip');
  exchange.reply(200, 'text/html; charset=utf-8', takesGzip ? compressed : plain);
}
