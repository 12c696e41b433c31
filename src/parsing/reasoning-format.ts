/** How models mark their reasoning, as data: a row a format. */

export interface ReasoningFormat {
  readonly name: string;
  readonly begin: string;
  readonly end: string;
  /** An answer is reasoning from its start even where `begin` stands neither in it nor at the end of the prompt. */
  readonly always: boolean;
}

const think = { begin: '<think>', end: '</think>', always: false };

/** `name`: as `--reasoning-parser` has it. Of equal rows `auto` takes the first. */
export const reasoningFormats: readonly ReasoningFormat[] = [
  { name: 'qwen3', ...think },
  { name: 'mistral', begin: '[THINK]', end: '[/THINK]', always: false },
  { name: 'seed_oss', begin: '<seed:think>', end: '</seed:think>', always: false },
  { name: 'cohere_command3', begin: '<|START_THINKING|>', end: '<|END_THINKING|>', always: false },
  { name: 'cohere_command4', begin: '<|START_THINKING|>', end: '<|END_THINKING|>', always: false },
  { name: 'plamo3', begin: '<|plamo:begin_think:plamo|>', end: '<|plamo:end_think:plamo|>', always: false },
  { name: 'deepseek_r1', ...think, always: true },
  // The prompt of these models says whether an answer begins inside of reasoning.
  ...['deepseek_v3', 'deepseek_v4', 'deepseek_v41', 'glm45', 'glm47', 'holo2', 'kimi_k2', 'ling3', 'mimo', 'minicpmv', 'nemotron_v3'].map(
    (name) => ({ name, ...think }),
  ),
  { name: 'poolside_v1', ...think },
  { name: 'step3p5', ...think },
  // That of these does not always.
  ...['minimax_m2', 'olmo3', 'step3'].map((name) => ({ name, ...think, always: true })),
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
