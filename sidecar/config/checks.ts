/**
 * What no single setting can tell: ports used twice, files that cannot be read, a mail server that
 * asks a resolver nobody started. Errors stop the start; warnings are shown and logged.
 */
import { accessSync, constants, statSync } from 'node:fs';
import { type Endpoint, formatEndpoint } from '../../runtime/settings.ts';
import type { KeyPath } from './lines.ts';
import type { Problem } from './problems.ts';
import type { Config } from './schema.ts';

/** What is about to run: 'up' is both programs joined. */
export type Role = 'up' | 'resolver' | 'mta';

export interface Findings {
  readonly errors: readonly Problem[];
  readonly warnings: readonly Problem[];
}

export function checkConfig(config: Config, role: Role, file: string | null): Findings {
  const errors: Problem[] = [];
  const warnings: Problem[] = [];
  const runsResolver = role !== 'mta';
  const runsMta = role !== 'resolver';

  errors.push(...portsUsedTwice(listeners(config, role)));
  warnings.push(...readableToken(config, file));
  if (runsResolver) errors.push(...upstreamLoops(config), ...resolverFiles(config));
  if (runsMta) {
    errors.push(...mtaFiles(config));
    warnings.push(
      ...openRelay(config),
      ...readablePasswords(config, file),
      ...bareHostname(config),
      ...unsignedReports(config),
    );
  }
  if (role === 'up') warnings.push(...strangeResolver(config));
  return { errors, warnings };
}

interface Listener {
  readonly path: KeyPath;
  readonly endpoint: Endpoint;
}

function listeners(config: Config, role: Role): readonly Listener[] {
  const { resolver, mta } = config;
  const all: Listener[] = [];
  if (role !== 'mta') {
    for (const key of ['listen', 'listen_tls', 'listen_https'] as const) {
      for (const [index, endpoint] of resolver[key].entries()) {
        all.push({ path: ['resolver', key, index], endpoint });
      }
    }
    all.push({ path: ['resolver', 'admin'], endpoint: resolver.admin });
  }
  if (role !== 'resolver') {
    all.push(...mta.smtp.map((endpoint, index) => ({ path: ['mta', 'smtp', index], endpoint })), {
      path: ['mta', 'http'],
      endpoint: mta.http,
    });
    if (mta.socketmap !== '') all.push({ path: ['mta', 'socketmap'], endpoint: mta.socketmap });
  }
  return all;
}

function portsUsedTwice(all: readonly Listener[]): readonly Problem[] {
  return all.flatMap((later, index) => {
    const earlier = all.slice(0, index).find(({ endpoint }) => collide(endpoint, later.endpoint));
    if (earlier === undefined) return [];
    const first = `${earlier.path.slice(0, 2).join('.')} = ${formatEndpoint(earlier.endpoint)}`;
    return [
      {
        path: later.path,
        message: `${formatEndpoint(later.endpoint)} is taken by ${first} already`,
      },
    ];
  });
}

const WILDCARDS: readonly string[] = ['0.0.0.0', '::'];

/** A wildcard is taken to cover the other family too: a dual-stack socket does. */
function collide(a: Endpoint, b: Endpoint): boolean {
  if (a.port === 0 || a.port !== b.port) return false;
  return a.address === b.address || WILDCARDS.includes(a.address) || WILDCARDS.includes(b.address);
}

/** The address at which a local client reaches a listener. */
export function reachable({ address, port }: Endpoint): Endpoint {
  if (address === '0.0.0.0') return { address: '127.0.0.1', port };
  return { address: address === '::' ? '::1' : address, port };
}

/** Upstreams of every kind, those of zones included, that are listeners of ours. */
function upstreamLoops({ resolver }: Config): readonly Problem[] {
  const lists = [
    { path: ['resolver'], servers: resolver },
    ...resolver.forward.map((servers, index) => ({
      path: ['resolver', 'forward', index],
      servers,
    })),
  ];
  return lists.flatMap(({ path, servers }) =>
    (['upstreams', 'spill'] as const).flatMap((key) =>
      servers[key].flatMap((upstream, index) =>
        listenersFor(upstream, resolver).some((own) => sameEndpoint(reachable(own), upstream))
          ? [
              {
                path: [...path, key, index],
                message: `${upstream.text} is this resolver itself; name the servers it should ask`,
              },
            ]
          : [],
      ),
    ),
  );
}

/** Those of our listeners that speak what the upstream is asked by. */
function listenersFor(
  { transport }: Config['resolver']['upstreams'][number],
  { listen, listen_tls, listen_https }: Config['resolver'],
): readonly Endpoint[] {
  if (transport === 'tls') return listen_tls;
  return transport === 'https' ? listen_https : listen;
}

const sameEndpoint = (a: Endpoint, b: Endpoint): boolean =>
  a.address === b.address && a.port === b.port;

