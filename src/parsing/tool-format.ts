/**
 * How models write tool calls, as data: a row a format. What reads them is `output-parser.ts`, the same for all. Markers are without the
 * white space around them, since models put more or less of it there; white space inside of one stands for any amount.
 */

export interface ToolFormat {
  readonly name: string;
  /** Each tells that calls follow. None is the beginning of another one. */
  readonly opens: readonly string[];
  /** Each ends a run of calls. */
  readonly closes: readonly string[];
  /** An answer may also begin with a call and no marker; its name must then be a known one. */
  readonly bare?: true;
  /** What may stand behind a marker; tried in order. */
  readonly calls: readonly CallShape[];
  /** How a call is written whose arguments are held to a schema; null: the format's arguments are no JSON. */
  readonly json: JsonMarkup | null;
  /** Characters of a call's id, letters and digits; unset: the API's own kind of id. */
  readonly callIdLen?: number;
  /** The template that a model of this format brings. */
  readonly isOf?: (template: string) => boolean;
}

/** `begin`, the name, `nameEnd`, the arguments as JSON, `end`; `separator` between two calls. */
export interface JsonMarkup {
  readonly begin: string;
  readonly nameEnd: string;
  readonly end: string;
  readonly separator: string;
}

export type CallShape = ObjectCall | NamedCall | PythonCall;

/** `{"name": "f", "arguments": {…}}`, alone or several in a list. */
export interface ObjectCall {
  readonly kind: 'object';
  readonly nameKey: string;
  readonly argumentKeys: readonly string[];
}

/** `begin`, the name, `nameEnd`, the arguments, `end`. */
export interface NamedCall {
  readonly kind: 'named';
  readonly begin: string;
  /** '': the beginning of the arguments ends the name. The first `{` of JSON does so too. */
  readonly nameEnd: string;
  readonly arguments: 'json' | ParameterMarkup;
  readonly end: string;
}

/** `begin`, the key, `keyEnd`, the value as text, `end`; for each argument. */
export interface ParameterMarkup {
  readonly begin: string;
  readonly keyEnd: string;
  readonly end: string;
}

/** `f(city='Oslo', days=[1, 2])`, in a list. */
export interface PythonCall {
  readonly kind: 'python';
}

const object: ObjectCall = { kind: 'object', nameKey: 'name', argumentKeys: ['arguments', 'parameters'] };

const hermes: ToolFormat = {
  name: 'hermes',
  opens: ['<tool_call>'],
  closes: ['</tool_call>'],
  calls: [object],
  json: { begin: '<tool_call>\n{"name": "', nameEnd: '", "arguments": ', end: '}\n</tool_call>', separator: '\n' },
  isOf: (template) => template.includes('<tool_call>') && !/<function=|<arg_key>|<\|tool_call\|>/.test(template),
};

const xmlParameters = {
  opens: ['<tool_call>', '<function='],
  closes: ['</tool_call>'],
  calls: [
    {
      kind: 'named',
      begin: '<function=',
      nameEnd: '>',
      arguments: { begin: '<parameter=', keyEnd: '>', end: '</parameter>' },
      end: '</function>',
    },
  ],
  json: null,
} as const;

const mistral = {
  opens: ['[TOOL_CALLS]'],
  closes: [],
  calls: [object, { kind: 'named', begin: '', nameEnd: '[ARGS]', arguments: 'json', end: '' }],
  callIdLen: 9,
} as const;

