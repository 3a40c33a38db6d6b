/** Postfix's smtp-sink: an SMTP server in clear that takes everything and keeps nothing. */
import { accepts, startProcess, waitFor } from './process.ts';
import { freePort } from './scratch.ts';

export interface SmtpSink {
  readonly address: string;
  readonly port: number;
  stop(): Promise<void>;
}

const BACKLOG = 512;

/** @param options smtp-sink's own, such as ["-f", "rcpt"] */
export async function startSmtpSink(
  address: string,
  ...options: readonly string[]
): Promise<SmtpSink> {
  const port = await freePort(address);
  const asUser = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  const args = [...asUser, ...options, `inet:${address}:${port}`, String(BACKLOG)];
  const sink = startProcess('smtp-sink', args);
  const stop = async (): Promise<void> => void (await sink.stop());
  try {
    await waitFor(() => accepts(port, address), 'smtp-sink to listen');
  } catch (error) {
    await stop();
    throw error;
  }
  return { address, port, stop };
}
