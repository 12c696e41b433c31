import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { LockstepError } from '../errors.js';
import { parseConfig } from './config-file.js';
import { type Flag, parseValue } from './flag.js';
import { helpOf } from './help.js';
import { loadOptions } from './load-options.js';
import { chatCommand, loadServeOptions, serveCommand, serveFlags } from './options.js';
import { refusedFlags, settledFlags } from './refused-flags.js';
import { refusedReasoningParsers, refusedToolParsers } from './refused-parsers.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-options-'));
after(() => rmSync(folder, { recursive: true }));

function configFile(text: string): string {
  const path = join(folder, 'config.yaml');
  writeFileSync(path, text);
  return path;
}

/** The message of the start error that `act` throws; one line. */
function refusal(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof LockstepError, String(error));
    assert.equal(error.code, 'start');
    assert.ok(!error.message.includes('\n'), `one line: ${error.message}`);
    return error.message;
  }
  return assert.fail('nothing was refused');
}

describe('where values come from', () => {
  test('defaults', () => {
    const options = loadServeOptions([], {});
    assert.equal(options.model, null);
    assert.equal(options.port, 8000);
    assert.equal(options.maxNumSeqs, 256);
    assert.equal(options.tensorParallelSize, 1);
    assert.equal(options.enablePrefixCaching, true);
    assert.deepEqual(options.apiKey, []);
    assert.deepEqual(options.allowedOrigins, ['*']);
    assert.equal(Object.keys(options).length, serveFlags.length);
  });

  test('command line wins over environment, environment over file, file over default', () => {
    const config = configFile('port: 1\nmax_num_seqs: 2\nblock-size: 32\nserved-model-name: [a, b]\n');
    const environment = { LOCKSTEP_PORT: '3', LOCKSTEP_MAX_NUM_SEQS: '4', LOCKSTEP_CONFIG: config };
    const options = loadServeOptions(['--port', '5'], environment);
    assert.equal(options.port, 5);
    assert.equal(options.maxNumSeqs, 4);
    assert.equal(options.blockSize, 32);
    assert.deepEqual(options.servedModelName, ['a', 'b']);
    assert.equal(options.seed, null);
  });

  test('the model with and without its flag', () => {
    assert.equal(loadServeOptions(['models/a', '--port', '1'], {}).model, 'models/a');
    assert.equal(loadServeOptions(['--model', 'models/a'], {}).model, 'models/a');
    assert.equal(loadServeOptions(['models/a', '--model', 'models/a'], {}).model, 'models/a');
    assert.match(
      refusal(() => loadServeOptions(['a', '--model', 'b'], {})),
      /given twice/,
    );
    assert.match(
      refusal(() => loadServeOptions(['a', 'b'], {})),
      /too many arguments/,
    );
  });

  test('lists: repeated, in a row, as JSON, by comma in the environment', () => {
    assert.deepEqual(loadServeOptions(['--api-key', 'a', '--api-key', 'b'], {}).apiKey, ['a', 'b']);
    assert.throws(() => loadServeOptions(['--api-key', ''], {}), /--api-key must be a list of words, none of them empty, not/);
    assert.deepEqual(loadServeOptions(['--served-model-name', 'a', 'b', '--port', '1'], {}).servedModelName, ['a', 'b']);
    assert.deepEqual(loadServeOptions(['--allowed-origins', '["x", "y"]'], {}).allowedOrigins, ['x', 'y']);
    assert.deepEqual(loadServeOptions([], { LOCKSTEP_API_KEY: 'a,b' }).apiKey, ['a', 'b']);
    assert.deepEqual(loadServeOptions([], { VLLM_API_KEY: 'c' }).apiKey, ['c']);
    assert.deepEqual(loadServeOptions([], { VLLM_API_KEY: 'c', LOCKSTEP_API_KEY: 'd' }).apiKey, ['d']);
  });

  test("vLLM's spellings: -tp, --flag=value, underscores, --no-…, sizes", () => {
    const argv = [
      '-tp',
      '4',
      '--max_model_len=4K',
      '--no-enable-prefix-caching',
      '--kv-cache-memory-bytes',
      '1.5G',
      '--uvicorn-log-level',
      'debug',
    ];
    const options = loadServeOptions(argv, {});
    assert.equal(options.tensorParallelSize, 4);
    assert.equal(options.maxModelLen, 4096);
    assert.equal(options.enablePrefixCaching, false);
    assert.equal(options.kvCacheMemoryBytes, 1.5 * 2 ** 30);
    assert.equal(options.logLevel, 'debug');
    assert.equal(loadServeOptions(['--max-model-len', '4k'], {}).maxModelLen, 4000);
    for (const auto of ['auto', '-1']) assert.equal(loadServeOptions(['--max-model-len', auto], {}).maxModelLen, -1);
    assert.equal(loadServeOptions(['--log-level', 'INFO'], {}).logLevel, 'info');
    assert.equal(loadServeOptions(['--device-memory-utilization', '0.5'], {}).gpuMemoryUtilization, 0.5);
  });

  test('JSON by its parts', () => {
    const speculation = (...argv: string[]) => ({ ...loadServeOptions(argv, {}).speculativeConfig });
    const wanted = { method: 'ngram', num_speculative_tokens: 4 };
    assert.deepEqual(speculation('--speculative-config.method', 'ngram', '--speculative_config.num_speculative_tokens=4'), wanted);
    assert.deepEqual(speculation('-sc.num_speculative_tokens', '4', '-sc.method=ngram', '--port', '1'), wanted);
    const overrides = (...argv: string[]) => JSON.parse(JSON.stringify(loadServeOptions(argv, {}).hfOverrides));
    const argv = ['--hf-overrides.a.b_c', '1k', '--hf-overrides.a.d=x=y', '--hf-overrides.list+', 'p,q', '--hf-overrides.list+=r'];
    assert.deepEqual(overrides(...argv), { a: { b_c: 1000, d: 'x=y' }, list: ['p', 'q', 'r'] });
    assert.deepEqual(overrides('--hf-overrides.on', 'true', '--hf-overrides.on=[1]', '--hf-overrides.__proto__=1'), {
      on: [1],
      ['__proto__']: 1,
    });
    const file = configFile('speculative_config.method: ngram\nspeculative-config.num_speculative_tokens: 4\nhf_overrides.a_b: {c: 1}');
    assert.deepEqual(speculation('--config', file), wanted);
    assert.deepEqual(overrides('--config', file), { a_b: { c: 1 } });
    const refused: [argv: string[], message: RegExp][] = [
      [['--hf-overrides', '{}', '--hf-overrides.a', '1'], /^--hf-overrides is given twice: as JSON and by its parts$/],
      [['--port.a', '1'], /^--port.a is no part of a JSON value$/],
      [['--hf-overrides..a', '1'], /^--hf-overrides..a is no part/],
      [['--hf-overrides.a'], /^--hf-overrides.a: argument missing$/],
      [['--prot.a', '1'], /unknown option '--prot.a'/],
      [
        ['--compilation-config.mode', '3'],
        /^--compilation-config.mode is not supported by Lockstep: nothing is compiled at start; leave it out$/,
      ],
    ];
    const refusedFiles: [text: string, message: RegExp][] = [
      ['hf-overrides: {}\nhf-overrides.a: 1', /^hf-overrides is given twice: as JSON and by its parts$/],
      [
        'compilation-config.mode: 3',
        /^compilation-config.mode in .* is not supported by Lockstep: nothing is compiled at start; leave it out$/,
      ],
    ];
    const check = (message: RegExp, ...words: string[]) =>
      assert.match(
        refusal(() => loadServeOptions(words, {})),
        message,
      );
    for (const [words, message] of refused) check(message, ...words);
    for (const [text, message] of refusedFiles) check(message, '--config', configFile(text));
  });

  test('chat reads a key from the environment, but no LOCKSTEP_* variable and no file', () => {
    assert.equal(loadOptions(chatCommand, [], { OPENAI_API_KEY: 'k', LOCKSTEP_URL: 'x' }).apiKey, 'k');
    assert.equal(loadOptions(chatCommand, [], { LOCKSTEP_URL: 'x' }).url, 'http://127.0.0.1:8000/v1');
    assert.match(
      refusal(() => loadOptions(chatCommand, ['--config', 'x'], {})),
      /unknown option/,
    );
  });
});

