/** `lockstep health`: whether the server on this machine takes requests, for a container without another program that could ask. */
/** The flags of `lockstep health`. */
export interface HealthOptions {
  readonly port: number;
}

const answerMs = 5000;

/** What is wrong; null: nothing. */
export async function problemOf({ port }: HealthOptions): Promise<string | null> {
  const url = `http://127.0.0.1:${port}/health`;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(answerMs) });
    await response.arrayBuffer();
    return response.ok ? null : `${url} answers ${response.status}`;
  } catch (error) {
    const { message, cause } = error as Error;
    return `${url} does not answer: ${cause instanceof Error ? cause.message : message}`;
  }
}
