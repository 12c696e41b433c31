/** What scripts/gpu-check does, one part after the other, each a process that is ended at its deadline: a kernel that hangs ends nothing else. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { type Line, readLine } from './line.js';

export interface Part {
  readonly name: string;
  /** 'checks': being cut off is a failure; 'figures': it leaves figures out. */
  readonly kind: 'checks' | 'figures';
  /** At most; and no more than is left of the whole. */
  readonly seconds: number;
  readonly command: readonly string[];
}

export interface PartResult {
  readonly name: string;
  readonly kind: Part['kind'];
  /** 'left out': no time was left. */
  readonly status: 'done' | 'failed' | 'cut' | 'left out';
  readonly seconds: number;
  readonly lines: readonly Line[];
  /** The end of what it said on stderr, where it failed or was cut. */
  readonly log: string;
}

const logMax = 4000;
/** Less is no use: a device's first use takes as long. */
const secondsMin = 2;

export async function runPart(part: Part, secondsLeft: number, env: NodeJS.ProcessEnv): Promise<PartResult> {
  const { name, kind, command } = part;
  const seconds = Math.min(part.seconds, secondsLeft);
  if (seconds < secondsMin) return { name, kind, status: 'left out', seconds: 0, lines: [], log: '' };
  const startMs = performance.now();
  const child = spawn(command[0]!, command.slice(1), { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const lines: Line[] = [];
  let log = '';
  let isCut = false;
  const timer = setTimeout(() => {
    isCut = true;
    child.kill('SIGKILL');
  }, seconds * 1000);
  const ended = new Promise<boolean>((resolve) => {
    child.once('error', (error) => {
      log += error.message;
      resolve(false);
    });
    child.once('close', (status) => resolve(status === 0));
  });
  child.stderr.on('data', (chunk) => {
    log = `${log}${chunk}`.slice(-logMax);
  });
  for await (const text of createInterface({ input: child.stdout })) {
    const line = readLine(text);
    if (line !== null) lines.push(line);
  }
  const isDone = await ended;
  clearTimeout(timer);
  const status = isCut ? 'cut' : isDone ? 'done' : 'failed';
  return { name, kind, status, seconds: (performance.now() - startMs) / 1000, lines, log: status === 'done' ? '' : log };
}

/** What is wrong with it, a line each; nothing: it says what it was to say, and all of that is right. */
export function failuresOf({ name, kind, status, seconds, lines }: PartResult): string[] {
  const wrong = lines.flatMap((line) => ('check' in line && !line.ok ? [`${name}: ${line.check}: ${line.detail}`] : []));
  if (status === 'cut' && kind === 'checks') wrong.push(`${name}: cut off after ${seconds.toFixed(0)} s`);
  if (status === 'left out' && kind === 'checks') wrong.push(`${name}: no time was left for it`);
  if (status === 'failed' && wrong.length === 0) wrong.push(`${name}: its process failed`);
  if (status === 'done' && lines.length === 0) wrong.push(`${name}: it said nothing`);
  return wrong;
}
