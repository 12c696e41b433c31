/**
 * Every command block of README.md and docs/ is run here, but for those that say why not on their fence: `sh optional` runs where
 * LOCKSTEP_DOCS_OPTIONAL is set and its tools are there, `sh unrun=REASON` nowhere. What is not run must still be a command that is understood.
 */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { parse } from 'yaml';
import { tables } from '../../src/cli/commands.js';
import { helpOf, helpTopic } from '../../src/cli/help.js';
import { loadOptions } from '../../src/cli/load-options.js';
import { loadServeOptions } from '../../src/cli/options.js';
import { blocksOf, type LockstepCall, lockstepCalls, pages, parseBlocks, useOf } from './blocks.js';
import { Workshop } from './workshop.js';

/** Throws where the command, one of its flags or a value is none. The block itself may write the file that --config names. */
function checkCall({ command, argv: given }: LockstepCall): void {
  const argv = given.filter((word, at) => word !== '--config' && given[at - 1] !== '--config');
  const table = tables.find(({ name }) => name === command);
  assert.ok(table !== undefined, `there is no command '${command}'`);
  const topic = helpTopic(argv);
  if (topic !== null) helpOf(table, topic);
  else if (command === 'serve') loadServeOptions(argv, {});
  else loadOptions(table, argv, {});
}

const workshop = new Workshop();
after(() => workshop.close());
const withOptional = process.env['LOCKSTEP_DOCS_OPTIONAL'] !== undefined;

for (const page of pages()) {
  describe(page, () => {
    let printed = '';
    for (const block of blocksOf(page)) {
      const name = `line ${block.line}: ${block.text.split('\n')[0]}`;
      const use = useOf(block);
      if (use === 'shown') {
        if (block.language === 'json') test(name, () => assert.doesNotThrow(() => JSON.parse(block.text)));
        if (block.language === 'yaml') test(name, () => assert.doesNotThrow(() => parse(block.text)));
        continue;
      }
      if (use === 'output') {
        test(name, () => assert.equal(printed, block.text));
        continue;
      }
      test(`${name} (understood)`, () => lockstepCalls(block).forEach(checkCall));
      if (use === 'unrun') continue;
      test(name, { skip: use === 'optional' && !withOptional && 'LOCKSTEP_DOCS_OPTIONAL is not set' }, async () => {
        const { status, stdout, stderr } = await workshop.run(block);
        assert.equal(status, 0, `${stdout}${stderr}`);
        printed = stdout;
      });
    }
  });
}

test('a block that is neither run nor says why is found', () => {
  const useOfFence = (fence: string) => useOf(parseBlocks('a.md', `\`\`\`${fence}\nx\n\`\`\`\n`)[0]!);
  assert.equal(useOfFence('sh'), 'run');
  assert.equal(useOfFence('python optional'), 'optional');
  assert.equal(useOfFence('sh unrun=cluster'), 'unrun');
  assert.equal(useOfFence('text output'), 'output');
  for (const fence of ['', 'bash', 'console', 'sh unrun', 'sh unrun=lazy', 'sh later', 'json output'])
    assert.throws(() => useOfFence(fence), /a\.md:1: /, fence);
});

test('a command that fails, an unknown flag and a status of 400 are found', async () => {
  const [failing, refused] = parseBlocks('a.md', '```sh\nfalse\n```\n```sh\ncurl localhost:8000/v1/nothing\n```\n');
  assert.equal((await workshop.run(failing!)).status, 1);
  assert.notEqual((await workshop.run(refused!)).status, 0);
  const calls = parseBlocks(
    'a.md',
    '```sh\nnpm start -- m --tp 4 # x\nnpx lockstep bench srve\nlockstep serve m --port 9000 &\n```\n',
  ).flatMap(lockstepCalls);
  assert.equal(calls.length, 3);
  assert.throws(() => checkCall(calls[0]!), /unknown option '--tp'/);
  assert.throws(() => checkCall(calls[1]!), /no command 'bench srve'/);
  checkCall(calls[2]!);
});
