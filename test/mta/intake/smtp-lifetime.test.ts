/** How long a connection may last, and how it ends when the mta does. */
import { afterEach, describe, expect, test } from 'vitest';
import {
  CLOSE_TIMEOUT_MS,
  IDLE_TIMEOUT_MS,
  TRANSACTION_TIMEOUT_MS,
} from '../../../mta/intake/session.ts';
import { SWEEP_MS } from '../../../mta/intake/smtp.ts';
import { ManualClock } from '../../support/clock.ts';
import { FIRST_ID, listen, PATIENCE, RawClient, type Rig, rig } from './harness.ts';

const BEGIN = 'EHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<b@b.c>\r\nDATA\r\n';
const rigs: Rig[] = [];

async function start(): Promise<Rig & { clock: ManualClock; port: number }> {
  const clock = new ManualClock();
  const made = rig({}, { clock });
  rigs.push(made);
  return Object.assign(made, { clock, port: await listen(made.door) });
}

afterEach(async () => {
  for (const { intake, door } of rigs.splice(0)) {
    const stopped = door.stop(0);
    (intake.clock as ManualClock).advance(1);
    await stopped;
  }
});

/** After the reply the session has noted that the client was active. */
const noop = (client: RawClient): Promise<string> =>
  client.exchange('NOOP\r\n', /250 2\.0\.0 OK\r\n$/);

describe('time-outs', () => {
  test('an idle client is sent away after five minutes', async () => {
    const { clock, port } = await start();
    const client = new RawClient(port);
    await noop(client);
    clock.advance(IDLE_TIMEOUT_MS - SWEEP_MS);
    await noop(client);
    clock.advance(IDLE_TIMEOUT_MS - 1);
    await noop(client);
    clock.advance(IDLE_TIMEOUT_MS + SWEEP_MS);
    expect(await client.end()).toMatch(/\r\n421 4\.4\.2 waited too long for you\r\n$/);
  });

  test('a transaction that is never idle is ended after half an hour', async () => {
    const { clock, port, accepted } = await start();
    const client = new RawClient(port);
    await client.exchange('HELO c\r\nMAIL FROM:<a@b.c>\r\n', /250 2\.1\.0/);
    const stepMs = IDLE_TIMEOUT_MS / 2;
    for (let spentMs = 0; spentMs < TRANSACTION_TIMEOUT_MS - stepMs; spentMs += stepMs) {
      clock.advance(stepMs);
      await noop(client);
    }
    clock.advance(stepMs + SWEEP_MS);
    expect(await client.end()).toMatch(/\r\n421 4\.4\.2 transaction took too long\r\n$/);
    expect(accepted).toEqual([]);
  });

  test('memory of a message that stalls is given back', async () => {
    const { clock, port, intake } = await start();
    const client = new RawClient(port);
    client.send(`${BEGIN}half`);
    await client.until(/354/);
    expect(intake.held.held).toBeGreaterThan(0);
    clock.advance(IDLE_TIMEOUT_MS + SWEEP_MS);
    expect(intake.held.held).toBe(0);
    expect(await client.end()).toMatch(/\r\n421 4\.4\.2 waited too long for you\r\n$/);
  });

  test('a message that settles may take its time', async () => {
    const made = await start();
    let settle = (_id: number): void => undefined;
    const begun = new Promise<void>((resolve) => {
      made.onAccept = () => {
        resolve();
        return new Promise((yes) => {
          settle = yes;
        });
      };
    });
    const client = new RawClient(made.port);
    client.send(`${BEGIN}\r\n.\r\n`);
    await begun;
    made.clock.advance(IDLE_TIMEOUT_MS * 2);
    settle(FIRST_ID);
    await client.until(/queued as/);
  });

  test('a client that does not close its side after QUIT is cut', async () => {
    const { clock, port, intake } = await start();
    const client = new RawClient(port);
    client.socket.allowHalfOpen = true;
    client.send('QUIT\r\n');
    await client.until(/221/);
    await new Promise((resolve) => client.socket.once('end', resolve));
    expect(intake.counters.clients).toBe(1);
    clock.advance(CLOSE_TIMEOUT_MS + SWEEP_MS);
    await expect.poll(() => intake.counters.clients, PATIENCE).toBe(0);
  });
});

