/** The grammars that the ranks of a group know, by number: added when a request needs one, kept for the next as long as there is room. */
import { loadAddon } from '../addon/load.js';
import type { CompiledGrammar } from '../grammar/compiled.js';

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

  /** `group`: the native group's handle. The addon is loaded with the first grammar. */
  constructor(group: number) {
    this.#group = group;
  }

  /** The number that rows name it by; to be given back with `release`. */
  acquire({ key, automaton, vocabulary }: CompiledGrammar): number {
    let known = this.#known.get(key);
    if (known === undefined) {
      const addon = loadAddon();
      if (this.#nextId === 1) addon.setVocabulary(this.#group, vocabulary.bytes, vocabulary.ends);
      known = { id: this.#nextId++, users: 0 };
      addon.addGrammar(this.#group, known.id, automaton);
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
