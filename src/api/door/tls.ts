/** The files of TLS: checked before anybody listens, and looked at again when they change. */
import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { startError } from '../../errors.js';
import type { Logger } from '../../log.js';
import type { TlsOptions } from '../exchange.js';

/** Files are asked for their time, not subscribed to: a mounted secret changes by a link that moves, which no subscription sees. */
const pollMs = 1000;

/** Throws a start error that says which file does not do, and why. */
export function checkTls({ keyFile, certFile, caFile, ciphers }: TlsOptions): void {
  const read = (path: string, flag: string) => {
    try {
      return readFileSync(path);
    } catch (cause) {
      throw startError(`--${flag} ${path} cannot be read: ${(cause as Error).message}`, { param: flag, cause });
    }
  };
  const key = read(keyFile, 'ssl-keyfile');
  const cert = read(certFile, 'ssl-certfile');
  const ca = caFile === null ? undefined : read(caFile, 'ssl-ca-certs');
  try {
    createSecureContext({ key, cert, ...(ca === undefined ? {} : { ca }), ...(ciphers === null ? {} : { ciphers }) });
  } catch (cause) {
    throw startError(`--ssl-keyfile ${keyFile} and --ssl-certfile ${certFile} cannot be used: ${(cause as Error).message}`, {
      param: 'ssl-certfile',
      cause,
    });
  }
}

/** Calls `reload` when the files have changed and fit together. Returns what ends it. */
export function watchTls(tls: TlsOptions, reload: () => Promise<void>, logger: Logger): () => void {
  const files = [tls.keyFile, tls.certFile, ...(tls.caFile === null ? [] : [tls.caFile])];
  const onChange = async () => {
    try {
      checkTls(tls);
      await reload();
      logger.info('the TLS certificate was read again');
    } catch (error) {
      // Key and certificate change one after the other: between the two they do not fit, and the old ones stay.
      logger.warn({ err: error }, 'the TLS files have changed and cannot be used yet');
    }
  };
  for (const file of files) watchFile(file, { interval: pollMs }, onChange);
  return () => {
    for (const file of files) unwatchFile(file, onChange);
  };
}
