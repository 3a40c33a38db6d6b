/** CPU time of a tree of processes, the ended ones included. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { cpuSeconds, cpuSecondsOf, residentOctets } from '../../../bench/load/proc.ts';
import { requirePeer } from '../../support/peers.ts';

// The shell burns CPU in a child, waits for it, says so, and stays.
const SCRIPT = 'sh -c "i=0; while [ \\$i -lt 100000 ]; do i=\\$((i+1)); done"; echo done; cat';

requirePeer('loopback-network')('processes', () => {
  it('count with children that have ended', async () => {
    const shell = spawn('sh', ['-c', SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(shell.stdout, 'data');
    expect(cpuSeconds([shell.pid!])).toBeGreaterThan(0.02);
    const { user, system } = cpuSecondsOf([shell.pid!]);
    expect(user + system).toBe(cpuSeconds([shell.pid!]));
    expect(residentOctets([shell.pid!])).toBeGreaterThan(0);
    expect(residentOctets([shell.pid!], 'Rss')).toBeGreaterThan(residentOctets([shell.pid!]));
    shell.stdin.end();
    await once(shell, 'exit');
    expect(cpuSeconds([shell.pid!])).toBe(0);
  });
});
