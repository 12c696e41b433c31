/** Ranges of characters as sequences of byte ranges: UTF-8, and UTF-8 within the quotes of a JSON string. */

export type ByteRange = readonly [lo: number, hi: number];

const lastOfLength = [0x7f, 0x7ff, 0xffff, 0x10ffff];

/** Every way to write a character of lo … hi, none twice; neither is a surrogate. */
export function encodeUtf8(lo: number, hi: number): ByteRange[][] {
  const ways: ByteRange[][] = [];
  let from = lo;
  for (const last of lastOfLength) {
    if (from > hi) break;
    if (from > last) continue;
    split(from, Math.min(hi, last), ways);
    from = last + 1;
  }
  return ways;
}

/** Of one length: cut where continuation bytes do not run over their whole range. */
function split(lo: number, hi: number, ways: ByteRange[][]): void {
  const [first, last] = [bytesOf(lo), bytesOf(hi)];
  for (let i = 1; i < first.length; i++) {
    const mask = (1 << (6 * i)) - 1;
    if ((lo & ~mask) === (hi & ~mask)) continue;
    if ((lo & mask) !== 0) {
      split(lo, lo | mask, ways);
      split((lo | mask) + 1, hi, ways);
      return;
    }
    if ((hi & mask) !== mask) {
      split(lo, (hi & ~mask) - 1, ways);
      split(hi & ~mask, hi, ways);
      return;
    }
  }
  ways.push(first.map((byte, i) => [byte, last[i]!]));
}

function bytesOf(code: number): number[] {
  if (code < 0x80) return [code];
  if (code < 0x800) return [0xc0 | (code >> 6), 0x80 | (code & 63)];
  if (code < 0x10000) return [0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63)];
  return [0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63)];
}

/** As JSON.stringify writes them: one way for each character. */
export function encodeJson(lo: number, hi: number): ByteRange[][] {
  const ways: ByteRange[][] = [];
  let plain = lo;
  for (const [first, last, way] of escapes) {
    const [from, to] = [Math.max(lo, first), Math.min(hi, last)];
    if (from > to) continue;
    if (from > plain) ways.push(...encodeUtf8(plain, from - 1));
    // Only the last byte differs within a row.
    const end = way.at(-1)![0];
    ways.push([...way.slice(0, -1), [end + from - first, end + to - first]]);
    plain = to + 1;
  }
  if (plain <= hi) ways.push(...encodeUtf8(plain, hi));
  return ways;
}

/** Characters that are escaped, in rows whose escapes are alike: first, last, and how the first is written. */
const escapes = (() => {
  const rows: [first: number, last: number, way: ByteRange[]][] = [];
  for (const code of [...Array.from({ length: 0x20 }, (_, control) => control), 0x22, 0x5c]) {
    const text = JSON.stringify(String.fromCharCode(code)).slice(1, -1);
    const row = rows.at(-1);
    const follows = row !== undefined && row[1] === code - 1 && row[2].length === text.length && text.length > 2;
    const end = text.charCodeAt(text.length - 1);
    if (follows && row[2].at(-1)![0] + code - row[0] === end && row[2].at(-2)![0] === text.charCodeAt(text.length - 2)) row[1] = code;
    else rows.push([code, code, Array.from(text, (char): ByteRange => [char.charCodeAt(0), char.charCodeAt(0)])]);
  }
  return rows;
})();
