import { describe, expect, test } from 'vitest';
import {
  parseConntrackFill,
  parseEthtool,
  parseUdpReceiveErrors,
  systemSignals,
} from '../../../resolver/upstream/signals.ts';

const ETHTOOL = `NIC statistics:
     total_resets: 0
     bw_in_allowance_exceeded: 7
     pps_allowance_exceeded: 12
     conntrack_allowance_exceeded: 0
     linklocal_allowance_exceeded: 4294967296
     conntrack_allowance_available: 136812
     queue_0_tx_cnt: 4329
`;

test('ethtool: the three counters, whatever stands around them', () => {
  expect(parseEthtool(ETHTOOL)).toEqual({
    pps_allowance_exceeded: 12,
    conntrack_allowance_exceeded: 0,
    linklocal_allowance_exceeded: 4_294_967_296,
  });
});

test('ethtool: another driver has none of them', () => {
  expect(parseEthtool('NIC statistics:\n     rx_packets: 5\n     peer_ifindex: 3\n')).toEqual({});
  expect(parseEthtool('no stats available\n')).toEqual({});
  expect(parseEthtool('')).toEqual({});
});

test.each([
  ['65536\n', '262144\n', 0.25],
  ['0\n', '262144\n', 0],
  ['300000\n', '262144\n', 1],
  ['', '262144\n', null],
  ['5\n', '', null],
  ['5\n', '0\n', null],
  ['x', 'y', null],
])('conntrack %j of %j: %j', (count, max, fill) => {
  expect(parseConntrackFill(count, max)).toBe(fill);
});

describe('/proc/net/snmp', () => {
  const TCP = 'Tcp: RtoAlgorithm RtoMin\nTcp: 1 200\n';
  test.each([
    ['Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\nUdp: 5 0 3 5 3\n', 3],
    ['Udp: InDatagrams NoPorts\nUdp: 5 0\n', null],
    ['Udp: InDatagrams RcvbufErrors\n', null],
    ['Udp: RcvbufErrors\nUdp: many\n', null],
    ['UdpLite: RcvbufErrors\nUdpLite: 9\n', null],
    ['', null],
  ])('%j: %j', (text, errors) => expect(parseUdpReceiveErrors(TCP + text)).toBe(errors));
});

test('this machine can be read, whatever it has', async () => {
  const read = systemSignals();
  const [first, second] = [await read(), await read()];
  for (const { exceeded, conntrackFill, udpReceiveErrors } of [first, second]) {
    expect(Object.values(exceeded).every((value) => value >= 0)).toBe(true);
    expect(conntrackFill === null || conntrackFill <= 1).toBe(true);
    expect(udpReceiveErrors === null || udpReceiveErrors >= 0).toBe(true);
  }
});
