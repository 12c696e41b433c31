/** How each engine is started for a comparison: the same cores, the same bits, room for the same sequences, and else its defaults. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Format, folderOf, ggufOf, type ModelName } from './models.js';
import type { ServerCommand } from './server-process.js';

export const engines = ['llama.cpp', 'vLLM', 'Lockstep', 'Lockstep TP 2', 'Lockstep cold'] as const;
export type Engine = (typeof engines)[number];

export interface EngineSetup {
  readonly modelDir: string;
  readonly llamaBin: string;
  readonly vllmBin: string | null;
  readonly cores: number;
  readonly firstPort: number;
}

export interface Case {
  readonly model: ModelName;
  readonly format: Format;
  /** Sequences at once. */
  readonly streams: number;
}

/** Tokens of one sequence: the longest load, and some. */
const seqLenMax = 640;

/** Flags beside the defaults. */
const variants: Readonly<Partial<Record<Engine, readonly string[]>>> = {
  'Lockstep TP 2': ['--tensor-parallel-size', '2'],
  'Lockstep cold': ['--no-weight-cache'],
};

/** null: the engine has no such format here. */
export function commandOf(engine: Engine, { model, format, streams }: Case, setup: EngineSetup): ServerCommand | null {
  const port = setup.firstPort + engines.indexOf(engine);
  const file = () => ggufOf(setup.modelDir, model, format, setup.llamaBin);
  const listen = ['--host', '127.0.0.1', '--port', String(port)];
  switch (engine) {
    case 'llama.cpp': {
      // No run before the first request and no copies of old prompts in memory: both would only cost it here.
      const lean = ['--no-warmup', '--cache-ram', '0', '--no-webui'];
      const room = ['-np', String(streams), '-c', String(streams * (streams > 16 ? 128 : seqLenMax))];
      const args = ['-m', file(), '-a', 'm', '-t', String(setup.cores), ...room, ...lean, ...listen];
      return { name: engine, program: join(setup.llamaBin, 'llama-server'), args, env: {}, port };
    }
    case 'vLLM': {
      if (format !== 'bf16' || setup.vllmBin === null) return null;
      const env = {
        VLLM_CPU_OMP_THREADS_BIND: `0-${setup.cores - 1}`,
        VLLM_CPU_NUM_OF_RESERVED_CPU: '0',
        VLLM_CPU_KVCACHE_SPACE: '2',
        HF_HUB_OFFLINE: '1',
        VLLM_NO_USAGE_STATS: '1',
      };
      const sizes = ['--dtype', 'bfloat16', '--max-model-len', String(seqLenMax), '--max-num-seqs', '256'];
      const args = ['serve', folderOf(setup.modelDir, model), '--served-model-name', 'm', ...sizes, ...listen];
      return { name: engine, program: join(setup.vllmBin, 'vllm'), args, env, port };
    }
    default: {
      const variant = variants[engine] ?? [];
      const plain = ['--served-model-name', 'm', '--max-model-len', String(seqLenMax), '--log-level', 'warning'];
      const args = ['dist/src/cli/main.js', 'serve', file(), ...plain, ...variant, ...listen];
      return { name: engine, program: process.execPath, args, env: {}, port };
    }
  }
}

/** "version: 1 (de3ff81)"; llama-server says it on stderr. */
export function versionsOf({ llamaBin, vllmBin }: EngineSetup): Record<string, string> {
  const said = (program: string, args: readonly string[]) => {
    if (!existsSync(program)) return null;
    const { stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
    return `${stderr}${stdout}`;
  };
  const llama = /version: .*/.exec(said(join(llamaBin, 'llama-server'), ['--version']) ?? '')?.[0];
  const read = "import importlib.metadata as m; print(m.version('vllm'))";
  const vllm = vllmBin === null ? null : said(join(vllmBin, 'python'), ['-c', read])?.trim();
  return { ...(llama ? { 'llama.cpp': llama.replace('version: ', '') } : {}), ...(vllm ? { vLLM: vllm } : {}) };
}
