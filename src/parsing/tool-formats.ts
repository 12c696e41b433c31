/** The formats that are known by name: a row each. */
import type { NamedCall, ObjectCall, ParameterMarkup, ToolFormat, WrittenCalls } from './tool-format.js';

const object: ObjectCall = { kind: 'object', nameKey: 'name', argumentKeys: ['arguments', 'parameters'] };

type Run = Partial<Pick<WrittenCalls, 'open' | 'separator' | 'close'>>;

const asJson = (begin: string, nameEnd: string, end: string, run: Run = {}): WrittenCalls => {
  return { open: '', separator: '', close: '', ...run, begin, nameEnd, arguments: { kind: 'json' }, end };
};
const asList = (open: string, close: string): WrittenCalls =>
  asJson('{"name": "', '", "arguments": ', '}', { open: `${open}[`, separator: ', ', close: `]${close}` });
const asParameters = (begin: string, nameEnd: string, parameter: ParameterMarkup, end: string, run: Run = {}): WrittenCalls => {
  return { open: '', separator: '', close: '', ...run, begin, nameEnd, arguments: { kind: 'parameters', ...parameter }, end };
};
const asPython = (open: string, separator: string, close: string): WrittenCalls => {
  return { open, begin: '', nameEnd: '(', arguments: { kind: 'python' }, end: ')', separator, close };
};

const named = (begin: string, nameEnd: string, args: NamedCall['arguments'], end: string): NamedCall => {
  return { kind: 'named', begin, nameEnd, arguments: args, end };
};

const hermes: ToolFormat = {
  name: 'hermes',
  opens: ['<tool_call>'],
  closes: ['</tool_call>'],
  calls: [object],
  written: asJson('<tool_call>\n{"name": "', '", "arguments": ', '}\n</tool_call>', { separator: '\n' }),
  isOf: (template) => template.includes('<tool_call>') && !/<function=|<arg_key>|<\|tool_call\|>/.test(template),
};

const qwen = {
  opens: ['<tool_call>', '<function='],
  closes: ['</tool_call>'],
  calls: [named('<function=', '>', { begin: '<parameter=', keyEnd: '>', end: '</parameter>' }, '</function>')],
  written: asParameters(
    '<tool_call>\n<function=',
    '>\n',
    { begin: '<parameter=', keyEnd: '>\n', end: '\n</parameter>\n' },
    '</function>\n</tool_call>',
    { separator: '\n' },
  ),
};

const compactParameter: ParameterMarkup = { begin: '<parameter=', keyEnd: '>', end: '</parameter>\n' };

const glm = {
  opens: ['<tool_call>'],
  closes: ['</tool_call>'],
  calls: [named('<tool_call>', '', { begin: '<arg_key>', keyEnd: '</arg_key>\n<arg_value>', end: '</arg_value>' }, '</tool_call>')],
};
const glmParameter: ParameterMarkup = { begin: '<arg_key>', keyEnd: '</arg_key>\n<arg_value>', end: '</arg_value>\n' };

const compactGlm = {
  ...glm,
  calls: [named('<tool_call>', '', { begin: '<arg_key>', keyEnd: '</arg_key><arg_value>', end: '</arg_value>' }, '</tool_call>')],
  written: asParameters('<tool_call>', '', { begin: '<arg_key>', keyEnd: '</arg_key><arg_value>', end: '</arg_value>' }, '</tool_call>'),
};

/** Its values say whether they are text. `space`: between the mark of all its tags and their names. */
const dsml = (run: string, space = '') => {
  const mark = `｜DSML｜${space}`;
  const parameter = {
    begin: `<${mark}parameter name="`,
    keyEnd: '" string="true">',
    jsonKeyEnd: '" string="false">',
    end: `</${mark}parameter>`,
  };
  const [begin, nameEnd, end] = [`<${mark}invoke name="`, '">', `</${mark}invoke>`];
  return {
    opens: [`<${mark}${run}>`, `<${mark}invoke`],
    closes: [`</${mark}${run}>`],
    calls: [named(begin, nameEnd, parameter, end)],
    written: asParameters(begin, `${nameEnd}\n`, { ...parameter, end: `${parameter.end}\n` }, `${end}\n`, {
      open: `<${mark}${run}>\n`,
      close: `</${mark}${run}>`,
    }),
    isOf: (template: string) => template.includes('｜DSML｜') && template.includes(`${space}${run}>`),
  };
};

