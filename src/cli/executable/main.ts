/**
 * What the single executable runs first: it unpacks the files that `scripts/executable.mjs` gave it and goes on as `lockstep` does from an installed
 * package. That it is one file changes nothing behind this one.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import sea from 'node:sea';
import { gunzipSync } from 'node:zlib';
import { cacheFolder } from '../../cache/disk-cache.js';
import { unpackedEnding } from '../../cache/unpacked.js';
import { LockstepError } from '../../errors.js';
import { type CarriedFile, unpack } from './unpack.js';

/** The asset that names the others, which are called as they lie below the folder, and compressed by gzip. */
interface Contents {
  readonly version: string;
  /** Of all names and bytes. */
  readonly digest: string;
  readonly files: readonly Omit<CarriedFile, 'bytes'>[];
}

type Environment = Readonly<Record<string, string | undefined>>;

/** The cache, where the user has named one that and nothing else; without a home, or where it cannot be written, the folder for temporary files. */
function placesFor(environment: Environment): string[] {
  const cache = cacheFolder(environment);
  if (cache !== null && environment['LOCKSTEP_CACHE']) return [cache];
  const temporary = tmpdir();
  return [...(cache === null ? [] : [cache]), ...(existsSync(temporary) ? [temporary] : [])];
}

function start(): void {
  const { version, digest, files: named } = JSON.parse(sea.getAsset('contents.json', 'utf8')) as Contents;
  const [first = ''] = process.argv.slice(2);
  if (first === '--version' || first === '-v') return void process.stdout.write(`${version}\n`);
  const files = named.map(
    (file): CarriedFile => ({ ...file, bytes: () => gunzipSync(new Uint8Array(sea.getRawAsset(file.path) as ArrayBuffer)) }),
  );
  const { folder, refused } = unpack(files, `${digest}-${process.geteuid?.()}${unpackedEnding}`, placesFor(process.env));
  if (refused.length > 0)
    process.stderr.write(`lockstep: unpacked into ${folder}, since the cache cannot be used: ${refused.join('; ')}\n`);
  createRequire(resolve(folder, 'package.json'))('./start.cjs');
}

try {
  start();
} catch (error) {
  process.stderr.write(error instanceof LockstepError ? `lockstep: ${error.message}\n` : `${(error as Error).stack ?? error}\n`);
  process.exitCode = error instanceof LockstepError ? 2 : 1;
}
