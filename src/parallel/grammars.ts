/** The vocabulary and the grammars that the ranks of a group know, these by number: added when a request needs one, kept for the next as long as there is room. */
import { loadAddon } from '../addon/load.js';
import type { CompiledGrammar, TokenBytes } from '../grammar/compiled.js';

/** Grammars that are kept though nobody uses them. */
export const idleGrammarsMax = 16;

interface Known {
  readonly id: number;
  users: number;
}

export class GroupGrammars {
  readonly #group: number;
  /** In the order of last use. */
  readonly #known = new Map<string, Known>();
  #nextId = 1;
  #knowsVocabulary = false;

  /** `group`: the native group's handle. The addon is loaded with the first of them. */
  constructor(group: number) {
    this.#group = group;
  }

  /** Before the first row whose reasoning has a bound and ends with a text. */
  know({ bytes, ends }: TokenBytes): void {
    if (this.#knowsVocabulary) return;
    loadAddon().setVocabulary(this.#group, bytes, ends);
    this.#knowsVocabulary = true;
  }

  /** The number that rows name it by; to be given back with `release`. */
  acquire({ key, automaton, vocabulary }: CompiledGrammar): number {
    let known = this.#known.get(key);
    if (known === undefined) {
      this.know(vocabulary);
      known = { id: this.#nextId++, users: 0 };
      loadAddon().addGrammar(this.#group, known.id, automaton);
    }
    known.users++;
    this.#known.delete(key);
    this.#known.set(key, known);
    return known.id;
  }

  release(key: string): void {
    const known = this.#known.get(key);
    if (known === undefined) return;
    known.users--;
    let idle = 0;
    for (const { users } of this.#known.values()) idle += users === 0 ? 1 : 0;
    for (const [name, { id, users }] of this.#known) {
      if (idle <= idleGrammarsMax) return;
      if (users > 0) continue;
      loadAddon().removeGrammar(this.#group, id);
      this.#known.delete(name);
      idle--;
    }
  }
}
