/** The known word that a mistyped one was meant to be. */

/** Slips that a name may have in all, one for every so many letters. */
const lettersPerSlip = 4;

/** null: none is near. */
export function nearestOf(word: string, known: Iterable<string>): string | null {
  let nearest: string | null = null;
  let least = Math.floor(word.length / lettersPerSlip) + 1;
  for (const candidate of known) {
    const slips = editDistance(word, candidate);
    if (slips < least) [nearest, least] = [candidate, slips];
  }
  return nearest;
}

/** Letters left out, put in, exchanged for another or with their neighbour: Levenshtein's distance as Damerau has it. */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const [above, row] = [rows[i - 1]!, [i]];
    for (let j = 1; j <= b.length; j++) {
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwapped ? rows[i - 2]![j - 2]! + 1 : Number.POSITIVE_INFINITY;
      row.push(Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1), swapped));
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
