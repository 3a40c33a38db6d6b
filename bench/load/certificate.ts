/**
 * Self-signed certificates for fixtures, made without any program besides Node: ECDSA P-256, valid for
 * as long as UTCTime can say. Just enough DER (X.690) and X.509 v3 (RFC 5280 §4.1) for that.
 */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';

export interface Certificate {
  /** PEM. */
  readonly key: string;
  /** PEM; also the authority to trust, as it signs itself. */
  readonly cert: string;
}

const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  sequence: 0x30,
  set: 0x31,
  version: 0xa0,
  extensions: 0xa3,
  dnsName: 0x82,
} as const;

/** Object identifiers, encoded: ecdsa-with-SHA256, commonName, subjectAltName, basicConstraints. */
const OID = {
  ecdsaWithSha256: '2a8648ce3d040302',
  commonName: '550403',
  subjectAltName: '551d11',
  basicConstraints: '551d13',
} as const;

const NOT_BEFORE = '200101000000Z';
const NOT_AFTER = '491231235959Z';

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const length = content.length;
  // Long form from 128 octets on; nothing here reaches 65,536.
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}

const sequence = (...parts: readonly Uint8Array[]): Buffer => der(TAG.sequence, ...parts);
const oid = (hex: string): Buffer => der(TAG.oid, Buffer.from(hex, 'hex'));
const integer = (...octets: readonly number[]): Buffer => der(TAG.integer, Buffer.from(octets));
const text = (tag: number, value: string): Buffer => der(tag, Buffer.from(value));
const bits = (value: Uint8Array): Buffer => der(TAG.bitString, Buffer.from([0]), value);
const extension = (id: string, value: Uint8Array): Buffer =>
  sequence(oid(id), der(TAG.octetString, value));

/** @param names DNS names it is valid for, "*.example.net" included; the first is its common name */
export function selfSigned(names: readonly string[]): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const name = sequence(
    der(TAG.set, sequence(oid(OID.commonName), text(TAG.utf8String, names[0] ?? ''))),
  );
  const serial = randomBytes(8);
  const body = sequence(
    der(TAG.version, integer(2)),
    integer(...serial.with(0, (serial[0]! & 0x7f) | 0x40)), // Positive, and of fixed length.
    algorithm,
    name,
    sequence(text(TAG.utcTime, NOT_BEFORE), text(TAG.utcTime, NOT_AFTER)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(
      TAG.extensions,
      sequence(
        extension(OID.subjectAltName, sequence(...names.map((dns) => text(TAG.dnsName, dns)))),
        extension(OID.basicConstraints, sequence(der(TAG.boolean, Buffer.from([0xff])))),
      ),
    ),
  );
  const signed = sequence(body, algorithm, bits(sign('sha256', body, privateKey)));
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: pem('CERTIFICATE', signed),
  };
}

const pem = (label: string, octets: Buffer): string =>
  [
    `-----BEGIN ${label}-----`,
    ...(octets.toString('base64').match(/.{1,64}/g) ?? []),
    `-----END ${label}-----`,
    '',
  ].join('\n');
