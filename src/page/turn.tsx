/** One turn of a conversation: who speaks, what is said, what can be done with it. */
import { useMemo, useRef, useState } from 'preact/hooks';
import { edit, regenerate } from './chat-state.js';
import type { ToolCall, Turn } from './conversation.js';
import { shortNumber } from './figures.js';
import { renderMarkdown } from './markdown.js';
import { Button, copyCode, copyText } from './parts.js';
import { Tokens } from './tokens.js';

interface TurnProps {
  readonly turn: Turn;
  readonly index: number;
  /** An answer is being written, here or elsewhere: nothing can be asked. */
  readonly isBusy: boolean;
  readonly isWriting: boolean;
  readonly modelName: string;
}

const speakers = { user: 'You', tool: 'Tool' } as const;

export function TurnView({ turn, index, isBusy, isWriting, modelName }: TurnProps) {
  const [isEdited, setEdited] = useState(false);
  const [showsTokens, setShowsTokens] = useState(false);
  const text = useRef<HTMLDivElement>(null);
  const { role, content, reasoning, toolCalls, tokens, error } = turn;
  // While the last answer grows, those before it stay as they are.
  const shown = useMemo(() => renderMarkdown(content), [content]);
  const thought = useMemo(() => renderMarkdown(reasoning), [reasoning]);
  return (
    <article class={`turn ${role}`} aria-busy={isWriting}>
      <h2>{role === 'assistant' ? modelName : speakers[role]}</h2>
      {reasoning === '' ? null : (
        <details class="folded">
          <summary>{isWriting && content === '' ? 'Thinking …' : 'Reasoning'}</summary>
          <div class="text">{thought}</div>
        </details>
      )}
      {isEdited ? (
        <Editor turn={turn} index={index} close={() => setEdited(false)} />
      ) : (
        // biome-ignore lint/a11y/noStaticElementInteractions: its buttons are what is clicked
        <div class="text" ref={text} onClick={copyCode}>
          {role === 'assistant' ? shown : <p class="plain">{content}</p>}
          {isWriting ? <span class="caret" aria-hidden="true" /> : null}
        </div>
      )}
      {toolCalls.map((call) => (
        <CallView call={call} />
      ))}
      {error === null ? null : (
        <p class="error" role="alert">
          {error}
        </p>
      )}
      {isWriting || isEdited ? null : (
        <div class="actions">
          <Button onClick={() => void copyText(content, text.current!)}>Copy</Button>
          {role === 'tool' ? null : (
            <Button onClick={() => setEdited(true)} disabled={isBusy}>
              Edit
            </Button>
          )}
          {role === 'assistant' ? (
            <Button onClick={() => regenerate(index)} disabled={isBusy}>
              Regenerate
            </Button>
          ) : null}
          {tokens.length > 0 ? (
            <Button onClick={() => setShowsTokens(!showsTokens)} pressed={showsTokens}>
              Tokens
            </Button>
          ) : null}
          {role === 'assistant' ? <span class="note">{noteOf(turn)}</span> : null}
        </div>
      )}
      {showsTokens && tokens.length > 0 ? <Tokens tokens={tokens} /> : null}
    </article>
  );
}

const endings: Readonly<Record<string, string>> = { length: 'cut at its longest', stopped: 'stopped', tool_calls: 'calls a tool' };

function noteOf({ tokens, seconds, finish }: Turn): string {
  const speed = tokens.length > 1 && seconds > 0 ? [`${tokens.length} tokens`, `${shortNumber(tokens.length / seconds)} per second`] : [];
  const ending = finish === null ? undefined : endings[finish];
  return [...speed, ...(ending === undefined ? [] : [ending])].join(' · ');
}

function CallView({ call: { name, args } }: { readonly call: ToolCall }) {
  return (
    <details class="folded">
      <summary>
        Calls <code>{name}</code>
      </summary>
      <pre tabIndex={0}>
        <code>{indented(args)}</code>
      </pre>
    </details>
  );
}

function indented(json: string): string {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

function Editor({ turn, index, close }: { readonly turn: Turn; readonly index: number; readonly close: () => void }) {
  const [text, setText] = useState(turn.content);
  const save = () => {
    close();
    edit(index, text);
  };
  return (
    <div class="editor">
      <textarea
        aria-label={turn.role === 'user' ? 'Your question' : 'The answer'}
        value={text}
        ref={(element) => element?.focus()}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === 'Escape') close();
          if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) save();
        }}
      />
      <div class="actions">
        <Button kind="main" onClick={save} disabled={text.trim() === ''}>
          {turn.role === 'user' ? 'Ask again' : 'Save'}
        </Button>
        <Button onClick={close}>Cancel</Button>
      </div>
    </div>
  );
}
