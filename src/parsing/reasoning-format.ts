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

/**
 * Whether an answer begins inside of reasoning. `promptEnd`: the last characters of the prompt, special tokens included; a template may
 * end it with `begin`, or with an empty reasoning where thinking is off.
 */
export function beginsInReasoning({ begin, end, always }: ReasoningFormat, promptEnd: string): boolean {
  const tail = promptEnd.trimEnd();
  return tail.endsWith(begin) || (always && !tail.endsWith(end));
}
