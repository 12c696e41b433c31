/** JSON Schema's `format`s as regular expressions; each allows a part of what the format allows, and nothing else. */
import type { CharDfa } from './char-dfa.js';
import { regexDfa } from './regex.js';

const date = (() => {
  const leap = '(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29';
  const days = '(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31';
  return `(?:[0-9]{4}-(?:${days})|${leap})`;
})();
const clock = '(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?';
const time = `${clock}(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])`;
const label = '[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?';
const hostname = `${label}(?:\\.${label}){0,2}`;
const octet = '(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])';
const ipv4 = `${octet}(?:\\.${octet}){3}`;
const group = '[0-9A-Fa-f]{1,4}';
const atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";

const formatPatterns: Readonly<Record<string, string>> = {
  date,
  time,
  'date-time': `${date}T${time}`,
  duration:
    'P(?:[0-9]{1,9}W|(?:[0-9]{1,9}Y(?:[0-9]{1,9}M)?(?:[0-9]{1,9}D)?|[0-9]{1,9}M(?:[0-9]{1,9}D)?|[0-9]{1,9}D)(?:T[0-9]{1,9}H)?|T[0-9]{1,9}H(?:[0-9]{1,9}M)?(?:[0-9]{1,9}S)?|T[0-9]{1,9}M(?:[0-9]{1,9}S)?|T[0-9]{1,9}S)',
  email: `${atom}(?:\\.${atom})*@${label}(?:\\.${label}){1,3}`,
  hostname,
  ipv4,
  ipv6: `(?:${group}:){7}${group}|(?:${group}:){1,6}:${group}|::${group}|::`,
  uri: `[a-z][a-z0-9+.-]{1,15}://${hostname}(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]*)*(?:\\?[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)?(?:#[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)?`,
  uuid: '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}',
};

/** Of the standard, and not among those above; any other name is a remark, as the standard has it. */
export const unservedFormats: ReadonlySet<string> = new Set([
  'idn-email',
  'idn-hostname',
  'uri-reference',
  'iri',
  'iri-reference',
  'uri-template',
  'json-pointer',
  'relative-json-pointer',
  'regex',
]);

/** null: the name is a remark. */
export const formatDfa = (name: string): CharDfa | null =>
  Object.hasOwn(formatPatterns, name) ? regexDfa(formatPatterns[name]!, { search: false }) : null;
