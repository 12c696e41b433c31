/** Conversations as the browser keeps them: texts, without the tokens' probabilities. */
import type { Conversation, Turn } from './conversation.js';

const storeName = 'lockstep.conversations';
/** Older ones go first. */
const conversationsMax = 50;

export function readConversations(): Conversation[] {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(storeName) ?? '[]');
    return Array.isArray(stored) ? stored.filter(isConversation) : [];
  } catch {
    return [];
  }
}

export function isConversation(value: unknown): value is Conversation {
  const { id, system, tools, parameters, turns } = (value ?? {}) as Partial<Record<keyof Conversation, unknown>>;
  const texts = [id, system, tools].every((text) => typeof text === 'string');
  return texts && typeof parameters === 'object' && parameters !== null && Array.isArray(turns) && turns.every(isTurn);
}

function isTurn(value: unknown): value is Turn {
  const { role, content, reasoning, toolCalls, tokens } = (value ?? {}) as Partial<Record<keyof Turn, unknown>>;
  const isSpeaker = role === 'user' || role === 'assistant' || role === 'tool';
  return isSpeaker && typeof content === 'string' && typeof reasoning === 'string' && Array.isArray(toolCalls) && Array.isArray(tokens);
}

/** `newest first`. Where the browser's space is used up, fewer are kept. */
export function keepConversations(conversations: readonly Conversation[]): void {
  let kept = conversations
    .filter(({ turns }) => turns.length > 0)
    .slice(0, conversationsMax)
    .map((one) => ({ ...one, turns: one.turns.map((turn) => ({ ...turn, tokens: [] })) }));
  for (;;) {
    try {
      localStorage.setItem(storeName, JSON.stringify(kept));
      return;
    } catch {
      if (kept.length === 0) return; // the browser keeps nothing
      kept = kept.slice(0, kept.length >> 1);
    }
  }
}