describe('what is refused, by name', () => {
  const cases: [argv: string[], environment: Record<string, string>, message: RegExp][] = [
    [['--port', 'abc'], {}, /^--port must be a whole number from 0 to 65535, not 'abc'$/],
    [['--port', '70000'], {}, /^--port must be/],
    [['--port', '1k'], {}, /^--port must be/],
    [[], { LOCKSTEP_PORT: 'tcp://10.0.0.1:8000' }, /^LOCKSTEP_PORT must be a whole number/],
    [
      ['--max-model-len', 'long'],
      {},
      /^--max-model-len must be auto or -1 or a whole number \(1k = 1000, 1K = 1024\) of at least 1, not 'long'$/,
    ],
    [['--max-model-len', '-2'], {}, /^--max-model-len must be auto or -1 or a whole number/],
    [['--task', 'embed'], {}, /^--task is not supported by Lockstep: --runner pooling, with --convert embed or classify, says/],
    [['-O3'], {}, /^-O is not supported by Lockstep with another value than 0: nothing is compiled at start; leave it out$/],
    [['--tool-strict-level', 'function'], {}, /^--tool-strict-level 'function' is refused: parameter holds names and arguments/],
    [['--max-model-len', '1.5'], {}, /^--max-model-len must be/],
    [['--log-level', 'loud'], {}, /^--log-level must be one of debug, info, warning, error, critical, not 'loud'$/],
    [['--device', 'tpu'], {}, /^--device must be one of auto, cpu, cuda, not 'tpu'$/],
    [['--block-size', '20'], {}, /^--block-size must be a multiple of 16, not 20$/],
    [
      ['--kv-cache-dtype', 'fp8_e5m2'],
      {},
      /^--kv-cache-dtype fp8_e5m2 is refused: there are no kernels for it, and CPUs have no arithmetic for fp8; int8/,
    ],
    [['--kv-cache-dtype', 'int4'], {}, /^--kv-cache-dtype must be auto, bfloat16 or int8, not 'int4'$/],
    [['--max-num-batched-tokens', '8', '--max-num-seqs', '16'], {}, /less than --max-num-seqs 16/],
    [
      ['--override-generation-config', '[1]'],
      {},
      /^--override-generation-config must be a JSON object or a file that holds one, not '\[1\]'$/,
    ],
    [['--prot', '1'], {}, /unknown option '--prot' \(Did you mean --port\?\); 'lockstep serve --help'/],
    [
      ['--kv-offloading-size', '9'],
      {},
      /^--kv-offloading-size is not supported by Lockstep: this is not built here, for GPUs or for CPUs$/,
    ],
    [['--enable_lora'], {}, /^--enable_lora is not supported by Lockstep: adapters/],
    [['-pp', '2'], {}, /^-pp is not supported by Lockstep with another value than 1: only tensor parallelism/],
    [['--limit-mm-per-prompt.image', '1'], {}, /^--limit-mm-per-prompt.image is not supported by Lockstep: only text/],
    [['--port'], {}, /argument missing/],
    [['--config', '/nowhere.yaml'], {}, /^--config \/nowhere.yaml cannot be read/],
  ];
  for (const [argv, environment, message] of cases) {
    test(`${JSON.stringify(environment)} ${argv.join(' ')}`, () =>
      assert.match(
        refusal(() => loadServeOptions(argv, environment)),
        message,
      ));
  }

  test('flags that go together', () => {
    const load = (...argv: string[]) => loadServeOptions(argv, {});
    const refused: [argv: string[], message: RegExp][] = [
      [['--fingerprint-mode', 'custom'], /go together/],
      [['--fingerprint-value', 'x'], /go together/],
      [['--spec-method', 'ngram'], /^--spec-method and --spec-tokens go together$/],
      [
        ['--spec-method', 'eagle', '--spec-tokens', '2'],
        /method must be "ngram" .* not "eagle": no draft model or draft head is run here$/,
      ],
      [['--spec-method', 'ngram', '--spec-tokens', '99'], /num_speculative_tokens must be a whole number from 1 to 32, not 99$/],
      [['--structured-outputs-config', '{"backend": "guidance"}'], /backend can be "auto" alone, not "guidance"$/],
      [['--structured-outputs-config', '{"disable_any_whitespace": 1}'], /must be true or false, not 1$/],
      [['--structured-outputs-config', '{"reasoning_parser": "qwen3"}'], /--reasoning-parser names one$/],
      [['--structured-outputs-config', '{"x": 1}'], /'x' has no meaning here/],
    ];
    for (const [argv, message] of refused) {
      assert.match(
        refusal(() => load(...argv)),
        message,
      );
    }
    assert.equal(load('--spec-method', 'ngram', '--spec-tokens', '4').specTokens, 4);
    assert.equal(load('--fingerprint-mode', 'custom', '--fingerprint-value', 'x').fingerprintValue, 'x');
  });

  test('flags of vLLM that ask for what is done anyway are taken', () => {
    const argv = [
      '--disable-cascade-attn',
      '-pp',
      '1',
      '--tokenizer-mode=hf',
      '-O0',
      '--trust_remote_code',
      '--no-enable-lora',
      '--disable-log-stats',
      '--disable-log-requests',
      '--distributed-executor-backend',
      'mp',
    ];
    assert.equal(loadServeOptions([...argv, '--port', '1'], {}).port, 1);
    assert.equal(
      loadServeOptions(['--config', configFile('disable-cascade-attn: true\nenable-lora: false\nnnodes: 1\nport: 2')], {}).port,
      2,
    );
    const file = configFile('disable-cascade-attn: false');
    assert.match(
      refusal(() => loadServeOptions(['--config', file], {})),
      /is not supported by Lockstep: this is not built here/,
    );
    assert.match(
      refusal(() => loadServeOptions(['--model-impl'], {})),
      /^--model-impl is not supported by Lockstep with another value than auto: the checkpoint/,
    );
    assert.match(
      refusal(() => loadServeOptions(['--no-enable-server-load-tracking'], {})),
      /always counted, at \/load$/,
    );
    for (const flag of settledFlags.keys()) assert.ok(refusedFlags.has(flag), flag);
  });

  test('names and values in the file', () => {
    const load = (text: string) => loadServeOptions(['--config', configFile(text)], {});
    assert.match(
      refusal(() => load('prot: 1')),
      /^prot in .*config.yaml is no option of 'lockstep serve' \(is port meant\?\)/,
    );
    assert.match(
      refusal(() => load('config-format: mistral')),
      /is not supported by Lockstep with another value than auto or hf: the checkpoint says how it is to be read/,
    );
    assert.match(
      refusal(() => load('port: high')),
      /^port in .*config.yaml must be a whole number/,
    );
    assert.match(
      refusal(() => load('- port')),
      /must hold 'flag: value' lines/,
    );
    assert.match(
      refusal(() => load('a: [1')),
      /is not YAML/,
    );
    assert.equal(load('').port, 8000);
  });
});

