/** One line a record on stderr; never one a token. Rooms take a `Logger` instead of a global. */
import { createRequire } from 'node:module';
import type { Logger as PinoLogger } from 'pino';

export type Logger = Pick<PinoLogger, 'info' | 'warn' | 'error' | 'debug'>;
export type LogLevel = 'debug' | 'info' | 'warning' | 'error' | 'critical';

const pinoLevels = { debug: 'debug', info: 'info', warning: 'warn', error: 'error', critical: 'fatal' } as const;
const severities = ['debug', 'info', 'warn', 'error', 'fatal'];
const noRecord = () => {};

export const silentLogger: Logger = { debug: noRecord, info: noRecord, warn: noRecord, error: noRecord };

/**
 * `--log-level` uses the names of `--uvicorn-log-level`. Records go to stderr, so that stdout stays a program's own.
 * pino is loaded with the first record that is written: it takes 18 ms, and a start says nothing until the model is there.
 */
export function createLogger(level: LogLevel = 'info'): Logger {
  let opened: PinoLogger | null = null;
  const record = (name: keyof Logger): PinoLogger['info'] => {
    if (severities.indexOf(name) < severities.indexOf(pinoLevels[level])) return noRecord;
    return (...parts: unknown[]) => {
      opened ??= openLog(level);
      (opened[name] as (...parts: unknown[]) => void)(...parts);
    };
  };
  return { debug: record('debug'), info: record('info'), warn: record('warn'), error: record('error') };
}

/** Most bytes of records that wait for a slow reader of stderr; what is more is dropped: no request waits for the log. */
const accessLogBytesMax = 1 << 20;

/** Bytes that a pipe takes whole (PIPE_BUF of Linux), so that lines of several threads never mix. */
const wholeWriteBytes = 4096;

/** For a record a request: written behind the requests' back. */
export function createAccessLogger(): Pick<Logger, 'info'> {
  const { pino } = createRequire(import.meta.url)('pino') as typeof import('pino');
  const destination = pino.destination({ dest: 2, sync: false, maxLength: accessLogBytesMax, maxWrite: wholeWriteBytes });
  return pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
}

function openLog(level: LogLevel): PinoLogger {
  const { pino } = createRequire(import.meta.url)('pino') as typeof import('pino');
  return pino(
    { level: pinoLevels[level], base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 2, sync: true }),
  );
}
