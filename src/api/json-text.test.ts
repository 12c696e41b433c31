import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../test/property.js';
import { jsonText } from './json-text.js';

test('as JSON.stringify has it, short and long, with quotes, controls and surrogates', () => {
  const unit = fc.oneof(fc.constantFrom('"', '\\', '\n', '\u0000', '\u007f', '\u2028', '\ud800', '\udfff', '\ufffd'), fc.string());
  fc.assert(fc.property(fc.array(unit, { maxLength: 40 }), (parts) => jsonText(parts.join('')) === JSON.stringify(parts.join(''))));
  assert.equal(jsonText(''), '""');
});
