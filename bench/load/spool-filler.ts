/** Fills a spool through its own interface, in this process, as fast as it takes mail: no SMTP, no HTTP. */
import { openSqliteSpool } from '../../mta/spool/sqlite-engine.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLog } from '../../runtime/log.ts';

export interface FillOptions {
  readonly folder: string;
  readonly recipients: number;
  /** Of whom so many of a hundred get a message of their own; the others are in campaigns. */
  readonly singlesPercent: number;
  readonly recipientsPerCampaign: number;
  readonly campaignOctets: number;
  readonly singleOctets: number;
  /** @returns the domain of the next recipient */
  readonly nextDomain: () => string;
  readonly onProgress: (recipients: number) => void;
}

export interface Filled {
  readonly messages: number;
  readonly recipients: number;
  readonly seconds: number;
}

/** Messages under way; the spool commits together what is. */
const AT_ONCE = 256;

/** Content of that size, of lines. */
const contentOf = (octets: number): Buffer =>
  Buffer.alloc(octets, `Subject: news\r\n\r\n${`${'x'.repeat(76)}\r\n`.repeat(200)}`);

export async function fillSpool(options: FillOptions): Promise<Filled> {
  const { folder, recipients, singlesPercent, recipientsPerCampaign, nextDomain } = options;
  const spool = await openSqliteSpool({
    folder,
    reserveBytes: 0,
    clock: systemClock(),
    log: silentLog,
  });
  const singles = Math.floor((recipients * singlesPercent) / 100);
  const campaigns = Math.ceil((recipients - singles) / recipientsPerCampaign);
  const messages = singles + campaigns;
  const [single, campaign] = [contentOf(options.singleOctets), contentOf(options.campaignOctets)];
  const startMs = performance.now();
  let [begun, campaignsBegun, named] = [0, 0, 0];
  const append = async (count: number): Promise<void> => {
    const first = named;
    named += count;
    const isCampaign = count > 1;
    const envelope = {
      reversePath: 'sender@client.example.net',
      recipients: Array.from({ length: count }, (_, index) => {
        const domain = nextDomain();
        return { index, address: `user${first + index}@${domain}`, domain };
      }),
      body: '7bit',
      smtpUtf8: false,
    } as const;
    await spool.append({
      envelope,
      content: isCampaign ? campaign : single,
      receivedAtMs: Date.now(),
      origin: 'bench',
      ...(isCampaign ? { priority: 'bulk', tenant: 'news', campaign: 'spring' } : {}),
    });
    options.onProgress(named);
  };
  const work = async (): Promise<void> => {
    while (begun < messages) {
      begun += 1;
      // Campaigns are spread over the singles, as they are in life.
      const isCampaign = campaignsBegun < Math.ceil((begun * campaigns) / messages);
      if (isCampaign) campaignsBegun += 1;
      const left = recipients - singles - (campaignsBegun - 1) * recipientsPerCampaign;
      await append(isCampaign ? Math.min(recipientsPerCampaign, left) : 1);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  await spool.close();
  return { messages, recipients: named, seconds: (performance.now() - startMs) / 1000 };
}