test('values of every type', () => {
  const flag = (type: Flag['type']): Flag => ({ name: 'f', type, default: null, group: '', help: '' });
  assert.equal(parseValue(flag('number'), 'inf', ''), Infinity);
  assert.equal(parseValue(flag('number'), '0.5', ''), 0.5);
  assert.throws(() => parseValue(flag('number'), 'NaN', 'f'), LockstepError);
  assert.throws(() => parseValue(flag('number'), ' ', 'f'), LockstepError);
  assert.equal(parseValue(flag('boolean'), 'off', ''), false);
  assert.equal(parseValue(flag('boolean'), true, ''), true);
  assert.throws(() => parseValue(flag('boolean'), 'maybe', 'f'), LockstepError);
  assert.deepEqual(parseValue(flag('json'), { a: 1 }, ''), { a: 1 });
  assert.equal(parseValue(flag('string'), 5, ''), '5');
  assert.equal(parseConfig('a_b: 1', 'x').get('a-b'), 1);
});

test('no flag is both taken and refused, and every row of the table is in the help', () => {
  const own = serveFlags.flatMap((flag: Flag) => [`--${flag.name}`, ...(flag.aliases ?? [])]);
  assert.deepEqual(
    own.filter((name) => refusedFlags.has(name)),
    [],
  );
  assert.equal(new Set(own).size, own.length);
  const help = helpOf(serveCommand, 'all');
  for (const flag of serveFlags) assert.match(help, new RegExp(`^ {2}--(no-)?${flag.name}\\b`, 'm'));
});

