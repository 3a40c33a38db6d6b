/** Peers that take whole transactions sent ahead, until they don't. */
import type { PeerSession } from '../support.ts';

/** Commands of one transaction, with the octets of its content read. @returns the RCPT line, 'EOF' at the end */
export async function readTransaction(
  session: PeerSession,
): Promise<{ to: string; ahead: boolean }> {
  let ahead = false;
  for (;;) {
    const line = await session.line();
    if (line === 'EOF' || line === 'QUIT') return { to: line, ahead };
    if (line === 'RSET') ahead = true;
    if (!line.startsWith('RCPT')) continue;
    return { to: line, ahead };
  }
}

export async function readContent(session: PeerSession): Promise<void> {
  const [, octets] = (await session.line()).split(' ');
  await session.octets(Number(octets));
}

/** Answers `count` transactions one by one as a host in good order does. */
export async function serve(session: PeerSession, count: number): Promise<void> {
  for (let number = 0; number < count; number += 1) {
    const { ahead } = await readTransaction(session);
    session.say(`${ahead ? '250 2.0.0 reset\n' : ''}250 2.1.0 ok\n250 2.1.5 ok\n`);
    await readContent(session);
    session.say(`250 2.0.0 taken as ${number}\n`);
  }
}
