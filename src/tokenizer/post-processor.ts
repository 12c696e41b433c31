/** The frame of special tokens around a text (bos, eos): only put there when `addSpecialTokens` asks for it. */
import { type Component, components, UnsupportedComponent } from './definition.js';

export interface Frame {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

const noFrame: Frame = { before: [], after: [] };

export function createFrame(definition: Component | null): Frame {
  if (definition === null) return noFrame;
  switch (definition.type) {
    case 'ByteLevel':
      return noFrame; // it only mends offsets
    case 'Sequence':
      return components(definition.processors)
        .map(createFrame)
        .reduce(
          (inner, outer) => ({
            before: [...outer.before, ...inner.before],
            after: [...inner.after, ...outer.after],
          }),
          noFrame,
        );
    case 'TemplateProcessing':
      return templateFrame(definition);
    case 'BertProcessing':
    case 'RobertaProcessing':
      return { before: [tokenId(definition.cls)], after: [tokenId(definition.sep)] };
    default:
      throw new UnsupportedComponent(`post-processor ${definition.type}`);
  }
}

interface TemplateItem {
  readonly SpecialToken?: { readonly id: string };
  readonly Sequence?: { readonly id: string };
}

function templateFrame(definition: Component): Frame {
  const items = definition.single as readonly TemplateItem[];
  const ids = definition.special_tokens as Readonly<Record<string, { readonly ids: readonly number[] }>>;
  const at = items.findIndex((item) => item.Sequence !== undefined);
  const idsOf = (part: readonly TemplateItem[]) => part.flatMap((item) => ids[item.SpecialToken?.id ?? '']?.ids ?? []);
  return at < 0 ? noFrame : { before: idsOf(items.slice(0, at)), after: idsOf(items.slice(at + 1)) };
}

function tokenId(pair: unknown): number {
  if (Array.isArray(pair) && typeof pair[1] === 'number') return pair[1];
  throw new UnsupportedComponent('frame token without an id');
}