describe('stop', () => {
  test('idle clients get 421, a transaction under way is finished, new connections are refused', async () => {
    const made = await start();
    const idle = new RawClient(made.port);
    const busy = new RawClient(made.port);
    await noop(idle);
    busy.send(`${BEGIN}Subject: x\r\n\r\n`);
    await busy.until(/354/);
    let stopped = false;
    const stop = made.door.stop(10_000).then(() => {
      stopped = true;
    });
    expect(await idle.end()).toMatch(/421 4\.3\.2 shutting down\r\n$/);
    const late = new RawClient(made.port);
    expect(await late.end()).toBe('');
    expect(stopped).toBe(false);
    busy.send('body\r\n.\r\nMAIL FROM:<a@b.c>\r\n');
    expect(await busy.end()).toMatch(/queued as .*\r\n421 4\.3\.2 shutting down\r\n$/);
    await stop;
    expect(made.accepted).toHaveLength(1);
    expect(made.clock.timers).toBe(0);
  });

  test('a message that settles while stopping is acknowledged', async () => {
    const made = await start();
    let settle = (_id: number): void => undefined;
    const begun = new Promise<void>((resolve) => {
      made.onAccept = () => {
        resolve();
        return new Promise((yes) => {
          settle = yes;
        });
      };
    });
    const client = new RawClient(made.port);
    client.send(`${BEGIN}\r\n.\r\n`);
    await begun;
    const stop = made.door.stop(10_000);
    settle(FIRST_ID);
    expect(await client.end()).toMatch(/queued as .*\r\n421 4\.3\.2/);
    await stop;
  });

  test('whoever does not finish in time is cut, and not acknowledged', async () => {
    const made = await start();
    const client = new RawClient(made.port);
    client.send(`${BEGIN}half`);
    await client.until(/354/);
    const stop = made.door.stop(10_000);
    made.clock.advance(10_000);
    await stop;
    expect(await client.end()).toMatch(/354 .*\r\n$/);
    expect(made.accepted).toEqual([]);
    expect(made.intake.held.held).toBe(0);
  });

  test('last orders: who has sent nothing yet may send one message, nobody another', async () => {
    const made = await start();
    const [fresh, served, late] = [0, 0, 0].map(() => new RawClient(made.port));
    await served!.exchange(`${BEGIN}\r\n.\r\n`, /queued as/);
    for (const client of [fresh!, late!]) await noop(client);
    const stop = made.door.stop(10_000, 1_000);
    expect(await served!.end()).toMatch(/queued as .*\r\n421 4\.3\.2 shutting down\r\n$/);
    fresh!.send(`${BEGIN}\r\n.\r\n`);
    expect(await fresh!.end()).toMatch(/queued as .*\r\n421 4\.3\.2 shutting down\r\n$/);
    made.clock.advance(1_000);
    expect(await late!.end()).toMatch(/421 4\.3\.2 shutting down\r\n$/);
    await stop;
    expect(made.accepted).toHaveLength(2);
  });
});

test('an address in use is an error, and leaves nothing bound', async () => {
  const { port } = await start();
  const other = rig({}, { clock: new ManualClock() });
  const taken = { address: '127.0.0.1', port };
  await expect(other.door.listen([{ address: '127.0.0.1', port: 0 }, taken])).rejects.toMatchObject(
    {
      code: 'EADDRINUSE',
    },
  );
  await other.door.stop(0);
});

test('listens on IPv6 as well', async () => {
  const made = await start();
  await expect(made.door.listen([{ address: '::1', port: 0 }])).resolves.toMatchObject([
    { address: '::1' },
  ]);
});
