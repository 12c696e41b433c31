/** A part of a text between two lines of its own, which a program writes anew. */

/** `text` with `part` between `opening` and `closing`. Throws where they are not there. */
export function withMarkedPart(text: string, [opening, closing]: readonly [string, string], part: string): string {
  const start = text.indexOf(opening);
  const end = text.indexOf(closing);
  if (start === -1 || end < start) throw new Error(`the page lacks its markers: ${opening.trim()} … ${closing}`);
  return `${text.slice(0, start + opening.length)}\n${part}\n${text.slice(end)}`;
}
