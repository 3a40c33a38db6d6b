/**
 * Reverse-paths of our own that name the recipient they were used for, so that what comes back there is
 * known for certain, and what somebody made up is not.
 *
 *   bounce+ID-INDEX-TENANT RECIPIENT SEAL@domain     all in lower-case base 32
 *
 * Invariants
 * - The seal is 80 bits of HMAC-SHA-256 over all that stands before it, under the first secret; any of the
 *   secrets opens it, so that they can be changed.
 * - The recipient is there as 40 bits of a keyed digest: an address can be tested against it, not read.
 * - The local part has at most 57 octets, of the 64 that it may have (RFC 5321 §4.5.3.1.1).
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import {
  formatMessageId,
  type MessageId,
  parseMessageId,
  type RecipientKey,
} from '../../envelope.ts';

export const VERP_PREFIX = 'bounce+';
const BASE32 = '0123456789abcdefghjkmnpqrstvwxyz';
const TENANT_CHARACTERS = 5;
const RECIPIENT_CHARACTERS = 8;
const SEAL_CHARACTERS = 16;
/** Of mail that is nobody's in particular. */
export const NO_TENANT = '00000';

export interface VerpToken extends RecipientKey {
  /** {@link tenantTag} */
  readonly tenant: string;
}

export class Verp {
  readonly #domain: string;
  readonly #secrets: readonly string[];
  /** The last one asked for: mail of a tenant comes in rows. */
  #tenant = { name: '', tag: NO_TENANT };

  /** @param secrets one or more, the first for new ones */
  constructor(domain: string, secrets: readonly string[]) {
    this.#domain = domain;
    this.#secrets = secrets;
  }

  /** @param address of the recipient */
  reversePath({ message, index }: RecipientKey, address: string, tenant: string): string {
    const [secret] = this.#secrets;
    const id = `${formatMessageId(message)}-${index}`;
    if (this.#tenant.name !== tenant) this.#tenant = { name: tenant, tag: tenantTag(tenant) };
    const inner = `${id}-${this.#tenant.tag}${recipientTag(secret!, id, address)}`;
    return `${VERP_PREFIX}${inner}${sealOf(secret!, inner)}@${this.#domain}`;
  }

  /**
   * @param localPart of an address of our domain
   * @returns null when it is no token, or not one of ours
   */
  open(localPart: string): OpenedToken | null {
    const text = localPart.toLowerCase();
    const [, id, index, rest] = TOKEN.exec(text) ?? [];
    const message: MessageId | null = id === undefined ? null : parseMessageId(id);
    if (message === null) return null;
    const inner = text.slice(VERP_PREFIX.length, -SEAL_CHARACTERS);
    const seal = text.slice(-SEAL_CHARACTERS);
    const secret = this.#secrets.find((each) => equal(sealOf(each, inner), seal));
    if (secret === undefined) return null;
    const tag = rest!.slice(TENANT_CHARACTERS, TENANT_CHARACTERS + RECIPIENT_CHARACTERS);
    const token = { message, index: Number(index), tenant: rest!.slice(0, TENANT_CHARACTERS) };
    return {
      token,
      isFor: (address) => equal(recipientTag(secret, `${id}-${index}`, address), tag),
    };
  }
}

export interface OpenedToken {
  readonly token: VerpToken;
  /** Whether the mail was for this recipient, but for the case of letters. */
  isFor(address: string): boolean;
}

const TOKEN = new RegExp(
  `^bounce\\+([${BASE32}]{11})-(\\d{1,6})-([${BASE32}]{${TENANT_CHARACTERS + RECIPIENT_CHARACTERS}})[${BASE32}]{${SEAL_CHARACTERS}}$`,
);

/** Stands for a tenant's name: 25 bits of it, never NO_TENANT but for ''. */
export function tenantTag(tenant: string): string {
  if (tenant === '') return NO_TENANT;
  const tag = digest('tenant', tenant, TENANT_CHARACTERS);
  return tag === NO_TENANT ? '00001' : tag;
}

const recipientTag = (secret: string, id: string, address: string): string =>
  digest(secret, `recipient ${id} ${address.toLowerCase()}`, RECIPIENT_CHARACTERS);

const sealOf = (secret: string, inner: string): string =>
  digest(secret, `seal ${inner}`, SEAL_CHARACTERS);

function digest(key: string, text: string, characters: number): string {
  const octets = createHmac('sha256', key).update(text).digest();
  let base32 = '';
  for (let at = 0; at < characters; at += 1) base32 += BASE32[octets[at]! % 32]!;
  return base32;
}

const equal = (one: string, other: string): boolean =>
  one.length === other.length && timingSafeEqual(Buffer.from(one), Buffer.from(other));
