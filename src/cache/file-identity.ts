/** What of a file goes into the name of a cache entry that was made from it: enough to notice that it is another, without reading all of it. */
import type { Hash } from 'node:crypto';
import { closeSync, openSync, readSync, statSync } from 'node:fs';

const samples = 8;
const sampleBytes = 4096;

/** Path, size, time of change, inode, and some bytes from its start on to near its end. Throws where the file cannot be read. */
export function addFileIdentity(hash: Hash, path: string): void {
  const { size, mtimeNs, ino, dev } = statSync(path, { bigint: true });
  hash.update(`\n${path} ${size} ${mtimeNs} ${ino} ${dev} `);
  const file = openSync(path, 'r');
  try {
    const sample = new Uint8Array(sampleBytes);
    for (let i = 0; i < samples; i++) {
      const count = readSync(file, sample, 0, sampleBytes, (size * BigInt(i)) / BigInt(samples));
      hash.update(sample.subarray(0, count));
    }
  } finally {
    closeSync(file);
  }
}
