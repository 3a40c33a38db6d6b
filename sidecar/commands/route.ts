/** `route`: by which hosts a domain's mail goes, and what DNS has to do with it. */
import type { Command } from 'commander';
import type { RouteSurvey, SurveyedHost } from '../../mta/running.ts';
import { EXIT } from '../exit.ts';
import { type AskFlags, ask } from './ask.ts';
import { columns, durationText, printable, printJson } from './print.ts';
import { withMta } from './queue.ts';

export function addRouteCommand(root: Command): void {
  withMta(root.command('route <DOMAIN>'))
    .description('by which hosts mail for a domain goes (exit code 1: by none, now)')
    .addHelpText('after', '\nExample:\n  postilion route gmail.com')
    .action(route);
}

async function route(domain: string, flags: AskFlags): Promise<void> {
  const path = `/v1/route/${encodeURIComponent(domain)}`;
  const answer = await ask<RouteSurvey>({ program: 'mta', path }, flags);
  if (flags.json === true) printJson(answer);
  else process.stdout.write(routeText(answer));
  if (answer.verdict !== 'route') process.exitCode = EXIT.failed;
}

export function routeText(survey: RouteSurvey): string {
  const { domain, verdict, enhanced, text, site, limits, ranks, authenticated, freshForMs } =
    survey;
  const status = enhanced === null ? '' : ` (${enhanced})`;
  const rows: string[][] = [[printable(domain), `${verdict}: ${printable(text)}${status}`]];
  for (const [rank, hosts] of ranks.entries()) {
    for (const host of hosts) rows.push([`  rank ${rank + 1}`, hostText(host)]);
  }
  if (site !== null) {
    const vouched = authenticated ? 'DNSSEC vouches for the MX' : 'DNSSEC does not vouch for it';
    rows.push(
      ['  site', `${printable(site.alias)}, port ${site.port}`],
      ['  id', printable(site.id)],
      ['  TLS', site.dane ? `${site.tls}, DANE where hosts have TLSA records` : site.tls],
      ['  DNS', vouched],
    );
  }
  for (const { name, value, source } of limits) {
    rows.push(['  limit', `${name} ${value}  (${printable(source)})`]);
  }
  if (verdict !== 'trouble') rows.push(['  known for', durationText(freshForMs / 1000)]);
  return columns(rows);
}

const hostText = ({ host, addresses, trouble }: SurveyedHost): string =>
  `${printable(host)}  ${trouble === null ? addresses.join(', ') : printable(trouble)}`;
