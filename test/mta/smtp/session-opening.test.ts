/** The machine alone: from the greeting until it is ready. */
import { describe, test } from 'vitest';
import type { SessionOptions } from '../../../mta/smtp/phases.ts';
import { CONNECTED, EHLO, MAIL_A, run, SECURED, type Step, start } from './session-support.ts';

describe('opening', () => {
  test.each<{ title: string; options: Partial<SessionOptions>; steps: Step[] }>([
    {
      title: 'STARTTLS, and what was offered before is forgotten',
      options: { tls: 'require' },
      steps: [
        [CONNECTED],
        ['220 hi', EHLO],
        ['250-mx\n250-PIPELINING\n250 STARTTLS', 'STARTTLS'],
        ['220 go', 'secure'],
        [SECURED, EHLO],
        ['250 mx', 'ready'],
        [start('a', 'x@example.org', 'y@example.org'), MAIL_A],
      ],
    },
    {
      title: 'none: no STARTTLS though offered',
      options: { tls: 'none' },
      steps: [[CONNECTED], ['220 hi', EHLO], ['250-mx\n250 STARTTLS', 'ready']],
    },
    {
      title: 'opportunistic, not offered',
      options: { tls: 'opportunistic' },
      steps: [[CONNECTED], ['220 hi', EHLO], ['250 mx', 'ready']],
    },
    {
      title: 'opportunistic, refused: goes on in clear (RFC 3207 §4)',
      options: { tls: 'opportunistic' },
      steps: [
        [CONNECTED],
        ['220 hi', EHLO],
        ['250-mx\n250 STARTTLS', 'STARTTLS'],
        ['454 no', 'ready'],
      ],
    },
    {
      title: 'require, not offered',
      options: { tls: 'require' },
      steps: [[CONNECTED], ['220 hi', EHLO], ['250 mx', 'close tls']],
    },
    {
      title: 'verify, refused',
      options: { tls: 'verify' },
      steps: [
        [CONNECTED],
        ['220 hi', EHLO],
        ['250-mx\n250 STARTTLS', 'STARTTLS'],
        ['454 no', 'close tls'],
      ],
    },
    {
      title: 'HELO when EHLO is refused for good',
      options: {},
      steps: [
        [CONNECTED],
        ['220 hi', EHLO],
        ['502 what', 'HELO client.example'],
        ['250-mx\n250 PIPELINING', 'ready'],
        [start('a'), MAIL_A],
      ],
    },
    {
      title: 'HELO refused too',
      options: {},
      steps: [
        [CONNECTED],
        ['220 hi', EHLO],
        ['502 what', 'HELO client.example'],
        ['550 no', 'close refused ehlo'],
      ],
    },
    {
      title: 'EHLO refused for now',
      options: {},
      steps: [[CONNECTED], ['220 hi', EHLO], ['421 busy', 'close refused ehlo']],
    },
    {
      title: 'greeting refused',
      options: {},
      steps: [[CONNECTED], ['554 no', 'close refused greeting']],
    },
    {
      title: 'greeting with another positive code',
      options: {},
      steps: [[CONNECTED], ['250 hi', 'stepDown', 'close protocol greeting']],
    },
    {
      title: 'a reply to EHLO before EHLO was sent',
      options: {},
      steps: [[CONNECTED], ['220 hi\n250 mx', 'stepDown', 'close protocol null']],
    },
  ])('$title', ({ options, steps }) => {
    run(options, steps);
  });
});
