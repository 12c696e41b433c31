/** A root folder with Debian's C and C++ libraries, the executable and nothing else, for processes in a namespace of their own. */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, lstatSync, mkdirSync, mkdtempSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** What Node's official binary is linked to. */
const packages = ['libc6', 'libstdc++6', 'libgcc-s1'];

export const executable = process.env['LOCKSTEP_EXECUTABLE'];

/** Why the tests cannot run; false: they can. */
export const cannotRun =
  executable === undefined || executable === ''
    ? 'LOCKSTEP_EXECUTABLE does not name what `npm run build:executable` made'
    : (spawnSync('unshare', ['-Ur', '-m', 'true']).status !== 0 && 'this user may not make namespaces') ||
      (spawnSync('dpkg', ['-L', ...packages]).status !== 0 && 'this is no Debian');

export class BareRoot {
  readonly folder = mkdtempSync(join(tmpdir(), 'lockstep-bare-'));

  constructor() {
    const listed = execFileSync('dpkg', ['-L', ...packages], { encoding: 'utf8' }).split('\n');
    for (const path of listed.filter((line) => /\.so(\.|$)/.test(line) && !line.includes('/gconv/'))) this.#copy(path);
    for (const folder of ['proc', 'home']) mkdirSync(join(this.folder, folder));
    copyFileSync(executable!, join(this.folder, 'lockstep'));
  }

  #copy(path: string): void {
    const target = join(this.folder, path);
    const found = lstatSync(path);
    if (found.isDirectory()) return;
    mkdirSync(dirname(target), { recursive: true });
    if (found.isSymbolicLink()) symlinkSync(readlinkSync(path), target);
    else copyFileSync(path, target);
  }

  /** What starts /lockstep there with these words: program and arguments. `mounts`: commands of a shell before that, in which $ROOT is the root. */
  command(words: readonly string[], mounts = ''): readonly [string, string[]] {
    const script = `set -e; ROOT="$1"; shift; mount --rbind /proc "$ROOT/proc"; ${mounts || ':'}; exec chroot "$ROOT" /lockstep "$@"`;
    return ['unshare', ['-Ur', '-m', 'sh', '-c', script, 'sh', this.folder, ...words]];
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}
