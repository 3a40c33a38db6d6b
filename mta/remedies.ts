/** What would change a wait, in one sentence: the last part of the answer to "why". */
import type { Wait } from './running.ts';

const RETRY_NOW = 'or try it now: postilion queue retry ID';

/** What a recipient waits on → what ends that. */
const OF_WAIT: Readonly<Record<string, string>> = {
  delivering: 'the reply of the host it is being handed to',
  ready: 'its turn on a connection',
  connection: 'a connection to one of its hosts, or the next host when this one does not answer',
  retry: `time: the next attempt is set; ${RETRY_NOW}`,
  schedule: 'time: its sender asked for that instant; or try it now: postilion queue retry ID',
  rate: 'time: the limit lets the next message go then; raise it in the shaping of the site',
  rule: 'time: the rest ends then; or end it now: postilion queue retry --end-rests ID',
  site: `a host of the site that takes mail again: one message tries it then; ${RETRY_NOW}`,
  dns:
    'an answer from DNS: the domain is asked for again then; mend the resolver or the zone; ' +
    RETRY_NOW,
  route: 'an answer from DNS, within seconds',
  memory: 'mail of other sites that leaves memory',
  spool: 'a spool that can record outcomes again; see status',
  stopping: 'the next start of the mta',
  operator: 'an operator: release it, or resume what was suspended',
};

/** Where the reason of the last attempt says more than the wait. */
const OF_REASON: Readonly<Record<string, string>> = {
  greylisted: `time: the host wants to see it again later, from the same address; ${RETRY_NOW}`,
  throttled: 'time, and fewer messages or connections to that host: see the shaping of the site',
  'too-many-recipients': 'the next transaction, with fewer recipients',
  tls: 'a host whose TLS works, or mta.delivery.tls that asks for less',
  connect: `a host that can be reached; ${RETRY_NOW}`,
};

/** @param reasonCode of the last attempt, see WaitReason.code */
export const remedyOf = ({ on }: Wait, reasonCode: string): string =>
  (on === 'retry' ? OF_REASON[reasonCode] : undefined) ?? OF_WAIT[on] ?? 'an event of its own';
