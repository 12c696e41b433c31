/** What a person at a terminal is told when the server takes requests: where it is, what it serves, how much fits, and a line to try. */
import { networkInterfaces } from 'node:os';
import type { ServedModel } from '../api/served-model.js';
import type { Placement } from '../engine/placement.js';
import type { Pooler } from '../engine/pooler.js';
import { formatBytes } from '../model/checkpoint.js';
import type { ServeOptions } from './options.js';

export interface StartFacts {
  readonly version: string;
  /** From the start of the process. */
  readonly seconds: number;
  /** Of the socket; 0 with --uds. */
  readonly port: number;
  readonly model: ServedModel;
  readonly options: Pick<ServeOptions, 'host' | 'uds' | 'sslCertfile' | 'rootPath' | 'page' | 'apiKey' | 'apiKeyFile' | 'maxNumSeqs'>;
  /** Of this machine, as others may call it; null: none. */
  readonly lanAddress: string | null;
}

const count = (value: number) => value.toLocaleString('en-US');
const plural = (value: number, what: string) => `${count(value)} ${what}${value === 1 ? '' : 's'}`;

export function startMessage({ version, seconds, port, model, options, lanAddress }: StartFacts): string {
  const { facts, placement, maxModelLen, names } = model;
  const base = originOf(options, port) + options.rootPath;
  const isForAll = options.uds === null && anyAddress.includes(options.host);
  const lan =
    isForAll && lanAddress !== null
      ? `, from other machines ${originOf({ ...options, host: lanAddress }, port)}${options.rootPath}/v1`
      : '';
  const fits = Math.floor(placement.kvCacheTokens / maxModelLen);
  const rows: readonly (readonly [string, string | null])[] = [
    ['API', options.uds === null ? `${base}/v1${lan}` : `${options.uds}, a Unix domain socket`],
    ['Page', options.page && options.uds === null ? `${base}/` : null],
    [
      'Model',
      `${names.join(', ')}: ${facts.family}, ${magnitude(facts.numParameters)} parameters, mostly ${facts.weightFormat}, ${formatBytes(facts.numBytes)}`,
    ],
    ['Files', model.root],
    ['Ranks', ranksOf(placement)],
    ['KV cache', `${plural(placement.kvCacheTokens, 'token')} in ${formatBytes(placement.kvCacheBytes)}`],
    ['Requests', `${count(options.maxNumSeqs)} at once at most; ${count(fits)} of the full length of ${plural(maxModelLen, 'token')} fit`],
  ];
  const shown = rows.filter((row) => row[1] !== null).map(([name, text]) => `  ${name.padEnd(10)}${text}\n`);
  return `\n  Lockstep ${version}, ready after ${seconds.toFixed(1)} s\n\n${shown.join('')}\n${indented(curlLine(model, options, base))}\n  ^C finishes the running requests and ends.\n\n`;
}

function ranksOf({ ranks, devices, threadsPerRank, mode }: Placement): string {
  if (devices.some((device) => device !== 'cpu')) return `${ranks} on ${devices.join(', ')}`;
  return `${ranks} on the CPU, ${plural(ranks * threadsPerRank, 'thread')}${ranks === 1 ? '' : `, ${mode} mode`}`;
}

/** The first that other machines see. */
export function lanAddress(): string | null {
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return addresses.find(({ internal, family }) => !internal && family === 'IPv4')?.address ?? null;
}

const anyAddress: readonly string[] = ['0.0.0.0', '::', ''];

function originOf({ host, uds, sslCertfile }: StartFacts['options'], port: number): string {
  if (uds !== null) return 'http://localhost';
  const name = anyAddress.includes(host) ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return `${sslCertfile === null ? 'http' : 'https'}://${name}:${port}`;
}

function magnitude(value: number): string {
  const [unit, name] = value >= 1e9 ? [1e9, 'B'] : [1e6, 'M'];
  return `${(value / unit).toFixed(1)} ${name}`;
}

const indented = (text: string) =>
  text
    .split('\n')
    .map((line) => `  ${line}\n`)
    .join('');

/** A request that this model answers, to be pasted into another terminal. The key is not shown. */
function curlLine({ pooler, template, names }: ServedModel, options: StartFacts['options'], base: string): string {
  const [path, body] = requestFor(pooler?.spec ?? null, template !== null);
  const isClosed = options.apiKey.length > 0 || options.apiKeyFile !== null;
  const words = [
    options.uds === null ? '' : ` --unix-socket ${shellWord(options.uds)}`,
    options.sslCertfile === null ? '' : ` --cacert ${shellWord(options.sslCertfile)}`,
    ` ${base}${path} -H 'content-type: application/json'`,
    isClosed ? ' -H "authorization: Bearer $LOCKSTEP_API_KEY"' : '',
  ];
  return `curl${words.join('')} \\\n  -d ${shellWord(JSON.stringify({ model: names[0], ...body }))}`;
}

function requestFor(pooling: Pooler['spec'] | null, hasTemplate: boolean): readonly [path: string, body: object] {
  const text = 'How tall is the tower?';
  if (pooling?.task === 'embed') return ['/v1/embeddings', { input: text }];
  if (pooling?.task === 'classify') {
    return pooling.labels.length === 1 ? ['/score', { text_1: text, text_2: 'The tower has 300 metres.' }] : ['/classify', { input: text }];
  }
  if (!hasTemplate) return ['/v1/completions', { prompt: 'Once upon a time', max_tokens: 64 }];
  return ['/v1/chat/completions', { messages: [{ role: 'user', content: 'Hello! What can you do?' }] }];
}

const shellWord = (text: string) => (/^[\w./:-]+$/.test(text) ? text : `'${text.replace(/'/g, `'\\''`)}'`);
