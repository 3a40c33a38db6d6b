/** What of the mta's configuration may change while it runs, and that a change is taken whole or not at all. */
import { expect, test } from 'vitest';
import { mtaSchema } from '../../mta/config.ts';
import { ReloadRefused } from '../../mta/errors.ts';
import { LiveConfig } from '../../mta/reload.ts';

const config = (settings: object) => mtaSchema.parse({ hostname: 'mta.example.net', ...settings });

test('what is live is taken into the objects that all parts hold', () => {
  const live = new LiveConfig(config({ allow: ['127.0.0.1'], users: { ann: 'secret-one' } }));
  const { allow, delivery } = live.config;
  const next = config({
    allow: ['10.0.0.0/8', '::1'],
    users: { bob: 'secret-two' },
    max_age: '4d',
    delivery: { idle: '3s' },
  });
  expect(live.compare(next)).toEqual([
    'mta.allow',
    'mta.users.bob',
    'mta.max_age',
    'mta.delivery.idle',
    'mta.users.ann',
  ]);
  expect(live.config.max_age).toBe(5 * 86_400_000);
  live.take(next);
  expect(allow.map(({ text }) => text)).toEqual(['10.0.0.0/8', '::1']);
  expect(delivery.idle).toBe(3_000);
  expect(live.config.users).toEqual({ bob: 'secret-two' });
  expect(live.compare(next)).toEqual([]);
});

test('what is not live is named, with a way to have it all the same', () => {
  const live = new LiveConfig(config({}));
  const next = config({ dns: '127.0.0.1:1', max_age: '4d', delivery: { port: 26 } });
  expect(() => live.compare(next)).toThrow(
    'nothing was changed: mta.dns, mta.delivery.port cannot change while the mta runs; "postilion upgrade" takes it over',
  );
  expect(() => live.compare(next)).toThrow(ReloadRefused);
  expect(live.config.max_age).toBe(5 * 86_400_000);
});

test('a webhook that is taken away is a change, too', () => {
  const webhooks = { crm: { url: 'http://127.0.0.1:1/', secret: '0123456789abcdef' } };
  const live = new LiveConfig(config({ webhooks }));
  expect(() => live.compare(config({}))).toThrow(/mta\.webhooks\.crm/);
});
