import { createPrivateKey, createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import fc from 'fast-check';
import { dkimVerify } from 'mailauth/lib/dkim/verify.js';
import { describe, expect, test } from 'vitest';
import { bodyHash } from '../../../mta/sign/canonical.ts';
import {
  type KeyRing,
  keysOf,
  type SigningKey,
  signature,
  signedOctets,
  signMessage,
} from '../../../mta/sign/dkim.ts';
import { type Field, readHeader } from '../../../mta/sign/header.ts';
import * as vectors from './vectors.ts';

const SECONDS = 1_700_000_000;
const RSA = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ED25519 = generateKeyPairSync('ed25519');

const rsaKey: SigningKey = {
  domain: 'example.com',
  selector: 'r1',
  algorithm: 'rsa-sha256',
  key: RSA.privateKey,
  header: 'relaxed',
  body: 'relaxed',
};
const edKey: SigningKey = {
  ...rsaKey,
  selector: 'e1',
  algorithm: 'ed25519-sha256',
  key: ED25519.privateKey,
};
const ringOf = (...keys: SigningKey[]): KeyRing => new Map([['example.com', keys]]);

const DNS: Readonly<Record<string, string>> = {
  'r1._domainkey.example.com': `v=DKIM1; k=rsa; p=${RSA.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')}`,
  'e1._domainkey.example.com': `v=DKIM1; k=ed25519; p=${ED25519.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32).toString('base64')}`,
};

async function resolver(name: string, type: string): Promise<string[][]> {
  const record = DNS[name];
  if (type === 'TXT' && record !== undefined) return [[record]];
  throw Object.assign(new Error(`no ${type} of ${name}`), { code: 'ENOTFOUND' });
}

/** @returns what mailauth says of every signature, "pass r1", in order of selectors */
async function verdicts(message: Buffer): Promise<string[]> {
  const { results } = await dkimVerify(message, { resolver });
  return results.map(({ status, selector }) => `${status.result} ${selector}`).sort();
}

const MESSAGE = Buffer.from(
  'Received: from client\r\n\tby us\r\nFrom: Ann <ann@example.com>\r\nTo: b@example.net\r\n' +
    'Subject:  two\r\n\tlines \r\nDate: Fri, 11 Jul 2003 21:00:37 -0700\r\nMessage-ID: <1@example.com>\r\n' +
    '\r\nHi.  There\t \r\n\r\n',
);

function signed(message: Buffer, ring: KeyRing, reversePathDomain = ''): Buffer {
  const signing = signMessage({ content: message, reversePathDomain }, ring, SECONDS);
  if (signing.fault !== null) throw new Error(signing.text);
  return Buffer.concat([Buffer.from(signing.fields, 'latin1'), message]);
}

const covered = (message: Buffer, names: readonly string[]): Field[] => {
  const { fields } = readHeader(message, new Set(names))!;
  return names.map((name) => fields.find((field) => field.name === name)!);
};
const spki = (base64: string) =>
  createPublicKey({ key: Buffer.from(base64, 'base64'), format: 'der', type: 'spki' });

describe('the RFCs’ own messages', () => {
  const { DINNER, DINNER_FIELDS, SUBMITTED, SUBMITTED_FIELDS } = vectors;

  test('RFC 8463 appendix A: the body hash, and the Ed25519 signature to the letter', () => {
    const { bodyStart } = readHeader(DINNER, new Set())!;
    expect(bodyHash(DINNER.subarray(bodyStart), 'relaxed')).toBe(vectors.DINNER_BODY_HASH);
    const prefix = Buffer.from('302e020100300506032b657004220420', 'hex');
    const seed = Buffer.from(vectors.ED25519_PRIVATE, 'base64');
    const key = createPrivateKey({
      key: Buffer.concat([prefix, seed]),
      format: 'der',
      type: 'pkcs8',
    });
    const made = signature(DINNER, covered(DINNER, DINNER_FIELDS), vectors.ED25519_FIELD, {
      algorithm: 'ed25519-sha256',
      key,
      header: 'relaxed',
    });
    expect(made).toBe(vectors.ED25519_SIGNATURE);
  });

  test.each([
    {
      name: 'RFC 8463 appendix A, relaxed',
      octets: signedOctets(DINNER, covered(DINNER, DINNER_FIELDS), vectors.RSA_FIELD, 'relaxed'),
      key: vectors.RSA_PUBLIC,
      made: vectors.RSA_SIGNATURE,
    },
    {
      name: 'RFC 6376 appendix A, simple',
      octets: signedOctets(
        SUBMITTED,
        covered(SUBMITTED, SUBMITTED_FIELDS),
        vectors.SUBMITTED_FIELD,
        'simple',
      ),
      key: vectors.SUBMITTED_PUBLIC,
      made: vectors.SUBMITTED_SIGNATURE,
    },
  ])('$name: their RSA signature is one of what we would sign', ({ octets, key, made }) => {
    expect(verify('sha256', octets, spki(key), Buffer.from(made, 'base64'))).toBe(true);
  });

  test('RFC 6376 appendix A: the simple body hash', () => {
    const { bodyStart } = readHeader(SUBMITTED, new Set())!;
    expect(bodyHash(SUBMITTED.subarray(bodyStart), 'simple')).toBe(vectors.DINNER_BODY_HASH);
  });
});

describe('a signed message', () => {
  test('has the field as it is meant to be', () => {
    const text = signed(MESSAGE, ringOf(edKey)).toString('latin1');
    expect(text.slice(0, text.indexOf('\tbh='))).toBe(
      [
        'DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.com;',
        '\ts=e1; t=1700000000;',
        '\th=from:from:reply-to:subject:subject:date:date:to:to:cc:message-id:',
        '\tmessage-id:mime-version:content-type:content-transfer-encoding;',
        '',
      ].join('\r\n'),
    );
    for (const line of text.split('\r\n')) expect(line.length).toBeLessThanOrEqual(78);
  });

  test.each(['relaxed', 'simple'] as const)(
    'mailauth verifies both algorithms, %s',
    async (form) => {
      const ring = ringOf({ ...rsaKey, header: form, body: form }, { ...edKey, header: form });
      expect(await verdicts(signed(MESSAGE, ring))).toEqual(['pass e1', 'pass r1']);
    },
  );

  test.each([
    { change: 'a second From', edit: (text: string) => `From: eve@example.net\r\n${text}` },
    { change: 'a Cc where there was none', edit: (text: string) => `Cc: c@x.example\r\n${text}` },
    { change: 'another Subject', edit: (text: string) => text.replace('lines', 'times') },
    { change: 'a longer body', edit: (text: string) => `${text}more\r\n` },
  ])('$change breaks it', async ({ edit }) => {
    const text = signed(MESSAGE, ringOf(rsaKey, edKey)).toString('latin1');
    const changed = await verdicts(Buffer.from(edit(text), 'latin1'));
    expect(changed.every((verdict) => !verdict.startsWith('pass'))).toBe(true);
    expect(changed).toHaveLength(2);
  });

  test('mailauth agrees on messages of all kinds', async () => {
    const word = fc.constantFrom('a', ' ', '  ', '\t', 'é', '\r\n ', 'Ω', ':', '<b@c>');
    const value = fc.array(word, { maxLength: 10 }).map((words) => `x${words.join('')}`);
    const name = fc.constantFrom('To', 'Subject', 'subject ', 'X-Other', 'Sender', 'Cc', 'List-Id');
    const header = fc.array(fc.tuple(name, value), { maxLength: 8 });
    const line = fc.array(fc.constantFrom('a', ' ', '\t', '.', '=', 'é'), { maxLength: 12 });
    const body = fc.array(line, { maxLength: 6 });
    const form = fc.constantFrom('simple' as const, 'relaxed' as const);
    await fc.assert(
      fc.asyncProperty(header, body, form, form, async (fields, lines, headerForm, bodyForm) => {
        const content = Buffer.from(
          `From: a@example.com\r\n${fields.map(([key, text]) => `${key}: ${text}\r\n`).join('')}\r\n` +
            lines.map((words) => `${words.join('')}\r\n`).join(''),
        );
        const forms = { header: headerForm, body: bodyForm };
        const ring = ringOf({ ...rsaKey, ...forms }, { ...edKey, ...forms });
        expect(await verdicts(signed(content, ring))).toEqual(['pass e1', 'pass r1']);
      }),
      { numRuns: 100 },
    );
  });
});

describe('whose keys', () => {
  const ring: KeyRing = new Map([
    ['example.com', [edKey]],
    ['broken.example', []],
  ]);
  const message = (from: string): Buffer =>
    Buffer.from(`From: ${from}\r\nTo: x@y.example\r\n\r\n.\r\n`);

  test.each([
    { from: 'a@example.com', reverse: '', signs: true },
    { from: 'a@news.Example.COM', reverse: '', signs: true },
    { from: 'a@example.net', reverse: 'bounces.example.com', signs: true },
    { from: 'a@example.net', reverse: 'example.org', signs: false },
    { from: 'a@notexample.com', reverse: '', signs: false },
    { from: '"x@example.com" <a@example.net>', reverse: '', signs: false },
  ])('From $from, reverse-path at $reverse: $signs', ({ from, reverse, signs }) => {
    const { fields } = {
      fields: '',
      ...signMessage({ content: message(from), reversePathDomain: reverse }, ring, 0),
    };
    expect(fields !== '').toBe(signs);
  });

  test('a domain whose keys are all bad is a fault, also for those below it', () => {
    for (const from of ['a@broken.example', 'a@sub.broken.example']) {
      const signing = signMessage(
        { content: message(from), reversePathDomain: 'example.com' },
        ring,
        0,
      );
      expect(signing.fault).toBe('key');
    }
  });

  test('the nearest domain above counts', () => {
    expect(keysOf('a.b.example.com', ring)).toEqual([edKey]);
    expect(keysOf('com', ring)).toBeNull();
    expect(keysOf(null, ring)).toBeNull();
  });

  test('without From the absence of one is signed', async () => {
    const content = Buffer.from('Subject: x\r\n\r\n.\r\n');
    const text = signed(content, ring, 'example.com').toString('latin1');
    expect(text).toContain('\th=from:reply-to:subject:subject:');
  });
});
