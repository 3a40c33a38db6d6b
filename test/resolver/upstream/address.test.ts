import { expect, test } from 'vitest';
import { parseUpstream } from '../../../resolver/upstream/address.ts';

const brief = (text: string): string => {
  const it = parseUpstream(text);
  if (it === null) return 'refused';
  const { transport, address, port, serverName, path } = it;
  return [transport, address, port, serverName, path].filter((part) => part !== null).join(' ');
};

test.each([
  ['192.0.2.53', 'udp 192.0.2.53 53'],
  ['127.0.0.1:5300', 'udp 127.0.0.1 5300'],
  ['[2001:db8::53]:5353', 'udp 2001:db8::53 5353'],
  ['tcp://192.0.2.53', 'tcp 192.0.2.53 53'],
  ['tls://192.0.2.53', 'tls 192.0.2.53 853 192.0.2.53'],
  ['tls://192.0.2.53:8853#dns.example.net', 'tls 192.0.2.53 8853 dns.example.net'],
  ['tls://[2001:db8::53]#dns.example.net', 'tls 2001:db8::53 853 dns.example.net'],
  ['https://192.0.2.53/dns-query', 'https 192.0.2.53 443 192.0.2.53 /dns-query'],
  [
    'https://dns.example.net/dns-query#192.0.2.53',
    'https 192.0.2.53 443 dns.example.net /dns-query',
  ],
  ['https://[2001:db8::53]:8443/q', 'https 2001:db8::53 8443 2001:db8::53 /q'],
  ['https://dns.example.net/dns-query', 'refused'],
  ['https://192.0.2.53', 'refused'],
  ['https://user:pass@192.0.2.53/dns-query', 'refused'],
  ['tls://192.0.2.53#not a name', 'refused'],
  ['tls://dns.example.net', 'refused'],
  ['dns.example.net', 'refused'],
  ['192.0.2.53:0', 'refused'],
  ['quic://192.0.2.53', 'refused'],
  ['', 'refused'],
])('%s: %s', (text, expected) => expect(brief(text)).toBe(expected));
