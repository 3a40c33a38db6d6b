import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { selfSigned } from '../../../bench/load/certificate.ts';

test('a self-signed certificate names its hosts and verifies itself', () => {
  const certificate = new X509Certificate(selfSigned(['mx.example', '*.b.example']).cert);
  expect(certificate.subject).toBe('CN=mx.example');
  expect(certificate.checkHost('mx.example')).toBe('mx.example');
  expect(certificate.checkHost('a.b.example')).toBe('*.b.example');
  expect(certificate.checkHost('other.example')).toBeUndefined();
  expect(certificate.verify(certificate.publicKey)).toBe(true);
  expect(certificate.ca).toBe(true);
});

test('a client that trusts it accepts the server', async () => {
  const { key, cert } = selfSigned(['mx.example']);
  const server = createServer({ key, cert }).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = connect({ port, host: '127.0.0.1', servername: 'mx.example', ca: cert });
  onTestFinished(() => void socket.destroy());
  await once(socket, 'secureConnect');
  expect(socket.authorized).toBe(true);
});
