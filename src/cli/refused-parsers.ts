/** Tool parsers of `vllm serve` that are refused by name, and why; all others are rows of `parsing/tool-formats.ts`. */
const reasons: Readonly<Record<string, string>> = {
  'an argument is a tree of tags of its own, and not text or JSON': 'minimax_m3',
  'its arguments name their types, and one model has three ways to write them': 'k2_horizon',
  'attributes of its tags come in any order': 'kimi_k3',
  'its tags end in a word that each model chooses': 'hy_v3 hy_v4',
  'its calls are messages of their own to a recipient, and no part of the answer': 'openai muse_glimmer inkling',
  'its calls begin with their id, and not with the name': 'solar_open2',
  'the name of a function is the key of its arguments': 'apertus',
  'it runs what the model brings along; --tool-call-parser auto reads the format off the chat template': 'hf',
};

export const refusedParsers: ReadonlyMap<string, string> = new Map(
  Object.entries(reasons).flatMap(([reason, names]) => names.split(' ').map((name) => [name, reason] as const)),
);