function mtaFiles({ mta }: Config): readonly Problem[] {
  return [
    ...unreadable([
      { path: ['mta', 'tls_certificate'], file: mta.tls_certificate },
      { path: ['mta', 'tls_key'], file: mta.tls_key },
      { path: ['mta', 'delivery', 'tls_ca'], file: mta.delivery.tls_ca },
    ]),
    ...halfPair('mta', mta),
  ];
}

function resolverFiles({ resolver }: Config): readonly Problem[] {
  const { tls_certificate: certificate, tls_key: key, tls_ca: authorities, hosts } = resolver;
  const needing = (['listen_tls', 'listen_https'] as const).filter(
    (listeners) => resolver[listeners].length > 0 && certificate === '' && key === '',
  );
  return [
    ...unreadable([
      { path: ['resolver', 'tls_certificate'], file: certificate },
      { path: ['resolver', 'tls_key'], file: key },
      { path: ['resolver', 'tls_ca'], file: authorities },
      { path: ['resolver', 'hosts'], file: hosts },
    ]),
    ...halfPair('resolver', resolver),
    ...needing.map((listeners) => ({
      path: ['resolver', listeners],
      message: 'needs resolver.tls_certificate and resolver.tls_key',
    })),
  ];
}

/** @param files "" is none */
function unreadable(files: readonly { path: KeyPath; file: string }[]): readonly Problem[] {
  return files.flatMap(({ path, file }) => {
    const trouble = file === '' ? null : readTrouble(file);
    return trouble === null ? [] : [{ path, message: `cannot read "${file}": ${trouble}` }];
  });
}

/** A certificate without its key, or a key without its certificate. */
function halfPair(
  table: 'mta' | 'resolver',
  { tls_certificate: certificate, tls_key: key }: { tls_certificate: string; tls_key: string },
): readonly Problem[] {
  if ((certificate === '') === (key === '')) return [];
  const [given, missing] =
    key === '' ? ['tls_certificate', 'tls_key'] : ['tls_key', 'tls_certificate'];
  return [{ path: [table, given], message: `needs ${table}.${missing} beside it` }];
}

function readTrouble(file: string): string | null {
  try {
    accessSync(file, constants.R_OK);
    return statSync(file).isFile() ? null : 'not a file';
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}

function openRelay({ mta }: Config): readonly Problem[] {
  return mta.allow.flatMap(({ text }, index) =>
    text.endsWith('/0')
      ? [
          {
            path: ['mta', 'allow', index],
            message: `"${text}" lets everyone on the network send mail through this host; name your own networks`,
          },
        ]
      : [],
  );
}

const OTHERS_MAY_READ = 0o004;

function readableToken({ admin }: Config, file: string | null): readonly Problem[] {
  if (file === null || admin.token === '') return [];
  if ((statSync(file).mode & OTHERS_MAY_READ) === 0) return [];
  return [
    {
      path: ['admin', 'token'],
      message: `stands in a file that every user may read; chmod o-r "${file}"`,
    },
  ];
}

function readablePasswords({ mta }: Config, file: string | null): readonly Problem[] {
  if (file === null || Object.keys(mta.users).length === 0) return [];
  if ((statSync(file).mode & OTHERS_MAY_READ) === 0) return [];
  return [
    {
      path: ['mta', 'users'],
      message: `holds passwords in a file that every user may read; chmod o-r "${file}"`,
    },
  ];
}

function bareHostname({ mta }: Config): readonly Problem[] {
  if (mta.hostname.includes('.') || mta.hostname.startsWith('[')) return [];
  return [
    {
      path: ['mta', 'hostname'],
      message: `"${mta.hostname}" has no domain, and some servers refuse such an EHLO; set the name that your address resolves to`,
    },
  ];
}

/** Whether the resolver that the mta asks is the one in the same configuration. */
export const asksOwnResolver = ({ resolver, mta }: Config): boolean =>
  resolver.listen.some((each) => formatEndpoint(reachable(each)) === formatEndpoint(mta.dns));

/** RFC 8460 §3: receivers ignore reports whose sender's domain has not signed them. */
function unsignedReports({ mta }: Config): readonly Problem[] {
  const { tlsrpt, dkim, dkim_folder: folder, hostname } = mta;
  const from = tlsrpt.from === '' ? hostname : tlsrpt.from.slice(tlsrpt.from.indexOf('@') + 1);
  const signs = ({ domain }: { readonly domain: string }): boolean =>
    from === domain || from.endsWith(`.${domain}`);
  if (!tlsrpt.enabled || folder !== '' || dkim.some(signs)) return [];
  return [
    {
      path: ['mta', 'tlsrpt', tlsrpt.from === '' ? 'enabled' : 'from'],
      message: `no key in mta.dkim signs mail from ${from}, and receivers ignore TLS reports without a signature`,
    },
  ];
}

function strangeResolver(config: Config): readonly Problem[] {
  if (asksOwnResolver(config)) return [];
  const { resolver, mta } = config;
  const own = resolver.listen.map((each) => formatEndpoint(reachable(each)));
  return [
    {
      path: ['mta', 'dns'],
      message: `${formatEndpoint(mta.dns)} is not the resolver started here (${own.join(', ')})`,
    },
  ];
}
