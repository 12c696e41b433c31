/** For bash 3.2 and later: no associative arrays, no mapfile. */
import { type Completion, commandTree, type FlagCompletion, groupsOf } from './words.js';

const quoted = (words: readonly string[]) => `'${words.join(' ')}'`;

export function bashScript(completions: readonly Completion[]): string {
  const tree = commandTree(completions);
  const groups = groupsOf(completions);
  const below = groups.map((group) => `      ${group}) words=${quoted(tree.get(group)!.map(({ command }) => command.split(' ')[1]!))} ;;`);
  const flags = completions.map(
    ({ command, flags, positional }) =>
      `    '${command}') flags=${quoted(flags.flatMap(({ spellings }) => spellings))} words=${quoted(positional?.words ?? [])} files=${positional?.isFile ? 1 : ''} ;;`,
  );
  const values = completions.flatMap(({ command, flags }) => flags.flatMap((flag) => valueCase(command, flag)));
  return `# bash completion of lockstep: source <(lockstep completion bash)
_lockstep() {
  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD - 1]} command=\${COMP_WORDS[1]} at=2 flags= words= files=
  COMPREPLY=()
  # bash breaks --flag=value into three words.
  if [ "$current" = = ]; then
    current=
  elif [ "$before" = = ]; then
    before=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  case "$command" in
    ${groups.join(' | ')}) at=3 ;;
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then
    words=${quoted([...tree.keys(), '--help', '--version'])}
  elif [ "$COMP_CWORD" -lt "$at" ]; then
    case "$command" in
${below.join('\n')}
    esac
  else
    [ "$at" -eq 2 ] || command="$command \${COMP_WORDS[2]}"
    case "$command" in
${flags.join('\n')}
    esac
    case "$command:$before" in
${values.join('\n')}
      *) case "$current" in -*) words=$flags files= ;; esac ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [ -n "$files" ]; then compopt -o default 2>/dev/null; fi
}
complete -F _lockstep lockstep
`;
}

function valueCase(command: string, { spellings, value }: FlagCompletion): string[] {
  if (value === null) return [];
  const places = spellings.map((spelling) => `'${command}:${spelling}'`).join(' | ');
  return [`      ${places}) words=${quoted(value.words)} files=${value.isFile ? 1 : ''} ;;`];
}
