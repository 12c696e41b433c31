/** GPT-2's alphabet: every byte as one printable character, so that vocabularies of byte strings can be written as text (OpenAI GPT-2, encoder.py). */

const charOfByte: string[] = [];
const byteOfChar = new Map<string, number>();

for (let byte = 0, next = 256; byte < 256; byte++) {
  const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  const char = String.fromCharCode(printable ? byte : next++);
  charOfByte.push(char);
  byteOfChar.set(char, byte);
}

/** [256]: the character that stands for each byte. */
export const byteAlphabet: readonly string[] = charOfByte;

const utf8 = new TextEncoder();

export function toByteAlphabet(text: string): string {
  let out = '';
  for (const byte of utf8.encode(text)) out += charOfByte[byte];
  return out;
}

/** The bytes that a token stands for. A token with a character outside the alphabet (an added token with a space, say) is its own UTF-8. */
export function fromByteAlphabet(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = byteOfChar.get(token[i]!);
    if (byte === undefined) return utf8.encode(token);
    bytes[i] = byte;
  }
  return bytes;
}
