/** What was asked and what was answered, in the log, for who asks for it (--enable-log-requests, --enable-log-outputs). */
import type { GenerationRequest } from '../../engine/request.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import type { Context } from '../context.js';

/** A token stands for one character at least, but for parts of one. */
const tokensPerCharMax = 4;

const cut = (text: string, lenMax: number) => (text.length <= lenMax ? text : `${text.slice(0, lenMax)}…`);

export function logPrompt({ options: { logger, textLog } }: Context, tokenizer: Tokenizer, request: GenerationRequest): void {
  if (!textLog?.prompts) return;
  const { id, promptTokens, sampling, stop } = request;
  const shown = promptTokens.subarray(0, Math.min(promptTokens.length, textLog.lenMax * tokensPerCharMax));
  const prompt = cut(tokenizer.decode(shown, { skipSpecialTokens: false }), textLog.lenMax);
  const seed = sampling.seed === null ? null : String(sampling.seed);
  logger.info({ request: id, prompt, promptTokens: promptTokens.length, params: { ...sampling, seed, ...stop } }, 'asked');
}

/** Collects the text of one request's choices; null where it is not asked for. */
export function outputLog({ options: { logger, textLog } }: Context, id: string): OutputLog | null {
  if (!textLog?.outputs) return null;
  const { lenMax } = textLog;
  const texts: string[] = [];
  return {
    push(choice, text, finishReason) {
      if ((texts[choice]?.length ?? 0) <= lenMax) texts[choice] = (texts[choice] ?? '') + text;
      if (finishReason !== null) logger.info({ request: id, choice, output: cut(texts[choice] ?? '', lenMax), finishReason }, 'said');
    },
  };
}

export interface OutputLog {
  push(choice: number, text: string, finishReason: string | null): void;
}
