/**
 * Bounds the young generation of the thread that delivers mail, for command lines: 16 MiB each half.
 *
 * V8 doubles it up to 64 MiB. What dies young is then collected so seldom that the contents of mail, which
 * lie outside the heap and count all the same, reach the limit of the old generation first: the whole heap
 * was marked every few hundred messages (docs/decisions/0026).
 */
export const MAIL_HEAP = '--max-semi-space-size=16';
