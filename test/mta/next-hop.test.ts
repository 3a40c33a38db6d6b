import { describe, expect, test } from 'vitest';
import {
  formatNextHop,
  mailDomainOf,
  nextHopOf,
  parseNextHop,
  routingDomain,
} from '../../mta/next-hop.ts';

test.each([
  ['relay.example', 'relay.example'],
  ['Relay.Example.:2525', 'relay.example:2525'],
  ['[relay.example]:25', 'relay.example:25'],
  ['localhost', 'localhost'],
  ['192.0.2.1', '[192.0.2.1]'],
  ['192.0.2.1:2525', '[192.0.2.1]:2525'],
  ['[192.0.2.1]:2525', '[192.0.2.1]:2525'],
  ['[2001:db8:0:0::1]', '[ipv6:2001:db8::1]'],
  ['[IPv6:2001:DB8::1]:2525', '[ipv6:2001:db8::1]:2525'],
])('%s is %s', (text, spelled) => {
  const hop = parseNextHop(text)!;
  expect(formatNextHop(hop)).toBe(spelled);
  expect(parseNextHop(spelled)).toEqual(hop);
});

test.each([
  '',
  'mx host',
  'relay.example:0',
  'relay.example:65536',
  'relay.example:smtp',
  '2001:db8::1',
  'a/b',
  '=relay',
  '-relay',
  'a..b',
  `${'a'.repeat(64)}.example`,
])('%j is none', (text) => expect(parseNextHop(text)).toBeNull());

describe('a routing domain', () => {
  const hop = { host: '[ipv6:2001:db8::1]', port: 2525 };

  test('keeps the mail domain, is changed, and taken back', () => {
    const routed = routingDomain(hop, 'example.net');
    expect(routed).toBe('=[ipv6:2001:db8::1]:2525/example.net');
    expect(nextHopOf(routed)).toEqual(hop);
    expect(mailDomainOf(routed)).toBe('example.net');
    expect(routingDomain({ host: 'relay', port: null }, routed)).toBe('=relay/example.net');
    expect(routingDomain(null, routed)).toBe('example.net');
  });

  test('is none for a mail domain', () => {
    expect(nextHopOf('example.net')).toBeNull();
    expect(mailDomainOf('[192.0.2.1]')).toBe('[192.0.2.1]');
  });
});
