/** swaks as an SMTP client: one transaction, and what the server said to each command. */
import { runProcess } from './process.ts';

export interface SwaksResult {
  /** 0 when the message was accepted. */
  readonly exitCode: number | null;
  /** Server lines in order, without swaks's arrows. */
  readonly replies: readonly string[];
  readonly text: string;
}

/** @param options swaks's own, such as { '--to': 'a@example.net' }; '' for an option without value */
export async function swaks(
  server: { readonly address: string; readonly port: number },
  options: Readonly<Record<string, string>>,
): Promise<SwaksResult> {
  const { code, output } = await runProcess('swaks', [
    '--server',
    server.address,
    '--port',
    String(server.port),
    '--helo',
    'client.example.net',
    '--timeout',
    '15s',
    ...Object.entries(options).flatMap(([name, value]) => (value === '' ? [name] : [name, value])),
  ]);
  const replies = output
    .split('\n')
    .filter((line) => /^<[~*-]/.test(line))
    .map((line) => line.replace(/^<\S*\s+/, ''));
  return { exitCode: code, replies, text: output };
}
