/** GrammarSpec -> the automaton that the ranks run. Takes milliseconds to seconds: `compiler.ts` runs it in a thread of its own. */
import { LockstepError } from '../errors.js';
import { compileRules } from './automaton.js';
import { callArguments } from './call-arguments.js';
import { ebnf } from './ebnf.js';
import { jsonSchema } from './json-schema.js';
import { JsonText } from './json-text.js';
import { type Piece, Rules } from './pieces.js';
import { regexDfa } from './regex.js';
import { fieldOf, type GrammarSpec, type TagSpec } from './spec.js';
import { freeText, type MadeTag, separatedTags, triggeredTags } from './tags.js';

/** Grammars within grammars. */
const depthMax = 32;
/** Texts of a choice, and characters of all of them. */
export const choicesMax = 10_000;
const choiceCharsMax = 1 << 20;

/**
 * `specialTokens`: ids of the tokens that stand for no text, by their name. Throws `invalid_value` for what cannot be kept or is too large;
 * `param` is the innermost field that it is said in, or the outermost one for what is wrong with the whole.
 */
export function compileGrammar(spec: GrammarSpec, specialTokens: ReadonlyMap<string, number>): Int32Array {
  return naming(fieldOf(spec), () => {
    const rules = new Rules(specialTokens);
    const root = rules.declare();
    rules.body(root, pieceOf(rules, spec, 0));
    return compileRules(rules.list, root);
  });
}

/** Errors of `compile` that name no field yet name this one. */
function naming<T>(field: string | null, compile: () => T): T {
  try {
    return compile();
  } catch (error) {
    if (field === null || !(error instanceof LockstepError) || error.param !== null) throw error;
    throw new LockstepError(error.code, error.message, { param: field, cause: error });
  }
}

function pieceOf(rules: Rules, spec: GrammarSpec, depth: number): Piece {
  if (depth > depthMax) throw new LockstepError('invalid_value', `A structural tag is nested more than ${depthMax} deep.`);
  const inner = (each: GrammarSpec) => pieceOf(rules, each, depth + 1);
  const made = ({ begin, content, end }: TagSpec): MadeTag => ({ begin, content: rules.define(inner(content)), end });
  switch (spec.kind) {
    case 'json_object':
      return new JsonText(rules, spec.whitespace ?? 'any').object;
    case 'json_schema':
      return jsonSchema(rules, spec);
    case 'arguments':
      return callArguments(rules, spec);
    case 'regex':
      return rules.chars(regexDfa(spec.pattern, { search: false }), 'utf8');
    case 'choice':
      return choice(rules, spec.choices);
    case 'ebnf':
      return ebnf(rules, spec.grammar);
    case 'literal':
      return rules.marker(spec.text);
    case 'free_text':
      return freeText(rules, spec);
    case 'sequence':
      return rules.sequence(...spec.elements.map(inner));
    case 'any_of':
      return rules.either(...spec.elements.map(inner));
    case 'repeat':
      return rules.repeat(rules.define(inner(spec.element)), spec.least, spec.most ?? Number.POSITIVE_INFINITY);
    case 'tag':
      return rules.sequence(rules.marker(spec.begin), inner(spec.content), rules.marker(spec.end));
    case 'triggered_tags':
      checkTriggers(spec.triggers, spec.tags);
      return triggeredTags(rules, spec, spec.tags.map(made));
    case 'tags':
      return separatedTags(rules, spec, spec.tags.map(made));
    case 'field': {
      const piece = naming(spec.name, () => inner(spec.grammar));
      return (rule, from) => naming(spec.name, () => piece(rule, from));
    }
  }
}

function choice(rules: Rules, choices: readonly string[]): Piece {
  const chars = choices.reduce((sum, text) => sum + text.length, 0);
  if (choices.length > choicesMax || chars > choiceCharsMax) {
    throw new LockstepError('invalid_value', `A choice has at most ${choicesMax} texts of at most ${choiceCharsMax} characters together.`);
  }
  return rules.either(...choices.map((text) => rules.text(text)));
}

function checkTriggers(triggers: readonly string[], tags: readonly TagSpec[]): void {
  if (triggers.length === 0 || triggers.includes(''))
    throw new LockstepError('invalid_value', 'A structural tag needs triggers that are not empty.');
  const lost = tags.find(({ begin }) => !triggers.some((trigger) => begin.startsWith(trigger)));
  if (lost !== undefined) throw new LockstepError('invalid_value', `No trigger begins the tag ${JSON.stringify(lost.begin)}.`);
  const idle = triggers.find((trigger) => !tags.some(({ begin }) => begin.startsWith(trigger)));
  if (idle !== undefined) throw new LockstepError('invalid_value', `No tag begins with the trigger ${JSON.stringify(idle)}.`);
}
