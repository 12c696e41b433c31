/**
 * Content parts against content text. Most templates want a message's content as one text; some walk over its parts. Which of the two a template
 * is, is seen in its loops (vLLM's `--chat-template-content-format auto` does the same).
 */

export type ContentFormat = 'string' | 'openai';

interface Node {
  readonly type: string;
}

/** `openai` where a loop of the template runs over `….content`, `…['content']`, or a variable or macro parameter that holds it. */
export function detectContentFormat(program: object): ContentFormat {
  const holders = new Set(['content']);
  let loops: Node[] = [];
  walk(program as Node, (node) => {
    if (node.type === 'Set') {
      const { assignee, value } = node as Node & { assignee: Node; value: Node | null };
      if (assignee.type === 'Identifier' && value !== null && isContent(value, holders))
        holders.add((assignee as Node & { value: string }).value);
    }
    if (node.type === 'For') loops = [...loops, (node as Node & { iterable: Node }).iterable];
  });
  return loops.some((iterable) => isContent(iterable, holders)) ? 'openai' : 'string';
}

function isContent(node: Node, holders: ReadonlySet<string>): boolean {
  switch (node.type) {
    case 'SelectExpression':
      return isContent((node as Node & { lhs: Node }).lhs, holders);
    case 'FilterExpression':
      return isContent((node as Node & { operand: Node }).operand, holders);
    case 'Identifier':
      return holders.has((node as Node & { value: string }).value);
    case 'MemberExpression': {
      const { property } = node as Node & { property: Node & { value?: unknown } };
      return (property.type === 'Identifier' || property.type === 'StringLiteral') && property.value === 'content';
    }
    default:
      return false;
  }
}

function walk(node: Node, visit: (node: Node) => void): void {
  visit(node);
  for (const child of Object.values(node) as unknown[]) {
    for (const part of child instanceof Map ? [...child].flat() : Array.isArray(child) ? child : [child]) {
      if (typeof part === 'object' && part !== null && 'type' in part) walk(part as Node, visit);
    }
  }
}
