/** The tokens of an answer: each tinted by how unsure the model was, and what else might have come in the place of the one that is looked at. */
import { useState } from 'preact/hooks';
import type { Token } from './conversation.js';
import { percentOf } from './figures.js';

/** Line ends and spaces are shown, since they are tokens too. */
const shown = (text: string) => text.replaceAll('\n', '↵').replaceAll('\t', '⇥');
const named = (text: string) => (text.trim() === '' ? JSON.stringify(text) : text);

/** In percent. By the root, so that what was nearly sure is told from what was sure. */
const tintOf = (probability: number) => 75 * Math.sqrt(1 - Math.min(1, probability));

export function Tokens({ tokens }: { readonly tokens: readonly Token[] }) {
  const [chosen, choose] = useState(0);
  const at = Math.min(chosen, tokens.length - 1);
  const onKeyDown = (event: KeyboardEvent) => {
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: tokens.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(Math.max(0, Math.min(tokens.length - 1, to)));
  };
  return (
    <section class="tokens" aria-label="Tokens of this answer">
      <div
        class="token-text"
        role="listbox"
        tabIndex={0}
        aria-label="Tokens; arrow keys move from one to the next"
        aria-activedescendant={`token-${at}`}
        onKeyDown={onKeyDown}
      >
        {tokens.map(({ text, logprob }, i) => {
          const probability = Math.exp(logprob);
          return (
            <>
              <span
                role="option"
                id={i === at ? `token-${at}` : undefined}
                aria-selected={i === at}
                aria-label={`${named(text)}, ${percentOf(probability)}`}
                style={{ '--doubt': `${Math.round(tintOf(probability))}%` }}
                onClick={() => choose(i)}
              >
                {shown(text)}
              </span>
              {text.includes('\n') ? <br /> : null}
            </>
          );
        })}
      </div>
      <Alternatives token={tokens[at]!} place={`${at + 1} of ${tokens.length}`} />
    </section>
  );
}

function Alternatives({ token, place }: { readonly token: Token; readonly place: string }) {
  const { text, logprob, alternatives } = token;
  const others = alternatives.some((other) => other.text === text) ? alternatives : [{ text, logprob }, ...alternatives];
  return (
    <div class="alternatives" aria-live="polite">
      <table>
        <caption>Token {place}: what could have come here</caption>
        <tbody>
          {others.map((other) => (
            <tr class={other.text === text ? 'taken' : undefined}>
              <th scope="row">
                <code>{JSON.stringify(other.text).slice(1, -1)}</code>
                {other.text === text ? <span class="hidden"> (taken)</span> : null}
              </th>
              <td class="number">{percentOf(Math.exp(other.logprob))}</td>
              <td class="bar" aria-hidden="true">
                <i style={{ width: `${Math.exp(other.logprob) * 100}%` }} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
