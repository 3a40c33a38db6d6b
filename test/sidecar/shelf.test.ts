/** Sockets that are held for programs: bound once, handed on, dropped when nothing uses them. */
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { describeSocket } from '../../runtime/activation.ts';
import { silentLog } from '../../runtime/log.ts';
import { configSchema } from '../../sidecar/config/schema.ts';
import { planOf } from '../../sidecar/plan.ts';
import type { Plan } from '../../sidecar/protocol.ts';
import { SocketShelf } from '../../sidecar/shelf.ts';
import { freePort } from '../support/scratch.ts';

const shelves: SocketShelf[] = [];
afterEach(() => {
  for (const shelf of shelves.splice(0)) shelf.close();
});

async function open(): Promise<SocketShelf> {
  const shelf = await SocketShelf.open(silentLog);
  shelves.push(shelf);
  return shelf;
}

const address = async (): Promise<string> => `127.0.0.1:${await freePort()}`;

/** Of a configuration with these addresses. */
function plan(resolver: object, mta: object): Plan {
  const raw = { resolver, mta };
  return planOf(configSchema.parse(raw), raw);
}

const linux = test.skipIf(process.platform !== 'linux');

const settings = async () => ({
  resolver: { listen: [await address()], admin: await address(), fronts: 2 },
  mta: { smtp: [await address()], http: await address() },
});

linux('each program gets its own, several for fronts; the next plan gets the same', async () => {
  const shelf = await open();
  const { resolver, mta } = await settings();
  const handed = shelf.provide(plan(resolver, mta));
  shelf.settle(handed);
  expect(handed.resolver.map(({ protocol }) => protocol)).toEqual(['udp', 'udp', 'tcp', 'tcp']);
  expect(handed.mta.map(({ endpoint }) => `127.0.0.1:${endpoint.port}`)).toEqual([
    mta.smtp[0],
    mta.http,
  ]);
  const fds = [...handed.resolver, ...handed.mta].map(({ fd }) => fd);
  expect(new Set(fds).size).toBe(6);
  const again = shelf.provide(plan(resolver, mta));
  expect([...again.resolver, ...again.mta].map(({ fd }) => fd)).toEqual(fds);
});

linux('who connects before anybody accepts is not refused', async () => {
  const shelf = await open();
  const { resolver, mta } = await settings();
  const [smtp] = shelf.provide(plan(resolver, mta)).mta;
  const socket = connect(smtp!.endpoint.port, smtp!.endpoint.address);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve).once('error', reject);
  });
  const server = createServer();
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  server.listen({ fd: smtp!.fd });
  (await accepted).destroy();
  socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

linux(
  'what a plan that came to nothing had bound is dropped, and what a new one leaves out',
  async () => {
    const shelf = await open();
    const { resolver, mta } = await settings();
    const handed = shelf.provide(plan(resolver, mta));
    shelf.settle(handed);
    const moved = shelf.provide(plan(resolver, { ...mta, smtp: [await address()] }));
    const [before, after] = [handed.mta[0]!.fd, moved.mta[0]!.fd];
    expect(before).not.toBe(after);
    shelf.settle(null);
    expect([describeSocket(before)?.protocol, describeSocket(after)]).toEqual(['tcp', null]);
    const taken = shelf.provide(plan(resolver, { ...mta, smtp: [] }));
    shelf.settle(taken);
    expect(describeSocket(before)).toBeNull();
  },
);

linux('what cannot be bound is left to its program', async () => {
  const shelf = await open();
  const { resolver, mta } = await settings();
  const holder = createServer();
  await new Promise<void>((resolve) => {
    holder.listen(Number(mta.http.split(':')[1]), '127.0.0.1', resolve);
  });
  const handed = shelf.provide(plan(resolver, mta));
  expect(handed.mta.map(({ endpoint }) => `127.0.0.1:${endpoint.port}`)).toEqual(mta.smtp);
  await new Promise((resolve) => holder.close(resolve));
});

test('ports of the choice of the system are not in a plan', () => {
  const { programs } = plan(
    { listen: ['127.0.0.1:0'], admin: '127.0.0.1:0' },
    { smtp: ['127.0.0.1:0'], http: '127.0.0.1:0' },
  );
  expect([programs.resolver.sockets, programs.mta.sockets]).toEqual([[], []]);
});