/** XML as several models have it: `<invoke name="f"><parameter name="key">value</parameter></invoke>`. */
const invoke = (open: string, close: string) => {
  const parameter = { begin: '<parameter name="', keyEnd: '">', end: '</parameter>' };
  return {
    opens: [open, '<invoke'],
    closes: [close],
    calls: [named('<invoke name="', '">', parameter, '</invoke>')],
    written: asParameters('<invoke name="', '">\n', { ...parameter, end: '</parameter>\n' }, '</invoke>\n', { open: `${open}\n`, close }),
  };
};

const gemma = (open: string, close: string, quote: string): Omit<ToolFormat, 'name'> => {
  return {
    opens: [open],
    closes: [close],
    calls: [named(`${open}call:`, '{', { quote }, close)],
    written: {
      open: '',
      begin: `${open}call:`,
      nameEnd: '{',
      arguments: { kind: 'quoted', quote },
      end: `}${close}`,
      separator: '',
      close: '',
    },
    isOf: (template) => template.includes(`${open}call:`),
  };
};

const mistral = {
  opens: ['[TOOL_CALLS]'],
  closes: [],
  calls: [object, named('', '[ARGS]', 'json', '')],
  callIdLen: 9,
};

const deepseekMarkers = {
  opens: ['<｜tool▁calls▁begin｜>', '<｜tool▁call▁begin｜>'],
  closes: ['<｜tool▁calls▁end｜>'],
};
const deepseekRun = { open: '<｜tool▁calls▁begin｜>', separator: '\n', close: '<｜tool▁calls▁end｜>' };

const toolCalls: Omit<ToolFormat, 'name'> = {
  opens: ['<tool_calls>'],
  closes: ['</tool_calls>'],
  calls: [object],
  written: asList('<tool_calls>', '</tool_calls>'),
};

const cohere: Omit<ToolFormat, 'name'> = {
  opens: ['<|START_ACTION|>'],
  closes: ['<|END_ACTION|>'],
  calls: [{ kind: 'object', nameKey: 'tool_name', argumentKeys: ['parameters'] }],
  written: asJson('{"tool_call_id": "0", "tool_name": "', '", "parameters": ', '}', {
    open: '<|START_ACTION|>[',
    separator: ', ',
    close: ']<|END_ACTION|>',
  }),
};

const step = {
  begin: '<｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name="',
  nameEnd: '">',
  parameter: { begin: '<steptml:parameter name="', keyEnd: '">', end: '</steptml:parameter>' },
  end: '</steptml:invoke><｜tool_call_end｜>',
};

const plamo = {
  begin: '<|plamo:begin_tool_request:plamo|><|plamo:begin_tool_name:plamo|>',
  nameEnd: '<|plamo:end_tool_name:plamo|><|plamo:begin_tool_arguments:plamo|><|plamo:constrain|>json<|plamo:msg|>',
  end: '<|plamo:end_tool_arguments:plamo|><|plamo:end_tool_request:plamo|>',
};

