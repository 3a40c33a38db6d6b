/** What clients are told of our own decisions (RFC 8914): each names the setting that decides. */
import { EXTENDED_ERROR } from './wire/constants.ts';
import type { ExtendedError } from './wire/write.ts';

const { OTHER, PROHIBITED, NOT_AUTHORITATIVE, NO_REACHABLE_AUTHORITY } = EXTENDED_ERROR;

export const NOT_ALLOWED: ExtendedError = {
  code: PROHIBITED,
  text: 'this client is not in resolver.allow',
};
export const NOT_RECURSIVE: ExtendedError = {
  code: NOT_AUTHORITATIVE,
  text: 'not cached, and the query does not desire recursion',
};
export const OVER_LIMIT: ExtendedError = {
  code: PROHIBITED,
  text: 'too many queries of this client (resolver.rate_limit)',
};
export const OVERDUE: ExtendedError = {
  code: NO_REACHABLE_AUTHORITY,
  text: 'no answer yet, and this client waits no longer (resolver.clients)',
};
const TOO_MANY: ExtendedError = {
  code: OTHER,
  text: 'too many questions are under way (resolver.in_flight)',
};
const TOO_MANY_WAIT: ExtendedError = {
  code: OTHER,
  text: 'too many questions wait for the packet budget (resolver.budget, resolver.in_flight)',
};
const TOO_MANY_LISTS: ExtendedError = {
  code: OTHER,
  text: 'too many questions to block lists are under way (resolver.dnsbl.in_flight)',
};

/** @param waitsForBudget questions wait for packets, so that is what holds the others up */
export function crowdedOut(isDnsbl: boolean, waitsForBudget: boolean): ExtendedError {
  if (isDnsbl) return TOO_MANY_LISTS;
  return waitsForBudget ? TOO_MANY_WAIT : TOO_MANY;
}

export const unconfirmed = (text: string): ExtendedError => ({
  code: OTHER,
  text: `not confirmed: ${text}`,
});
