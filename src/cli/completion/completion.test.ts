/** The scripts, in the shells that they are for. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { benchServeCommand, benchThroughputCommand } from '../bench-options.js';
import { chatCommand, completionCommand, serveCommand } from '../options.js';
import { completionScript } from './script.js';

const tables = [serveCommand, benchServeCommand, benchThroughputCommand, chatCommand, completionCommand];
const folder = mkdtempSync(join(tmpdir(), 'lockstep-completion-'));
after(() => rmSync(folder, { recursive: true }));
writeFileSync(join(folder, 'flags.yaml'), '');

function run(shell: string, script: string): string[] {
  const { stdout, stderr, status } = spawnSync(shell, ['-c', script], { encoding: 'utf8', cwd: folder, timeout: 20_000 });
  assert.equal(status, 0, stderr);
  assert.equal(stderr, '');
  return stdout.split('\n').filter((line) => line !== '');
}

const has = (shell: string) => spawnSync(shell, ['-c', 'exit 0']).status === 0;
const scriptFile = (shell: 'bash' | 'zsh' | 'fish', name = `lockstep.${shell}`) => {
  writeFileSync(join(folder, name), completionScript(shell, tables));
  return name;
};

/** Of each shell: what it offers where a line ends like this. */
const shells = {
  bash(line: string): string[] {
    const words = line.split(/(=)|\s+/).filter((word) => word !== undefined); // as COMP_WORDBREAKS does
    const list = words.map((word) => `'${word}'`).join(' ');
    return run(
      'bash',
      `. ./${scriptFile('bash')}; COMP_WORDS=(${list}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _lockstep; printf '%s\\n' "\${COMPREPLY[@]}"`,
    );
  },
  fish(line: string): string[] {
    return run('fish', `source ${scriptFile('fish')}; complete -C '${line}'`).map((row) => row.split('\t')[0]!.replace(/^--[\w-]+=/, ''));
  },
};

for (const [shell, offered] of Object.entries(shells)) {
  describe(shell, { skip: !has(shell) && `${shell} is not here` }, () => {
    const cases: readonly [line: string, words: readonly string[]][] = [
      ['lockstep se', ['serve']],
      ['lockstep ', ['serve', 'bench', 'chat', 'completion']],
      ['lockstep bench ', ['serve', 'throughput']],
      ['lockstep serve --max-num-s', ['--max-num-seqs']],
      ['lockstep serve --tensor-parallel-mode ', ['auto', 'gather', 'reduce']],
      ['lockstep serve --tensor-parallel-mode=r', ['reduce']],
      ['lockstep serve --seed 1 --dtype ', ['auto', 'bfloat16', 'float32']],
      ['lockstep serve --no-pa', ['--no-page']],
      ['lockstep bench serve --request-r', ['--request-rate']],
      ['lockstep bench throughput --tensor-parallel-s', ['--tensor-parallel-size']],
      ['lockstep chat --max-num-s', []],
      ['lockstep completion z', ['zsh']],
    ];
    for (const [line, words] of cases) {
      test(line, () => {
        const found = offered(line);
        const own = line === 'lockstep ' ? found.filter((word) => !word.startsWith('-')) : found;
        assert.deepEqual([...own].sort(), [...words].sort());
      });
    }
  });
}

test('fish offers files where a flag takes one', { skip: !has('fish') && 'fish is not here' }, () => {
  assert.deepEqual(shells.fish('lockstep serve --config fl'), ['flags.yaml']);
});

/** A shell in a pseudo-terminal types the line and asks for what may follow. */
test('zsh', { skip: !has('zsh') && 'zsh is not here' }, () => {
  const offered = (line: string) =>
    run(
      'zsh',
      `zmodload zsh/zpty
zpty -b it zsh -f -i
zpty -w it "PS1=; autoload -Uz compinit; compinit -u -d ${folder}/dump; source ./${scriptFile('zsh')}; LISTMAX=1000; setopt no_list_beep; stty columns 200 rows 500; echo READ''Y"
zpty -r -m it REPLY '*READY*'
zpty -w -n it "${line}"$'\\t\\t'
sleep 0.6
zpty -w -n it $'\\x15exit\\n'
while zpty -r it REPLY; do print -r -- "$REPLY"; done
exit 0`,
    ).join('\n');
  assert.match(offered('lockstep '), /serve[\s\S]*bench[\s\S]*chat/);
  assert.match(offered('lockstep bench '), /throughput/);
  assert.match(offered('lockstep serve --max-num-se'), /--max-num-seqs/);
  assert.match(offered('lockstep serve --tensor-parallel-mode '), /gather[\s\S]*reduce/);
  assert.match(offered('lockstep bench serve --request-r'), /--request-rate/);
});

test('a shell must be named', () => {
  assert.throws(() => completionScript(null, tables), /completion needs the name of a shell: bash, zsh, fish/);
});
