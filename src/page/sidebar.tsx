/** Beside the conversation: the others, and what this one is asked with. Folded away where there is no room for it. */
import { signal } from '@preact/signals';
import { begin, change, conversations, current, currentId, remove } from './chat-state.js';
import { parameterFields, titleOf } from './conversation.js';
import { Button } from './parts.js';

export const isSidebarOpen = signal(false);

export function Sidebar() {
  const { id, system, tools, parameters } = current.value;
  const numSet = Object.values(parameters).filter((value) => value !== '').length;
  const begun = conversations.value.filter(({ turns }) => turns.length > 0);
  const go = (to: string) => {
    currentId.value = to;
    isSidebarOpen.value = false;
  };
  return (
    <aside id="sidebar" class={isSidebarOpen.value ? 'open' : undefined} aria-label="Conversations and parameters">
      <Button
        kind="plain"
        onClick={() => {
          begin();
          isSidebarOpen.value = false;
          document.getElementById('question')?.focus();
        }}
      >
        New conversation
      </Button>
      <nav aria-label="Conversations">
        <ul>
          {begun.map((one) => (
            <li key={one.id}>
              <button type="button" class="conversation" aria-current={one.id === id ? 'true' : undefined} onClick={() => go(one.id)}>
                {titleOf(one)}
              </button>
              <Button onClick={() => remove(one.id)} label={`Remove: ${titleOf(one)}`}>
                ×
              </Button>
            </li>
          ))}
        </ul>
      </nav>
      <details class="settings" open={system !== ''}>
        <summary>System prompt</summary>
        <textarea
          aria-label="System prompt"
          rows={5}
          placeholder="How the model should answer"
          value={system}
          onInput={(event) => change(id, { system: event.currentTarget.value })}
        />
      </details>
      <details class="settings">
        <summary>Parameters{numSet > 0 ? <span class="note"> {numSet} set</span> : null}</summary>
        <div class="fields">
          {parameterFields.map(({ name, label, ...range }) => (
            <label key={name}>
              {label}
              <input
                type="number"
                inputMode="decimal"
                placeholder="default"
                {...range}
                value={parameters[name] ?? ''}
                onInput={(event) => change(id, { parameters: { ...parameters, [name]: event.currentTarget.value } })}
              />
            </label>
          ))}
        </div>
      </details>
      <details class="settings">
        <summary>Tools{tools.trim() === '' ? null : <span class="note"> given</span>}</summary>
        <textarea
          aria-label="Tools, as a JSON list"
          class="mono"
          rows={8}
          spellcheck={false}
          placeholder={'[{"type": "function",\n  "function": {"name": "…", "parameters": {}}}]'}
          value={tools}
          onInput={(event) => change(id, { tools: event.currentTarget.value })}
        />
      </details>
    </aside>
  );
}
