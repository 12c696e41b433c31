/** How models mark their reasoning, as data: a row a format. */

export interface ReasoningFormat {
  readonly name: string;
  readonly begin: string;
  readonly end: string;
  /** An answer is reasoning from its start even where `begin` stands neither in it nor at the end of the prompt. */
  readonly always: boolean;
}

/** `name`: as `--reasoning-parser` has it. */
export const reasoningFormats: readonly ReasoningFormat[] = [
  { name: 'qwen3', begin: '<think>', end: '</think>', always: false },
  { name: 'mistral', begin: '[THINK]', end: '[/THINK]', always: false },
  { name: 'deepseek_r1', begin: '<think>', end: '</think>', always: true },
];

/** What `auto` takes: the first row whose markers the chat template knows; null: none. */
export function reasoningFormatOf(template: string): ReasoningFormat | null {
  return reasoningFormats.find(({ begin, end }) => template.includes(begin) || template.includes(end)) ?? null;
}

/** begun: an answer begins inside of reasoning; over: behind it; possible: it may begin with it. */
export type ReasoningStart = 'begun' | 'over' | 'possible';

/**
 * `prompt`: with its special tokens; a template may end it with `begin`, or with an empty reasoning where thinking is off. `prefix`: what of the answer the prompt holds already; null: nothing.
 */
export function reasoningStart({ begin, end, always }: ReasoningFormat, prompt: string, prefix: string | null): ReasoningStart {
  if (prefix !== null && prefix.trim() !== '') {
    const [lastBegin, lastEnd] = [prefix.lastIndexOf(begin), prefix.lastIndexOf(end)];
    return lastBegin > lastEnd ? 'begun' : 'over';
  }
  const tail = prompt.trimEnd();
  if (tail.endsWith(begin)) return 'begun';
  if (tail.endsWith(end)) return 'over';
  return always ? 'begun' : 'possible';
}
