/** Makes dist/page/index.html.gz, the page at `/`, of what TypeScript made of src/page: one file, so that one request brings it whole. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const targets = ['chrome120', 'firefox128', 'safari17.5'];

async function bundle(entryPoint) {
  const options = { bundle: true, minify: true, write: false, format: 'esm', target: targets, legalComments: 'none', logLevel: 'warning' };
  const { outputFiles } = await build({ entryPoints: [entryPoint], ...options });
  return outputFiles[0].text.trim();
}

const [script, style] = await Promise.all([bundle('dist/src/page/main.js'), bundle('src/page/style.css')]);
const html = readFileSync('src/page/index.html', 'utf8')
  .replace('<style></style>', () => `<style>${style}</style>`)
  .replace('<script type="module"></script>', () => `<script type="module">${script}</script>`);
mkdirSync('dist/page', { recursive: true });
writeFileSync('dist/page/index.html.gz', gzipSync(html, { level: 9 }));
