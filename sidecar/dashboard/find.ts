/** What somebody may mean by what they typed: a message id, a recipient, or a domain. */
import { parseId } from '../../mta/envelope.ts';
import type { RouteSurvey, WaitingRecipient } from '../../mta/running.ts';
import type { Explanation } from '../../resolver/running.ts';
import type { QueuePage } from '../admin/mta.ts';
import type { ProgramName } from '../protocol.ts';
import { NoAnswer, type Program } from './program.ts';

/** An address has at most 254 octets (RFC 5321 §4.5.3.1.3). */
export const SOUGHT_LENGTH_MAX = 254;
const SHOWN_MAX = 50;
/** Of a domain's queue, looked through for a recipient. */
const PAGES_MAX = 5;
const PAGE = 1_000;

/** null where the program that knows does not answer, or has nothing. */
export interface Found {
  readonly kind: 'message' | 'recipient' | 'domain';
  readonly sought: string;
  readonly recipients: readonly WaitingRecipient[] | null;
  /** There are more, or more to look through. */
  readonly more: boolean;
  readonly route: RouteSurvey | null;
  readonly explanation: Explanation | null;
}

type Programs = Readonly<Record<ProgramName, Program>>;

export async function find(sought: string, programs: Programs, ip: string): Promise<Found> {
  const nothing = { sought, recipients: null, more: false, route: null, explanation: null };
  const get = async <T>(program: ProgramName, path: string): Promise<T | null> => {
    try {
      const { status, body } = await programs[program].ask({ path, ip });
      return status === 200 ? (body as T) : null;
    } catch (error) {
      if (error instanceof NoAnswer) return null;
      throw error;
    }
  };
  const at = sought.lastIndexOf('@');
  if (at !== -1) {
    const found = await recipientsOf(sought, sought.slice(at + 1), get);
    return { ...nothing, kind: 'recipient', ...found };
  }
  if (parseId(sought) !== null) {
    const path = `/v1/messages/${encodeURIComponent(sought)}`;
    const page = await get<Pick<QueuePage, 'recipients'>>('mta', path);
    return { ...nothing, kind: 'message', recipients: page?.recipients ?? null };
  }
  const domain = encodeURIComponent(sought);
  const [route, page, explanation] = await Promise.all([
    get<RouteSurvey>('mta', `/v1/route/${domain}`),
    get<QueuePage>('mta', `/v1/queue?domain=${domain}&limit=${SHOWN_MAX}`),
    get<Explanation>('resolver', `/v1/explain/${domain}`),
  ]);
  const recipients = page?.recipients ?? null;
  return { ...nothing, kind: 'domain', recipients, more: page?.next != null, route, explanation };
}

async function recipientsOf(
  address: string,
  domain: string,
  get: <T>(program: ProgramName, path: string) => Promise<T | null>,
): Promise<Pick<Found, 'recipients' | 'more'>> {
  const wanted = address.toLowerCase();
  const recipients: WaitingRecipient[] = [];
  let after = '';
  for (let pages = 0; pages < PAGES_MAX; pages += 1) {
    const query = `domain=${encodeURIComponent(domain)}&limit=${PAGE}${after}`;
    const page: QueuePage | null = await get<QueuePage>('mta', `/v1/queue?${query}`);
    if (page === null) return { recipients: null, more: false };
    recipients.push(...page.recipients.filter((it) => it.address.toLowerCase() === wanted));
    if (page.next === null) return { recipients, more: false };
    if (recipients.length >= SHOWN_MAX) break;
    after = `&after=${page.next}`;
  }
  return { recipients: recipients.slice(0, SHOWN_MAX), more: true };
}