/** ToolParserManager's, of vLLM 0.32.0 and the releases next to it. */
const vllmParsers =
  'apertus cohere_command3 cohere_command4 deepseek_v3 deepseek_v31 deepseek_v32 deepseek_v4 deepseek_v41 dots ernie45 functiongemma gemma4 ' +
  'gigachat3 glm45 glm47 granite granite-20b-fc granite4 hermes hf hunyuan_a13b hy_v3 hy_v4 inkling internlm jamba k2_horizon kimi_k2 ' +
  'kimi_k3 lfm2 ling3 llama3_json llama4_json llama4_pythonic longcat mimo minicpm5 minimax_m2 minimax_m3 mistral muse_glimmer olmo3 openai ' +
  'phi4_mini_json plamo3 poolside_v1 pythonic qwen3_coder qwen3_json qwen3_xml seed_oss solar_open2 step3 step3p5 xlam';

/** ReasoningParserManager's. */
const vllmReasoningParsers =
  'deepseek_r1 deepseek_v3 deepseek_v4 deepseek_v41 poolside_v1 cohere_command3 cohere_command4 ernie45 gemma4 glm45 glm47 ling3 openai_gptoss ' +
  'granite granite_thinking_parser hf holo2 hunyuan_a13b hy_v3 hy_v4 kimi_k2 kimi_k3 k2_horizon mimo minicpmv minimax_m2 minimax_m2_append_think ' +
  'minimax_m3 mistral nemotron_v3 olmo3 plamo3 muse_glimmer qwen3 seed_oss step3 step3p5 inkling';

test('every parser of vLLM is taken, or refused with a reason', () => {
  const kinds = [
    ['tool-call-parser', 'toolCallParser', vllmParsers, refusedToolParsers],
    ['reasoning-parser', 'reasoningParser', vllmReasoningParsers, refusedReasoningParsers],
  ] as const;
  for (const [flag, option, names, refused] of kinds) {
    for (const name of names.split(' ')) {
      const load = () => loadServeOptions([`--${flag}`, name], {});
      const reason = refused.get(name);
      if (reason === undefined) assert.equal(load()[option], name);
      else assert.throws(load, new RegExp(`--${flag} '${name}' is refused: ${reason}`));
    }
  }
  assert.throws(() => loadServeOptions(['--tool-call-parser', 'other'], {}), /must be one of auto, qwen3_coder/);
});
