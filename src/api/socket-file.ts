/** The file of a Unix domain socket: it outlives a server that was killed, and then nobody can listen there. */
import { existsSync, lstatSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { startError } from '../errors.js';

/** Removes the file if no server is behind it. Throws a start error where one is, or where the file is no socket. */
export async function clearSocketFile(path: string): Promise<void> {
  if (!existsSync(path)) return;
  if (!lstatSync(path).isSocket()) throw startError(`cannot listen on ${path}: there is a file, and it is no socket`, { param: '--uds' });
  if (await answers(path)) throw startError(`cannot listen on ${path}: a server listens there`, { param: '--uds' });
  rmSync(path, { force: true });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
