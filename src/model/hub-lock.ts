/** One download of a file at a time, also over processes: a lock file that names its owner. */
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { startError } from '../errors.js';

const pollMs = 250;
/** The longest download that another process is given before this one gives up. */
const waitMaxMs = 6 * 3_600_000;

/** Runs `work` while holding the lock. The lock of a process of this machine that is gone is taken over. */
export async function withLock<T>(path: string, onWait: () => void, work: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + waitMaxMs;
  for (let told = false; !take(path); told = true) {
    if (!told) onWait();
    if (Date.now() > deadline) throw startError(`${path} is held by another process; remove it if that process is gone`);
    await sleep(pollMs);
  }
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

function take(path: string): boolean {
  try {
    const fd = openSync(path, 'wx');
    writeSync(fd, `${hostname()} ${process.pid}`);
    closeSync(fd);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code !== 'EEXIST') throw error;
    if (isAbandoned(path)) rmSync(path, { force: true });
    return false;
  }
}

/** Whether somebody has the lock, as far as can be told. */
export const isHeld = (path: string): boolean => existsSync(path) && !isAbandoned(path);

function isAbandoned(path: string): boolean {
  let owner: string;
  try {
    owner = readFileSync(path, 'utf8');
  } catch {
    return false; // given back just now
  }
  const [host, pid] = owner.split(' ');
  if (host !== hostname() || !/^[1-9]\d*$/.test(pid ?? '')) return false;
  try {
    process.kill(Number(pid), 0); // asks whether it lives
    return false;
  } catch (error) {
    return (error as { code?: string }).code === 'ESRCH';
  }
}