/** `name`: as `--tool-call-parser` has it. The first row whose `isOf` says so is what `auto` takes. */
export const toolFormats: readonly ToolFormat[] = [
  {
    name: 'qwen3_coder',
    ...xmlParameters,
    isOf: (template) => template.includes('<function=') && template.includes('<parameter=') && template.includes('<tool_call>'),
  },
  { name: 'qwen3_xml', ...xmlParameters },
  hermes,
  {
    name: 'mistral_v11',
    ...mistral,
    json: { begin: '[TOOL_CALLS]', nameEnd: '[ARGS]', end: '', separator: '' },
    isOf: (template) => template.includes('[TOOL_CALLS]') && template.includes('[ARGS]'),
  },
  {
    name: 'mistral',
    ...mistral,
    json: { begin: '[TOOL_CALLS][{"name": "', nameEnd: '", "arguments": ', end: '}]', separator: '' },
    isOf: (template) => template.includes('[TOOL_CALLS]'),
  },
  {
    name: 'llama3_json',
    opens: ['<|python_tag|>'],
    closes: [],
    bare: true,
    calls: [object],
    json: { begin: '{"name": "', nameEnd: '", "parameters": ', end: '}', separator: '; ' },
    isOf: (template) => template.includes('{"name": function name, "parameters"'),
  },
  {
    name: 'deepseek_v3',
    opens: ['<｜tool▁calls▁begin｜>', '<｜tool▁call▁begin｜>'],
    closes: ['<｜tool▁calls▁end｜>'],
    calls: [
      {
        kind: 'named',
        begin: '<｜tool▁call▁begin｜>function<｜tool▁sep｜>',
        nameEnd: '```json',
        arguments: 'json',
        end: '```<｜tool▁call▁end｜>',
      },
    ],
    json: {
      begin: '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>',
      nameEnd: '\n```json\n',
      end: '\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
      separator: '\n',
    },
    isOf: (template) => template.includes('<｜tool▁calls▁begin｜>') && template.includes('```json'),
  },
  {
    name: 'deepseek_v31',
    opens: ['<｜tool▁calls▁begin｜>', '<｜tool▁call▁begin｜>'],
    closes: ['<｜tool▁calls▁end｜>'],
    calls: [
      {
        kind: 'named',
        begin: '<｜tool▁call▁begin｜>',
        nameEnd: '<｜tool▁sep｜>',
        arguments: 'json',
        end: '<｜tool▁call▁end｜>',
      },
    ],
    json: {
      begin: '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>',
      nameEnd: '<｜tool▁sep｜>',
      end: '<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
      separator: '\n',
    },
    isOf: (template) => template.includes('<｜tool▁calls▁begin｜>'),
  },
  {
    name: 'kimi_k2',
    opens: ['<|tool_calls_section_begin|>', '<|tool_call_begin|>'],
    closes: ['<|tool_calls_section_end|>'],
    calls: [
      {
        kind: 'named',
        begin: '<|tool_call_begin|>functions.',
        nameEnd: '<|tool_call_argument_begin|>',
        arguments: 'json',
        end: '<|tool_call_end|>',
      },
    ],
    json: {
      begin: '<|tool_calls_section_begin|><|tool_call_begin|>functions.',
      nameEnd: ':0<|tool_call_argument_begin|>',
      end: '<|tool_call_end|><|tool_calls_section_end|>',
      separator: '',
    },
    isOf: (template) => template.includes('<|tool_calls_section_begin|>'),
  },
  {
    name: 'granite',
    opens: ['<|tool_call|>', '<tool_call>'],
    closes: ['</tool_call>'],
    calls: [object],
    json: { begin: '<|tool_call|>[{"name": "', nameEnd: '", "arguments": ', end: '}]', separator: '\n' },
    isOf: (template) => template.includes('<|tool_call|>'),
  },
  {
    name: 'pythonic',
    opens: ['<|python_start|>', '<|tool_call_start|>'],
    closes: ['<|python_end|>', '<|tool_call_end|>'],
    bare: true,
    calls: [{ kind: 'python' }],
    json: null,
    isOf: (template) => template.includes('<|tool_call_start|>') || template.includes('<|python_start|>'),
  },
];

/** What most models without a word for it have learnt; calls that are held to a schema are written so where a format's own are no JSON. */
export const commonFormat = hermes;
