/** `npm start`: builds what is missing, then `lockstep serve` with the arguments given. Works in a fresh clone. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { prepare } from './prepare.mjs';

prepare();
const server = spawn(process.execPath, ['--enable-source-maps', 'dist/src/cli/main.js', 'serve', ...process.argv.slice(2)], {
  stdio: 'inherit',
});
// A terminal sends ^C to both processes: the server drains, and this one waits for it. A supervisor signals only this one.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => server.kill('SIGTERM'));
server.on('exit', (status, signal) => process.exit(status ?? 128 + constants.signals[signal]));
