/** For zsh, over its _arguments. */
import { type Completion, commandTree, type FlagCompletion, groupsOf, type ValueCompletion } from './words.js';

const quoted = (text: string) => `'${text.replace(/'/g, `'\\''`)}'`;
/** In brackets of _arguments. */
const explained = (help: string) => help.replace(/[[\]\\:]/g, '\\$&');

export function zshScript(completions: readonly Completion[]): string {
  const tree = commandTree(completions);
  const groups = groupsOf(completions);
  const described = (name: string, summary: string) => quoted(`${name}:${summary.replace(/:/g, '\\:')}`);
  const first = [...tree].map(([name, below]) =>
    described(name, below.length === 1 ? below[0]!.summary : below.map(({ summary }) => summary).join('; ')),
  );
  const second = groups.map((group) => {
    const rows = tree.get(group)!.map(({ command, summary }) => described(command.split(' ')[1]!, summary));
    return `      ${group}) commands=(${rows.join(' ')}) ;;`;
  });
  return `#compdef lockstep
# zsh completion of lockstep: source <(lockstep completion zsh), after compinit
_lockstep() {
  local -a commands
  local command=$words[2]
  if (( CURRENT == 2 )); then
    commands=(${first.join(' ')})
    _describe command commands
    return
  fi
  case $command in
    (${groups.join('|')})
      if (( CURRENT == 3 )); then
        case $command in
${second.map((line) => line.replace(/^ {6}(\w+)\)/, '          ($1)')).join('\n')}
        esac
        _describe command commands
        return
      fi
      command="$command $words[3]"
      shift words
      (( CURRENT-- ))
      ;;
  esac
  shift words
  (( CURRENT-- ))
  case $command in
${completions.map(commandCase).join('\n')}
  esac
}
if [[ $funcstack[1] == _lockstep ]]; then _lockstep "$@"; else compdef _lockstep lockstep; fi
`;
}

function commandCase({ command, flags, positional }: Completion): string {
  const specs = [...flags.flatMap(flagSpecs), ...(positional === null ? [] : [`::${positional.name}:${action(positional)}`])];
  return `    (${quoted(command)})\n      _arguments ${specs.map(quoted).join(' \\\n        ')}\n      ;;`;
}

function flagSpecs({ spellings, help, value, repeats }: FlagCompletion): string[] {
  return spellings.map((spelling) => {
    const joins = value !== null && spelling.startsWith('--') ? '=' : '';
    return `${repeats ? '*' : ''}${spelling}${joins}[${explained(help)}]${value === null ? '' : `:${value.name}:${action(value)}`}`;
  });
}

const action = ({ words, isFile }: ValueCompletion) => (words.length > 0 && !isFile ? `(${words.join(' ')})` : isFile ? '_files' : ' ');
