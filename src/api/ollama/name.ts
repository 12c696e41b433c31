/** Names of models as Ollama's clients write them: with a tag, of which there is one. */
import { checkModelName } from '../context.js';
import type { JsonObject } from '../json-object.js';
import type { ServedModel } from '../served-model.js';

const tag = ':latest';

/** Throws `model_not_found`. */
export function checkOllamaName(body: JsonObject, model: ServedModel): void {
  const asked = (body['model'] ?? body['name']) as string | undefined;
  const bare = asked?.endsWith(tag) && !model.names.includes(asked) ? asked.slice(0, -tag.length) : asked;
  checkModelName({ model: bare }, model);
}
