/** Which level sets which limit, for which message. */
import { describe, expect, test } from 'vitest';
import { mtaSchema } from '../../../mta/config.ts';
import { communityProviders, Shaping } from '../../../mta/plan/shaping.ts';
import { siteOf } from '../../../mta/plan/site.ts';

const configOf = (shaping: object, delivery: object = {}) =>
  mtaSchema.parse({ delivery, shaping, retry: ['1m'] });
const site = (...hosts: string[]) =>
  siteOf({ ranks: [hosts], port: 25, tls: 'opportunistic', source: '' });

const GOOGLE = {
  mx: ['*.l.google.com'],
  connections: 8,
  messages_per_second: 50,
  retry: ['2m', '4m'],
};

describe('levels', () => {
  const shaping = new Shaping(
    configOf({
      provider: { google: GOOGLE },
      site: { 'aspmx.l.google.com': { connections: 4 } },
      domain: {
        'vip.example': { messages_per_second: 1, tls: 'verify', recipients_per_message: 5 },
      },
    }),
  );
  const aspmx = site('aspmx.l.google.com');
  const gmail = site('gmail-smtp-in.l.google.com');

  test('defaults, shared by the site alone', () => {
    const elsewhere = site('mx.example.net');
    expect(shaping.limitsOf(elsewhere, 'a.example')).toEqual({
      connections: { max: 20, scope: `site ${elsewhere.id}` },
      messagesPerSecond: null,
      messagesPerConnection: 1000,
      recipientsPerMessage: 100,
      retryMs: [60_000],
    });
  });

  test('a provider’s are shared by all of its sites', () => {
    expect(shaping.limitsOf(gmail, 'gmail.com')).toMatchObject({
      connections: { max: 8, scope: 'provider google' },
      messagesPerSecond: { max: 50, scope: 'provider google' },
      retryMs: [120_000, 240_000],
    });
  });

  test('a site outranks its provider, key by key', () => {
    expect(shaping.limitsOf(aspmx, 'other.example')).toMatchObject({
      connections: { max: 4, scope: `site ${aspmx.id}` },
      messagesPerSecond: { max: 50, scope: 'provider google' },
    });
  });

  test('a domain outranks the site, for its own mail only, whoever made the site known', () => {
    const vip = shaping.limitsOf(aspmx, 'vip.example');
    expect(vip).toMatchObject({
      connections: { max: 4 },
      messagesPerSecond: { max: 1, scope: 'domain vip.example' },
      recipientsPerMessage: 5,
    });
    const other = shaping.limitsOf(aspmx, 'other.example');
    expect(other.recipientsPerMessage).toBe(100);
    expect(shaping.limitsOf(aspmx, 'vip.example')).toBe(vip);
    expect(shaping.limitsOf(aspmx, 'third.example')).toBe(other);
  });

  test('TLS policy: domain, then host, then default', () => {
    const strict = new Shaping(
      configOf(
        {
          site: { 'mx.bank.example': { tls: 'require' } },
          domain: { 'vip.example': { tls: 'none' } },
        },
        { tls: 'opportunistic' },
      ),
    );
    expect(strict.tlsOf('vip.example', [['mx.bank.example']])).toBe('none');
    expect(strict.tlsOf('b.example', [['mx.bank.example']])).toBe('require');
    expect(strict.tlsOf('b.example', [['mx.other.example']])).toBe('opportunistic');
  });
});

test('the configuration outranks the file that comes with the program, key by key', () => {
  const community = communityProviders();
  const shaping = new Shaping(configOf({ provider: { yahoo: { connections: 1 } } }), community);
  expect(shaping.limitsOf(site('mta5.am0.yahoodns.net'), 'yahoo.com')).toMatchObject({
    connections: { max: 1, scope: 'provider yahoo' },
    messagesPerConnection: 20,
  });
  expect(shaping.providerOf([['example-com.mail.protection.outlook.com']])).toBe('outlook');
  expect(shaping.providerOf([['hotmail-com.olc.protection.outlook.com']])).toBe('hotmail');
  expect(shaping.providerOf([['notyahoodns.net']])).toBeNull();
});

describe('what an operator wrote outranks what comes with the program', () => {
  const gmail = site('gmail-smtp-in.l.google.com');
  const community = {
    google: { mx: ['*.l.google.com'], connections: 20, retry: [60_000, 120_000] },
  };
  const written = (names: readonly string[], shaping: object = {}) =>
    new Shaping({ ...configOf(shaping, { connections: 7 }), written: new Set(names) }, community);

  test.each([
    // Written in general; of the provider; who wins, and who is said to have set it.
    [[], {}, 20, 'provider google', [60_000, 120_000]],
    [['connections'], {}, 7, 'site', [60_000, 120_000]],
    [['retry'], {}, 20, 'provider google', [60_000]],
    [
      ['connections', 'retry'],
      { provider: { google: { connections: 3 } } },
      3,
      'provider google',
      [60_000],
    ],
    [
      ['connections'],
      { domain: { 'gmail.com': { connections: 2 } } },
      2,
      'domain gmail.com',
      [60_000, 120_000],
    ],
  ] as const)('%j and %j', (names, shaping, connections, scope, retryMs) => {
    const limits = written(names, shaping).limitsOf(gmail, 'gmail.com');
    expect(limits.connections.max).toBe(connections);
    expect(limits.connections.scope.startsWith(scope)).toBe(true);
    expect(limits.retryMs).toEqual(retryMs);
  });

  test('and each limit says who set it', () => {
    const shaping = written(['retry'], {
      provider: { google: { messages_per_second: 5 } },
      site: { 'gmail-smtp-in.l.google.com': { recipients_per_message: 9 } },
      domain: { 'gmail.com': { tls: 'require' } },
    });
    expect(shaping.explain(gmail, 'gmail.com')).toEqual([
      { name: 'connections', value: '20', source: 'community limits of google' },
      { name: 'messages_per_connection', value: '1000', source: 'default' },
      { name: 'messages_per_second', value: '5', source: 'mta.shaping.provider.google' },
      {
        name: 'recipients_per_message',
        value: '9',
        source: 'mta.shaping.site."gmail-smtp-in.l.google.com"',
      },
      { name: 'tls', value: 'require', source: 'mta.shaping.domain."gmail.com"' },
      { name: 'retry', value: '1m', source: 'mta.delivery, mta.retry' },
    ]);
  });
});
