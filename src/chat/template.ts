/**
 * Messages -> prompt text, by the model's Jinja template. Pure string work: parsing requests is the API's, ids are the tokenizer's.
 */
import { Template } from '@huggingface/jinja';
import { LockstepError } from '../errors.js';

/** A part of a message's content. Only text is understood. */
export interface TextPart {
  readonly type: 'text';
  readonly text: string;
}

/** A message as the OpenAI API has it, validated; keys keep the wire's spelling, since templates read them. */
export interface ChatMessage {
  readonly role: string;
  readonly content?: string | readonly TextPart[] | null;
  readonly name?: string;
  readonly tool_calls?: readonly unknown[];
  readonly tool_call_id?: string;
  readonly [key: string]: unknown;
}

export interface RenderOptions {
  readonly addGenerationPrompt: boolean;
  /** The prompt ends with the last message's content, so that the model goes on writing it. Excludes `addGenerationPrompt`. */
  readonly continueFinalMessage: boolean;
  readonly tools?: readonly unknown[];
  readonly documents?: readonly unknown[];
  /** Further variables for the template (`chat_template_kwargs`). */
  readonly kwargs?: Readonly<Record<string, unknown>>;
}

export interface ChatTemplate {
  /** Throws `invalid_value` with the template's own message where the template refuses the messages. */
  render(messages: readonly ChatMessage[], options: RenderOptions): string;
}

/** Parses a template. Throws a `start` error where the source is no Jinja. */
export function createChatTemplate(
  source: string,
  tokens: { readonly bosToken: string | null; readonly eosToken: string | null },
): ChatTemplate {
  const template = new Template(source);
  return {
    render(messages, options) {
      try {
        return template.render({
          messages,
          add_generation_prompt: options.addGenerationPrompt,
          bos_token: tokens.bosToken ?? '',
          eos_token: tokens.eosToken ?? '',
          ...(options.tools === undefined ? {} : { tools: options.tools }),
          ...options.kwargs,
        });
      } catch (cause) {
        throw new LockstepError('invalid_value', cause instanceof Error ? cause.message : String(cause), { param: 'messages', cause });
      }
    },
  };
}
