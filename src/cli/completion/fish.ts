/** For fish: a line a flag. */
import { type Completion, commandTree, type FlagCompletion, groupsOf, type ValueCompletion } from './words.js';

const quoted = (text: string) => `'${text.replace(/[\\']/g, '\\$&')}'`;

export function fishScript(completions: readonly Completion[]): string {
  const tree = commandTree(completions);
  const first = [...tree].map(([name, below]) => wordLine('', name, below.map(({ summary }) => summary).join('; ')));
  const second = groupsOf(completions).flatMap((group) =>
    tree.get(group)!.map(({ command, summary }) => wordLine(group, command.split(' ')[1]!, summary)),
  );
  return `# fish completion of lockstep: lockstep completion fish | source
# Whether the words before the cursor begin with this command, or are no more than it where -x is given.
function __lockstep_has
    set -l words (commandline -opc)
    set -e words[1]
    if test "$argv[1]" = -x
        test "$words" = "$argv[2..-1]"
    else
        set -l number (count $argv)
        test (count $words) -ge $number; and test "$words[1..$number]" = "$argv"
    end
end
complete -c lockstep -f
${[...first, ...second, ...completions.flatMap(commandLines)].join('\n')}
`;
}

const wordLine = (after: string, word: string, help: string) =>
  `complete -c lockstep -n ${quoted(`__lockstep_has -x ${after}`.trimEnd())} -a ${word} -d ${quoted(help)}`;

function commandLines({ command, flags, positional }: Completion): string[] {
  const on = `complete -c lockstep -n ${quoted(`__lockstep_has ${command}`)}`;
  const word = positional === null ? [] : [`${on}${valueWords(positional)}`];
  return [...word, ...flags.map((flag) => `${on}${flagWords(flag)}`)];
}

/** -tp is what fish calls an old-style option. */
function flagWords({ spellings, help, value }: FlagCompletion): string {
  const names = spellings.map((spelling) => {
    const name = spelling.replace(/^-+/, '');
    return ` ${spelling.startsWith('--') ? '-l' : name.length === 1 ? '-s' : '-o'} ${name}`;
  });
  return `${names.join('')} -d ${quoted(help)}${value === null ? '' : ` -r${valueWords(value)}`}`;
}

function valueWords({ words, isFile }: ValueCompletion): string {
  return `${isFile ? ' -F' : ' -f'}${words.length === 0 ? '' : ` -a ${quoted(words.join(' '))}`}`;
}
