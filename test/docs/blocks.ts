/** The fenced blocks of README.md and docs/, and what is to be done with each. */
import { readdirSync, readFileSync } from 'node:fs';
import { tables } from '../../src/cli/commands.js';

export interface Block {
  readonly file: string;
  /** Of its opening fence, from 1. */
  readonly line: number;
  readonly language: string;
  /** What follows the language on the fence. */
  readonly note: string;
  readonly text: string;
}

/** run: in every `npm test`. optional: where its tools are, as in `.ci/run`. unrun: nowhere, for a reason of `reasons`. shown: no command. output: what the block before it prints. */
export type Use = 'run' | 'optional' | 'unrun' | 'shown' | 'output';

/** Why nothing runs a block: `sh unrun=NAME`. */
export const reasons: Readonly<Record<string, string>> = {
  itself: 'it is what runs the tests',
  model: 'it wants a model that is not in the repository',
  executable: 'test/executable builds it and runs it',
  measurement: 'it measures for minutes, and wants a machine for itself',
  docker: 'it wants a container engine',
  kubectl: 'it wants kubectl; test/deploy runs it where that is there',
  routers: 'test/routers runs it with addresses of its own, where the routers are there',
  cluster: 'it wants a Kubernetes cluster',
  emulated: 'test/gpu runs it',
  gpu: 'it wants an NVIDIA GPU, or the compiler for one',
  system: 'it changes the machine: users, services',
};

const commands = ['sh', 'js', 'python'];
const data = ['text', 'json', 'yaml', 'mermaid', 'nginx'];

export const pages = (): readonly string[] => [
  'README.md',
  ...readdirSync('docs')
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

export const blocksOf = (file: string): Block[] => parseBlocks(file, readFileSync(file, 'utf8'));

export function parseBlocks(file: string, text: string): Block[] {
  const blocks: Block[] = [];
  const lines = text.split('\n');
  for (let at = 0; at < lines.length; at++) {
    const opening = /^( *)```(\S*)\s*(.*)$/.exec(lines[at]!);
    if (opening === null) continue;
    const [, indent = '', language = '', note = ''] = opening;
    const end = lines.indexOf(`${indent}\`\`\``, at + 1);
    if (end === -1) throw new Error(`${file}:${at + 1}: a block without an end`);
    const body = lines.slice(at + 1, end).map((line) => `${line.slice(indent.length)}\n`);
    blocks.push({ file, line: at + 1, language, note, text: body.join('') });
    at = end;
  }
  return blocks;
}

/** Throws where a block is neither run nor one that says why not. */
export function useOf({ file, line, language, note }: Block): Use {
  const wrong = (what: string): never => {
    throw new Error(`${file}:${line}: ${what}`);
  };
  if (data.includes(language)) {
    if (note === 'output' && language === 'text') return 'output';
    return note === '' ? 'shown' : wrong(`'${note}' after ${language}`);
  }
  if (!commands.includes(language)) wrong(`a block in '${language}': ${[...commands, ...data].join(', ')} are known`);
  if (note === '') return 'run';
  if (note === 'optional') return 'optional';
  const reason = /^unrun=(\w+)$/.exec(note)?.[1];
  if (reason === undefined || !(reason in reasons)) wrong(`'${note}' is no reason; there are: ${Object.keys(reasons).join(', ')}`);
  return 'unrun';
}

export type LockstepCall = { readonly command: string; readonly argv: readonly string[] };

/** Commands of Lockstep in a block of sh: `npm start -- …`, `npx lockstep …`, `lockstep …`. */
export function lockstepCalls({ language, text }: Block): LockstepCall[] {
  if (language !== 'sh') return [];
  const lines = text.replace(/\\\n/g, ' ').split('\n');
  return lines.flatMap(commandsOf).flatMap((words) => {
    if (words[0] === 'npm' && words[1] === 'start') return [{ command: 'serve', argv: words.slice(words[2] === '--' ? 3 : 2) }];
    const own = words[0] === 'npx' && words[1] === 'lockstep' ? words.slice(2) : words[0] === 'lockstep' ? words.slice(1) : null;
    if (own === null) return [];
    const length = tables.some(({ name }) => name.startsWith(`${own[0]} `)) ? 2 : 1;
    return [{ command: own.slice(0, length).join(' '), argv: own.slice(length) }];
  });
}

/** The words of each command of a line, without the variables before it, up to a comment or a redirection. */
function commandsOf(line: string): string[][] {
  const commands: string[][] = [[]];
  for (const [word, single, double] of line.matchAll(/'([^']*)'|"([^"]*)"|[#>].*$|[|&]+|[^\s'"|&]+/g)) {
    if (/^[#>]/.test(word)) break;
    const words = commands.at(-1)!;
    if (/^[|&]/.test(word)) commands.push([]);
    else if (words.length > 0 || !/^[A-Z_]+=/.test(word)) words.push(single ?? double ?? word);
  }
  return commands;
}
