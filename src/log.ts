/** One line a record on stderr; never one a token. Rooms take a `Logger` instead of a global. */
import { type Logger as PinoLogger, pino } from 'pino';

export type Logger = Pick<PinoLogger, 'info' | 'warn' | 'error' | 'debug'>;
export type LogLevel = 'debug' | 'info' | 'warning' | 'error' | 'critical';

const pinoLevels = { debug: 'debug', info: 'info', warning: 'warn', error: 'error', critical: 'fatal' } as const;

/** `--log-level` uses the names of `--uvicorn-log-level`. Records go to stderr, so that stdout stays a program's own. */
export function createLogger(level: LogLevel = 'info'): Logger {
  return pino(
    { level: pinoLevels[level], base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 2, sync: true }),
  );
}

export const silentLogger: Logger = pino({ level: 'silent' });
