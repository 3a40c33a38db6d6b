/**
 * Mail that TLS policies of its domain must not hold up: reports on those very policies (RFC 8460 §3). It
 * is routed under a key of its own, so that it shares nothing with mail that they guard.
 */

/** No domain begins with it. */
const MARK = '~';

/** @param domain as in Recipient.domain. @returns what stands there instead */
export const unguarded = (domain: string): string => MARK + domain;

export const isUnguarded = (key: string): boolean => key.startsWith(MARK);

/** @returns the domain that DNS is asked about */
export const plainDomain = (key: string): string => (isUnguarded(key) ? key.slice(1) : key);
