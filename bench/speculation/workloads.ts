/** What speculation is measured with: answers that repeat their prompt, answers that do not, and noise. */
import type { Random } from '../random.js';

/** Requests that run at once, and how each of them ends. */
export interface Workload {
  readonly name: string;
  /** Text for the chat template, or `random`: so many random tokens. */
  readonly prompts: readonly (string | { readonly random: number })[];
  readonly maxTokens: number;
  /** Noise has no end of its own. */
  readonly ignoreEos: boolean;
  readonly temperature: number;
  /** Least ratio over no speculation. */
  readonly least: number;
}

const text =
  'The harbour of Lindholm was built in 1874, when the old quay had become too short for the steam ships that carried timber to ' +
  'England. The town council paid for the new breakwater, and the merchant Anders Holm paid for the lighthouse, which still stands at ' +
  'the end of it. For forty years most of the timber of the province left through Lindholm. In 1912 the railway to the south was opened, ' +
  'and within ten years the timber trade had moved to the larger harbours on the west coast. The fishermen stayed. Today the harbour has ' +
  'room for sixty fishing boats and a hundred sailing boats, and the lighthouse of Anders Holm is a museum that shows how the ships ' +
  'were loaded by hand. Every summer the town celebrates the day on which the first steam ship, the Victoria, came into the new harbour.';

const questions = [
  'Why is the sky blue?',
  'How do I bake bread without an oven?',
  'Write a short story about a fox who learns to swim.',
  'What should I look at when I buy a used bicycle?',
  'Explain to a child how a telephone works.',
  'Write a poem about the sea in winter.',
  'What are the advantages of a small company over a large one?',
  'Plan a day in a city that I have never seen.',
];

const times = (count: number) => Array.from({ length: count }, (_, i) => i);
const greedy = { temperature: 0, ignoreEos: false };

export const workloads: readonly Workload[] = [
  { name: 'repeat a text, 1 stream', prompts: [`Repeat this text word for word:\n\n${text}`], maxTokens: 200, ...greedy, least: 1.7 },
  { name: 'summarise, 1 stream', prompts: [`Summarise this text:\n\n${text}`], maxTokens: 160, ...greedy, least: 1.7 },
  { name: 'a question, 1 stream', prompts: questions.slice(0, 1), maxTokens: 160, ...greedy, least: 0.97 },
  {
    name: 'a story at temperature 1, 1 stream',
    prompts: questions.slice(2, 3),
    maxTokens: 160,
    temperature: 1,
    ignoreEos: false,
    least: 0.97,
  },
  { name: 'random tokens, 1 stream', prompts: [{ random: 32 }], maxTokens: 128, temperature: 0, ignoreEos: true, least: 0.97 },
  { name: 'random tokens at temperature 1', prompts: [{ random: 32 }], maxTokens: 128, temperature: 1, ignoreEos: true, least: 0.97 },
  {
    name: 'random tokens, 16 streams',
    prompts: times(16).map(() => ({ random: 32 })),
    maxTokens: 128,
    temperature: 0,
    ignoreEos: true,
    least: 0.97,
  },
  {
    name: 'questions at temperature 1, 16 streams',
    prompts: times(16).map((i) => questions[i % 8]!),
    maxTokens: 128,
    temperature: 1,
    ignoreEos: true,
    least: 0.97,
  },
  {
    name: 'summarise, 16 streams',
    prompts: times(16).map((i) => `Summarise this text in ${i + 2} sentences:\n\n${text}`),
    maxTokens: 128,
    ...greedy,
    least: 0.97,
  },
];

export function randomTokens(random: Random, count: number, vocab: number): number[] {
  return Array.from({ length: count }, () => random.integer(0, vocab - 1));
}
