/**
 * Owns AUTH on one connection (RFC 4954): the exchange of PLAIN or LOGIN, its failures, and who came out of it.
 *
 * Invariant: from a step to verify until verify() resolves nothing else is said.
 */
import type { Principal } from './allowances.ts';
import { decodeBase64, parsePlain } from './credentials.ts';
import type { Intake } from './intake.ts';
import { type Refused, refused, type Step, say } from './replies.ts';

export const AUTH_FAILURES_MAX = 3;

const VERIFY: Step = { reply: '', next: 'verify' };

export class Login {
  readonly #intake: Intake;
  /** Who authenticated, or null. */
  principal: Principal | null = null;
  /** AUTH waits for a line: of PLAIN, the user of LOGIN, or its password. */
  #expecting: 'plain' | 'user' | 'password' | null = null;
  #user = '';
  /** To be verified. */
  #claim: { readonly name: string; readonly password: string } | null = null;
  #failures = 0;

  constructor(intake: Intake) {
    this.#intake = intake;
  }

  /** The next line is not a command. */
  get isExpecting(): boolean {
    return this.#expecting !== null;
  }

  /** @param argument of AUTH, which may be said now */
  begin(argument: string): Step | Refused {
    const [mechanism = '', initial, ...rest] = argument.split(' ');
    if (rest.length > 0) return refused('syntax', '501 5.5.4 too many arguments');
    switch (mechanism.toUpperCase()) {
      case 'PLAIN':
        this.#expecting = 'plain';
        return initial === undefined ? say('334 ') : this.onLine(initial);
      case 'LOGIN':
        this.#expecting = 'user';
        return initial === undefined ? say('334 VXNlcm5hbWU6') : this.onLine(initial);
      default:
        return refused('syntax', '504 5.5.4 mechanism not offered; PLAIN and LOGIN are');
    }
  }

  /** @param line without its CRLF; untrusted */
  onLine(line: string): Step | Refused {
    const expected = this.#expecting;
    this.#expecting = null;
    if (line === '*') return refused('auth', '501 5.7.0 authentication cancelled');
    if (expected === 'plain') {
      this.#claim = parsePlain(line);
      return this.#claim === null ? refused('auth', '501 5.5.2 not a PLAIN message') : VERIFY;
    }
    const text = decodeBase64(line);
    if (text === null) return refused('auth', '501 5.5.2 not base64');
    if (expected === 'password') {
      this.#claim = { name: this.#user, password: text };
      return VERIFY;
    }
    this.#user = text;
    this.#expecting = 'password';
    return say('334 UGFzc3dvcmQ6');
  }

  /** After a step to verify. */
  async verify(): Promise<Step | Refused> {
    const { name, password } = this.#claim!;
    this.#claim = null;
    const verdict = await this.#intake.credentials.verify(name, password);
    if (typeof verdict !== 'string') {
      this.principal = verdict;
      return say('235 2.7.0 authenticated');
    }
    if (verdict === 'busy') {
      return refused('busy', '454 4.7.0 too many passwords to look at, try again later');
    }
    this.#intake.refuse('auth');
    this.#failures += 1;
    const reply = '535 5.7.8 user or password wrong';
    if (this.#failures < AUTH_FAILURES_MAX) return say(reply);
    return { reply: `${reply}\r\n421 4.7.0 too many failures`, next: 'close' };
  }
}
