import { afterEach, describe, expect, test, vi } from 'vitest';
import { requirePeer } from './peers.ts';

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

describe('what a test needs and this machine does not give', () => {
  const withoutRoot = (ci: string): void => {
    vi.spyOn(process, 'getuid').mockReturnValue(1000);
    vi.stubEnv('CI', ci);
  };

  test('skips the test and says so', () => {
    withoutRoot('');
    const warn = vi.spyOn(console, 'warn').mockReturnValue();
    expect(requirePeer('root')).not.toBe(describe);
    expect(warn.mock.calls).toEqual([['skipped: to run these tests, run as root']]);
  });

  test('fails with CI=true', () => {
    withoutRoot('true');
    expect(() => requirePeer('root')).toThrow('missing peers: run as root');
  });

  test('is no excuse for what else is missing', () => {
    withoutRoot('true');
    expect(() => requirePeer('root', 'tmpfs')).toThrow(/run as root/);
  });

  test('nothing is missing: an ordinary describe', () => {
    vi.stubEnv('CI', 'true');
    expect(requirePeer('loopback-network')).toBe(describe);
  });
});
