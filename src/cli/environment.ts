/** The variables that a server reads, in one table, and a word about those that look as if they were read and are not. */
import { variableOf } from './flag.js';
import { nearestOf } from './nearest.js';
import { doctorCommand, serveFlags } from './options.js';

/** Those that are no flag's. */
const others = [
  'LOCKSTEP_CONFIG',
  'LOCKSTEP_CACHE', // where entries of the cache lie
  'LOCKSTEP_ISA', // the kernels' instruction set, read by the addon
  'LOCKSTEP_NO_SHARED', // of the tests
];

export const knownVariables: ReadonlySet<string> = new Set([
  ...[...serveFlags, ...doctorCommand.flags].flatMap((flag) => [variableOf(flag), ...('variables' in flag ? flag.variables : [])]),
  ...others,
]);

/** Python environments, whose packages bring libraries for GPUs. */
export const libraryRoots = (environment: Readonly<Record<string, string | undefined>>): string[] =>
  ['VIRTUAL_ENV', 'CONDA_PREFIX'].flatMap((name) => environment[name] || []);

/** A line for each variable of ours that nobody reads, which is a slip of the pen, and one for all those of vLLM. */
export function strayVariables(environment: Readonly<Record<string, string | undefined>>): string[] {
  const set = Object.keys(environment).filter((name) => (environment[name] ?? '') !== '' && !knownVariables.has(name));
  const notes = set
    .filter((name) => name.startsWith('LOCKSTEP_'))
    .map((name) => {
      const nearest = nearestOf(name, knownVariables);
      return `the variable ${name} is not read${nearest === null ? '' : `: is ${nearest} meant?`}`;
    });
  const ofVllm = set.filter((name) => name.startsWith('VLLM_'));
  if (ofVllm.length > 0) notes.push(`variables of vLLM have no effect here: ${ofVllm.join(', ')}`);
  return notes;
}
