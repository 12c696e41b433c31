import assert from 'node:assert/strict';
import { test } from 'node:test';
import { examine, formatFindings } from './doctor.js';

test('every line has a name and a value, and Node is found', () => {
  const findings = examine();
  assert.deepEqual(
    findings.filter(({ name, value }) => name === '' || value === ''),
    [],
  );
  const find = (name: string) => findings.find((finding) => finding.name === name);
  assert.equal(find('Node.js')?.value, process.version);
  assert.match(find('CPU')?.value ?? '', /[1-9]\d* cores/);
  assert.match(find('memory')?.value ?? '', /^[\d.]+ GB free of [\d.]+ GB$/);
  assert.match(find('cache')?.value ?? '', /none|\d+ entries, [\d.]+ GB$/);
  assert.match(find('CUDA')?.value ?? '', /not in this build/);
});

test('what is wrong is marked and named at the end', () => {
  const finding = (name: string, isFine: boolean) => ({ name, value: 'v', remark: isFine ? '' : 'why', isFine });
  assert.equal(formatFindings([finding('a', true)]), '  a  v\n\nlockstep serve can run here\n');
  assert.equal(
    formatFindings([finding('a', true), finding('bc', false)]),
    '  a   v\n! bc  v (why)\n\nlockstep serve cannot run here: bc\n',
  );
});
