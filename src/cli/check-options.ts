/** The flags of `lockstep record` and `lockstep check`. */
import type { Flag, OptionsOf } from './flag.js';
import type { CommandTable } from './load-options.js';

const proxy = 'Proxy';
const file = 'File';

// biome-ignore format: a row a flag
export const recordFlags = [
  { name: 'upstream', type: 'string', default: null, group: proxy, value: 'URL', help: 'base URL of the server that the application uses now' },
  { name: 'host', type: 'string', default: '127.0.0.1', group: proxy, help: 'address to listen on' },
  { name: 'port', type: 'int', default: 8080, min: 0, max: 65535, group: proxy, help: 'port to listen on; 0: any free one' },
  { name: 'shutdown-timeout', type: 'number', default: 60, min: 0, max: 86400, group: proxy, value: 'SECONDS',
    help: 'how long running requests may go on after SIGTERM; a second SIGTERM ends them at once' },
  { name: 'out', type: 'string', default: 'record.jsonl', group: file, value: 'FILE', help: 'where requests and answers go, a line each, behind what is there' },
  { name: 'redact-text', type: 'boolean', default: false, group: file,
    help: 'prompts and answers become other text of the same length; keys are never in the file' },
  { name: 'max-body-bytes', type: 'size', default: 16 * 2 ** 20, min: 1, max: 64 * 2 ** 20, group: file, value: 'BYTES',
    help: 'longest request and answer that are kept; longer ones pass all the same' },
] as const satisfies readonly Flag[];

export type RecordOptions = OptionsOf<typeof recordFlags>;

export const recordCommand = {
  name: 'record',
  summary: 'stand between an application and its server, and write down what they say',
  flags: recordFlags,
  isConfigurable: false,
} as const satisfies CommandTable;

const servers = 'Servers';
const requests = 'Requests';
const report = 'Report';

// biome-ignore format: a row a flag
export const checkFlags = [
  { name: 'file', type: 'string', default: null, group: requests, value: 'FILE', help: 'what `lockstep record` wrote; may stand without the flag' },
  { name: 'limit', type: 'int', default: 1000, min: 1, max: 100_000, group: requests, value: 'N', help: 'most requests of the file that are sent again, the first' },
  { name: 'probe', type: 'boolean', default: true, group: requests,
    help: 'send further requests, with other values, that show whether each parameter has an effect' },
  { name: 'url', type: 'string', default: null, group: servers, value: 'URL', help: 'base URL of the server that is checked' },
  { name: 'api-key', type: 'string', default: null, group: servers, value: 'KEY', variables: ['VLLM_API_KEY', 'OPENAI_API_KEY'], help: 'key that it asks for' },
  { name: 'model', type: 'string', default: null, group: servers, value: 'NAME', help: 'model to ask it for. Unset: as recorded' },
  { name: 'against', type: 'string', default: null, group: servers, value: 'URL|record',
    help: "what its answers are held against: those of another server, or the recorded ones. Unset: what OpenAI documents" },
  { name: 'against-api-key', type: 'string', default: null, group: servers, value: 'KEY', help: 'key of that other server' },
  { name: 'against-model', type: 'string', default: null, group: servers, value: 'NAME', help: 'model to ask it for. Unset: as recorded' },
  { name: 'request-timeout', type: 'number', default: 120, min: 0.1, max: 86400, group: servers, value: 'SECONDS', help: 'how long a whole answer may take' },
  { name: 'accept', type: 'list', default: [], group: report, value: 'NAME',
    help: 'findings that are known and no difference any more, by the names that the report gives them, as chat.user' },
  { name: 'json', type: 'string', default: null, group: report, value: 'FILE', help: 'the report as JSON too' },
] as const satisfies readonly Flag[];

export type CheckOptions = OptionsOf<typeof checkFlags>;

export const checkCommand = {
  name: 'check',
  summary: 'send recorded requests to a server, and report what it does with each of their parameters',
  flags: checkFlags,
  positional: 'file',
  isConfigurable: false,
} as const satisfies CommandTable;
