/** `lockstep completion`: a script for a shell, made from the tables of flags, so that it asks nobody while somebody types. */
import { startError } from '../../errors.js';
import type { CommandTable } from '../load-options.js';
import { shells } from '../options.js';
import { bashScript } from './bash.js';
import { fishScript } from './fish.js';
import { completionOf } from './words.js';
import { zshScript } from './zsh.js';

const scripts = { bash: bashScript, zsh: zshScript, fish: fishScript };

/** Throws LockstepError `start` where no shell is named. */
export function completionScript(shell: (typeof shells)[number] | null, tables: readonly CommandTable[]): string {
  if (shell === null) throw startError(`completion needs the name of a shell: ${shells.join(', ')}`, { param: 'shell' });
  return scripts[shell](tables.map(completionOf));
}
