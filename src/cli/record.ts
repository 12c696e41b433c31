/** `lockstep record`: flags -> the proxy and its file; ends at a signal. */
import { once } from 'node:events';
import { RecordFile } from '../check/record-file.js';
import { lineOf } from '../check/record-lines.js';
import { Recorder } from '../check/recorder.js';
import { startError } from '../errors.js';
import type { RecordOptions } from './check-options.js';

/** Resolves when everything is written. `say` takes lines for the user. */
export async function record(options: RecordOptions, say: (line: string) => void): Promise<void> {
  const upstream = urlOf(options.upstream, '--upstream');
  const file = new RecordFile(options.out);
  let [numKept, numLost] = [0, 0];
  const recorder = await Recorder.start({
    upstream,
    host: options.host,
    port: options.port,
    bodyBytesMax: options.maxBodyBytes,
    keep: (exchange, secrets) => {
      try {
        file.append(lineOf(exchange, secrets, options.redactText));
        numKept++;
      } catch (error) {
        numLost++;
        say(`not kept: ${exchange.method} ${exchange.path}: ${(error as Error).message}`); // the application goes on
      }
    },
  });
  process.stderr.on('error', () => {}); // nobody reads it any more: the application goes on
  say(`recording http://${options.host}:${recorder.port} -> ${upstream.href} into ${options.out}; SIGTERM or ^C ends it`);
  await signal();
  const closed = recorder.close(options.shutdownTimeout * 1000);
  void signal().then(() => recorder.cut());
  await closed;
  file.close();
  say(`${numKept} requests in ${options.out}${numLost === 0 ? '' : `, ${numLost} could not be written`}`);
  if (numLost > 0) process.exitCode = 1;
}

async function signal(): Promise<void> {
  await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
}

/** Throws LockstepError `start` where `text` is no URL of a server. */
export function urlOf(text: string | null, flag: string): URL {
  const refuse = (what: string) => startError(`${flag} ${what}`, { param: flag.slice(2) });
  if (text === null) throw refuse('URL is missing: the server to talk to');
  if (!URL.canParse(text)) throw refuse(`must be a URL as http://127.0.0.1:8000, not '${text}'`);
  const url = new URL(text);
  if (!/^https?:$/.test(url.protocol)) throw refuse(`must be a URL of http or https, not '${text}'`);
  return url;
}
