/**
 * Parsers of `vllm serve` that are refused by name, and why; all others are rows of `parsing/tool-formats.ts` and `parsing/reasoning-format.ts`.
 * The messages of gpt-oss ("harmony") are several to an answer, each with a channel and a recipient: a parser for them, and their prompts that the
 * template alone does not make, would serve no model, as long as that architecture (attention sinks, MXFP4 experts) cannot be loaded.
 */
const tools: Readonly<Record<string, string>> = {
  'an argument is a tree of tags of its own, and not text or JSON': 'minimax_m3',
  'its arguments name their types, and one model has three ways to write them': 'k2_horizon',
  'attributes of its tags come in any order': 'kimi_k3',
  'its tags end in a word that each model chooses': 'hy_v3 hy_v4',
  'it reads the messages of gpt-oss, an architecture that cannot be loaded here': 'openai',
  'its calls are messages of their own to a recipient, and no part of the answer': 'muse_glimmer inkling',
  'its calls begin with their id, and not with the name': 'solar_open2',
  'the name of a function is the key of its arguments': 'apertus',
  'it runs what the model brings along; --tool-call-parser auto reads the format off the chat template': 'hf',
};

const reasoning: Readonly<Record<string, string>> = {
  'it reads the messages of gpt-oss, an architecture that cannot be loaded here': 'openai_gptoss',
  'reasoning and answer stand in messages or channels of their own': 'muse_glimmer inkling kimi_k3 gemma4',
  'what it takes for reasoning stays in the content': 'minimax_m2_append_think',
  'the answer stands between tags, too': 'ernie45 granite_thinking_parser hunyuan_a13b minimax_m3',
  'its markers are sentences in several wordings': 'granite',
  'its tags end in a word that each model chooses': 'hy_v3 hy_v4',
  'its tags change with the effort': 'k2_horizon',
  'it runs what the model brings along; --reasoning-parser auto reads the markers off the chat template': 'hf',
};

const byName = (reasons: Readonly<Record<string, string>>): ReadonlyMap<string, string> =>
  new Map(Object.entries(reasons).flatMap(([reason, names]) => names.split(' ').map((name) => [name, reason] as const)));

/** Of --tool-call-parser and of --reasoning-parser. */
export const refusedToolParsers = byName(tools);
export const refusedReasoningParsers = byName(reasoning);
