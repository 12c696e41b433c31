/** Text as JSON, for text that comes in pieces of a few characters. */

/** From here on JSON.stringify, which finds what must be escaped sixteen characters at a time, is the quicker way. */
const shortLen = 24;
const [firstPrintable, quote, backslash, firstSurrogate] = [0x20, 0x22, 0x5c, 0xd800];

/** `text` in quotes. Most pieces need no escape, and to see that takes less time than the call of JSON.stringify. */
export function jsonText(text: string): string {
  if (text.length > shortLen) return JSON.stringify(text);
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < firstPrintable || unit === quote || unit === backslash || unit >= firstSurrogate) return JSON.stringify(text);
  }
  return `"${text}"`;
}
