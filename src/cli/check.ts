/** `lockstep check`: flags -> settings, the check, its report; exit status 1 where there are differences. */
import { writeFileSync } from 'node:fs';
import { check } from '../check/check.js';
import type { Target } from '../check/client.js';
import { readRecording } from '../check/record-lines.js';
import type { Reference } from '../check/replay.js';
import { formatReport, jsonReport } from '../check/report.js';
import { startError } from '../errors.js';
import type { CheckOptions } from './check-options.js';
import { urlOf } from './record.js';

/** Throws LockstepError `start` where it cannot be done. */
export async function runCheck(options: CheckOptions, output: NodeJS.WritableStream, progress: NodeJS.WriteStream): Promise<void> {
  if (options.file === null) throw startError('FILE is missing: what `lockstep record` wrote', { param: 'file' });
  const timeoutMs = options.requestTimeout * 1000;
  const target: Target = { base: urlOf(options.url, '--url'), apiKey: options.apiKey, model: options.model, timeoutMs };
  const reference = referenceOf(options, timeoutMs);
  const { exchanges, numBroken } = await readRecording(options.file, options.limit);
  const report = await check({
    exchanges,
    target,
    reference,
    probes: options.probe,
    accepted: options.accept.flatMap((words) => words.split(',')),
    onProgress: (text) => progress.isTTY && progress.write(`\r\x1b[K${text}`),
  });
  if (progress.isTTY) progress.write('\r\x1b[K');
  const against = typeof reference === 'string' ? reference : reference.base.href;
  const broken = numBroken === 0 ? '' : `; ${numBroken} broken lines passed over`;
  output.write(formatReport(report, `${target.base.href} against ${against}, by ${options.file}${broken}`));
  if (options.json !== null) save(options.json, jsonReport(report, { url: target.base.href, against, file: options.file, numBroken }));
  if (report.numDifferences > 0) process.exitCode = 1;
}

function referenceOf({ against, againstApiKey: apiKey, againstModel: model }: CheckOptions, timeoutMs: number): Reference {
  if (against === null) return "OpenAI's documentation";
  return against === 'record' ? 'the record' : { base: urlOf(against, '--against'), apiKey, model, timeoutMs };
}

function save(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw startError(`--json ${path}: ${(error as Error).message}`, { param: 'json', cause: error });
  }
}