/** `name`: as `--tool-call-parser` has it. The first row whose `isOf` says so is what `auto` takes. */
export const toolFormats: readonly ToolFormat[] = [
  {
    name: 'qwen3_coder',
    ...qwen,
    isOf: (template) => template.includes('<function=') && template.includes('<parameter=') && template.includes('<tool_call>'),
  },
  { name: 'qwen3_xml', ...qwen },
  { name: 'step3p5', ...qwen },
  {
    name: 'mimo',
    ...qwen,
    written: asParameters('<tool_call>\n<function=', '>\n', compactParameter, '</function>\n</tool_call>', { separator: '\n' }),
  },
  {
    name: 'seed_oss',
    opens: ['<seed:tool_call>'],
    closes: ['</seed:tool_call>'],
    calls: qwen.calls,
    written: asParameters('<seed:tool_call>\n<function=', '>\n', compactParameter, '</function>\n</seed:tool_call>', { separator: '\n' }),
  },
  hermes,
  { ...hermes, name: 'qwen3_json' },
  { ...hermes, name: 'granite4' },
  { ...hermes, name: 'ernie45' },
  {
    name: 'glm45',
    ...glm,
    written: asParameters('<tool_call>', '\n', glmParameter, '</tool_call>', { separator: '\n' }),
  },
  { name: 'glm47', ...compactGlm },
  { name: 'ling3', ...compactGlm },
  {
    name: 'poolside_v1',
    ...glm,
    written: asParameters('<tool_call>', '\n', glmParameter, '</tool_call>', { separator: '\n' }),
  },
  {
    name: 'mistral_v11',
    ...mistral,
    written: asJson('[TOOL_CALLS]', '[ARGS]', ''),
    isOf: (template) => template.includes('[TOOL_CALLS]') && template.includes('[ARGS]'),
  },
  {
    name: 'mistral',
    ...mistral,
    written: asList('[TOOL_CALLS]', ''),
    isOf: (template) => template.includes('[TOOL_CALLS]'),
  },
  {
    name: 'llama3_json',
    opens: ['<|python_tag|>'],
    closes: [],
    bare: true,
    calls: [object],
    written: asJson('{"name": "', '", "parameters": ', '}', { separator: '; ' }),
    isOf: (template) => template.includes('{"name": function name, "parameters"'),
  },
  {
    name: 'llama4_json',
    opens: ['<|python_tag|>'],
    closes: [],
    bare: true,
    calls: [object],
    written: asJson('{"name": "', '", "parameters": ', '}', { separator: '; ' }),
  },
  {
    name: 'xlam',
    opens: ['<tool_call>', '[TOOL_CALLS]'],
    closes: ['</tool_call>'],
    bare: true,
    calls: [object],
    written: asList('', ''),
  },
  {
    name: 'phi4_mini_json',
    opens: ['functools['],
    closes: [],
    calls: [object],
    written: asList('functools', ''),
  },
  { name: 'hunyuan_a13b', ...toolCalls },
  { name: 'jamba', ...toolCalls },
  {
    name: 'longcat',
    opens: ['<longcat_tool_call>'],
    closes: ['</longcat_tool_call>'],
    calls: [object],
    written: asJson('<longcat_tool_call>\n{"name": "', '", "arguments": ', '}\n</longcat_tool_call>', { separator: '\n' }),
  },
  {
    name: 'internlm',
    opens: ['<|action_start|><|plugin|>'],
    closes: ['<|action_end|>'],
    calls: [object],
    written: asJson('<|action_start|><|plugin|>\n{"name": "', '", "parameters": ', '}<|action_end|>', { separator: '\n' }),
  },
  { name: 'cohere_command3', ...cohere },
  { name: 'cohere_command4', ...cohere },
  {
    name: 'deepseek_v3',
    ...deepseekMarkers,
    calls: [named('<｜tool▁call▁begin｜>function<｜tool▁sep｜>', '```json', 'json', '```<｜tool▁call▁end｜>')],
    written: asJson('<｜tool▁call▁begin｜>function<｜tool▁sep｜>', '\n```json\n', '\n```<｜tool▁call▁end｜>', deepseekRun),
    isOf: (template) => template.includes('<｜tool▁calls▁begin｜>') && template.includes('```json'),
  },
  {
    name: 'deepseek_v31',
    ...deepseekMarkers,
    calls: [named('<｜tool▁call▁begin｜>', '<｜tool▁sep｜>', 'json', '<｜tool▁call▁end｜>')],
    written: asJson('<｜tool▁call▁begin｜>', '<｜tool▁sep｜>', '<｜tool▁call▁end｜>', { ...deepseekRun, separator: '' }),
    isOf: (template) => template.includes('<｜tool▁calls▁begin｜>'),
  },
  { name: 'deepseek_v32', ...dsml('function_calls') },
  { name: 'deepseek_v4', ...dsml('tool_calls') },
  { name: 'deepseek_v41', ...dsml('calls', ' ') },
  {
    name: 'step3',
    opens: ['<｜tool_calls_begin｜>', '<｜tool_call_begin｜>'],
    closes: ['<｜tool_calls_end｜>'],
    calls: [named(step.begin, step.nameEnd, step.parameter, step.end)],
    written: asParameters(step.begin, step.nameEnd, step.parameter, step.end, {
      open: '<｜tool_calls_begin｜>',
      close: '<｜tool_calls_end｜>',
    }),
  },
  { name: 'minimax_m2', ...invoke('<minimax:tool_call>', '</minimax:tool_call>') },
  { name: 'dots', ...invoke('<dots_function_call>', '</dots_function_call>') },
  {
    name: 'minicpm5',
    opens: ['<function name="'],
    closes: ['</function>'],
    calls: [named('<function name="', '">', { begin: '<param name="', keyEnd: '">', end: '</param>' }, '</function>')],
    written: asParameters('<function name="', '">', { begin: '<param name="', keyEnd: '">', end: '</param>' }, '</function>'),
  },
  {
    name: 'kimi_k2',
    opens: ['<|tool_calls_section_begin|>', '<|tool_call_begin|>'],
    closes: ['<|tool_calls_section_end|>'],
    calls: [named('<|tool_call_begin|>functions.', '<|tool_call_argument_begin|>', 'json', '<|tool_call_end|>')],
    written: asJson('<|tool_call_begin|>functions.', ':0<|tool_call_argument_begin|>', '<|tool_call_end|>', {
      open: '<|tool_calls_section_begin|>',
      close: '<|tool_calls_section_end|>',
    }),
    isOf: (template) => template.includes('<|tool_calls_section_begin|>'),
  },
  { name: 'gemma4', ...gemma('<|tool_call>', '<tool_call|>', '<|"|>') },
  { name: 'functiongemma', ...gemma('<start_function_call>', '<end_function_call>', '<escape>') },
  {
    name: 'plamo3',
    opens: ['<|plamo:begin_tool_requests:plamo|>', '<|plamo:begin_tool_request:plamo|>'],
    closes: ['<|plamo:end_tool_requests:plamo|>'],
    calls: [named(plamo.begin, plamo.nameEnd, 'json', plamo.end)],
    written: asJson(plamo.begin, plamo.nameEnd, plamo.end, {
      open: '<|plamo:begin_tool_requests:plamo|>',
      close: '<|plamo:end_tool_requests:plamo|>',
    }),
  },
  {
    name: 'gigachat3',
    opens: ['function call<|role_sep|>', '<|function_call|>'],
    closes: [],
    calls: [object],
    written: asJson('function call<|role_sep|>\n{"name": "', '", "arguments": ', '}'),
  },
  {
    name: 'granite',
    opens: ['<|tool_call|>', '<tool_call>'],
    closes: ['</tool_call>'],
    calls: [object],
    written: asList('<|tool_call|>', ''),
    isOf: (template) => template.includes('<|tool_call|>'),
  },
  {
    name: 'granite-20b-fc',
    opens: ['<function_call>'],
    closes: [],
    calls: [object],
    written: asJson('<function_call> {"name": "', '", "arguments": ', '}', { separator: ' ' }),
  },
  {
    name: 'pythonic',
    opens: ['<|python_start|>', '<|tool_call_start|>'],
    closes: ['<|python_end|>', '<|tool_call_end|>'],
    bare: true,
    calls: [{ kind: 'python' }],
    written: asPython('[', ', ', ']'),
  },
  {
    name: 'lfm2',
    opens: ['<|tool_call_start|>'],
    closes: ['<|tool_call_end|>'],
    bare: true,
    calls: [{ kind: 'python' }],
    written: asPython('<|tool_call_start|>[', ', ', ']<|tool_call_end|>'),
    isOf: (template) => template.includes('<|tool_call_start|>'),
  },
  {
    name: 'llama4_pythonic',
    opens: ['<|python_start|>'],
    closes: ['<|python_end|>'],
    bare: true,
    calls: [{ kind: 'python' }],
    written: asPython('<|python_start|>[', ', ', ']<|python_end|>'),
    isOf: (template) => template.includes('<|python_start|>'),
  },
  {
    name: 'olmo3',
    opens: ['<function_calls>'],
    closes: ['</function_calls>'],
    calls: [{ kind: 'python' }],
    written: asPython('<function_calls>', '\n', '</function_calls>'),
  },
];

/** What most models without a word for it have learnt; calls that are held to a schema are written so where a format's own cannot be. */
export const commonFormat = hermes;
