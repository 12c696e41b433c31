/** Asks the server that the page came from. The key, where one is needed, is kept for as long as the browser's tab is open. */
import { signal } from '@preact/signals';

const keyName = 'lockstep.key';

/** '' for none. */
export const apiKey = signal(sessionStorage.getItem(keyName) ?? '');
/** The server has refused the key, or the lack of one. */
export const needsKey = signal(false);

export function useKey(key: string): void {
  apiKey.value = key;
  needsKey.value = false;
  if (key === '') sessionStorage.removeItem(keyName);
  else sessionStorage.setItem(keyName, key);
}

export class ServerError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** `path` without a slash before it: the server may be below another path. Throws `ServerError`. */
export async function ask(path: string, body: unknown = undefined, abort: AbortSignal | null = null): Promise<Response> {
  const headers: Record<string, string> = apiKey.value === '' ? {} : { authorization: `Bearer ${apiKey.value}` };
  const post = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
  if (body !== undefined) headers['content-type'] = 'application/json';
  const url = new URL(path, location.href);
  const response = await fetch(url, { ...post, headers, signal: abort }).catch((error: Error) => {
    if (error.name === 'AbortError') throw error;
    throw new ServerError('The server does not answer.', 0);
  });
  if (response.ok) return response;
  if (response.status === 401) needsKey.value = true;
  throw new ServerError(messageOf(await response.text(), response.status), response.status);
}

function messageOf(text: string, status: number): string {
  try {
    return (JSON.parse(text) as { error: { message: string } }).error.message;
  } catch {
    return `The server answered ${status}.`;
  }
}
