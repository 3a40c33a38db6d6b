/** What the configuration says of upstreams, as upstream/assemble.ts wants it. */
import { readFileSync } from 'node:fs';
import type { ResolverConfig } from './config.ts';
import { TlsAuthoritiesUnreadable } from './errors.ts';
import type { UpstreamAddress } from './upstream/address.ts';
import type { AssemblySettings } from './upstream/assemble.ts';
import { AUTO_PACKETS_INITIAL } from './upstream/auto-budget.ts';

/**
 * @param upstreams of the main group: those configured, or those of the system
 * @throws TlsAuthoritiesUnreadable
 */
export function upstreamSettings(
  config: ResolverConfig,
  upstreams: readonly UpstreamAddress[],
): AssemblySettings {
  const { budget, selection, spill, spill_budget: spillBudget } = config;
  return {
    main: {
      upstreams,
      budget: budget === 'auto' ? AUTO_PACKETS_INITIAL : budget,
      selection,
      spill,
      spillBudget,
    },
    zones: config.forward.map((forward) => ({
      zone: forward.zone.text,
      zoneName: forward.zone.name,
      upstreams: forward.upstreams,
      budget: forward.budget ?? null,
      selection: forward.selection,
      spill: forward.spill,
      spillBudget: forward.spill_budget,
    })),
    upstreamBudget: config.upstream_budget,
    hedge: config.hedge,
    mixCase: config.mix_case,
    cookies: config.cookies,
    authorities: config.tls_ca === '' ? undefined : readAuthorities(config.tls_ca),
  };
}

function readAuthorities(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new TlsAuthoritiesUnreadable(file, (error as NodeJS.ErrnoException).code ?? 'EIO');
  }
}
