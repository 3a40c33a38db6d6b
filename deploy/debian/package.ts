/**
 * `npm run package`: builds the Debian package from this folder and its node_modules, without network.
 *
 *   npm run package -- [--out FOLDER] [--compress xz|gzip|none] [--tree]
 *
 * --tree writes the files alone, for systems without dpkg: they belong at / of such a system.
 *
 * The package holds what runs and nothing else: production dependencies, of which only what this platform
 * loads. It is of the architecture it is built on, since Node is inside.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { commandTree } from '../../sidecar/command-tree.ts';
import { bashScript } from '../../sidecar/completion/bash.ts';
import { fishScript } from '../../sidecar/completion/fish.ts';
import { wordsOf } from '../../sidecar/completion/words.ts';
import { zshScript } from '../../sidecar/completion/zsh.ts';
import { manualPage } from '../../sidecar/manual.ts';
import { VERSION } from '../../sidecar/version.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const HOME = 'usr/lib/postilion';
const DOC = 'usr/share/doc/postilion';
/** Folders of the source that run. */
const PROGRAM = ['runtime', 'resolver', 'mta', 'sidecar'] as const;
const ARCHITECTURE: Readonly<Partial<Record<NodeJS.Architecture, string>>> = {
  x64: 'amd64',
  arm64: 'arm64',
};
/** Of a dependency, what nothing loads at run time: headers, sources, other platforms, other systems' C library. */
const DEAD_WEIGHT = [
  /^node-linux-\w+\/(?:include|share|lib)\b/,
  /^better-sqlite3\/(?:deps|src)\b/,
  new RegExp(`^better-sqlite3/prebuilds/(?!linux-${process.arch}/?)[^/]+`),
  /^better-sqlite3\/prebuilds\/[^/]*musl/,
  /^@koromix\/[^/]+\/musl_/,
  /^koffi\/(?:vendor|doc)\b/,
  /\/(?:test|tests|__tests__|example|examples|benchmark|benchmarks|\.github)$/,
  /\.(?:map|md|markdown)$/i,
] as const;
const LICENSE_LIKE = /licen[cs]e|copying|notice/i;

interface LockedPackage {
  readonly dev?: boolean;
  readonly devOptional?: boolean;
  readonly optional?: boolean;
}

/** @param tree folder that becomes / of the installed system */
export function writeTree(tree: string): void {
  for (const folder of PROGRAM) copy(folder, join(HOME, folder), tree);
  copyDependencies(tree);
  for (const file of ['package.json', 'LICENSE', 'deploy/bin', 'deploy/debian/waiting.ts'])
    copy(file, join(HOME, file), tree);
  link(`../lib/postilion/deploy/bin/postilion`, 'usr/bin/postilion', tree);

  // Not /lib, which is a link to it where the tree is copied to /.
  copy('deploy/systemd', 'usr/lib/systemd/system', tree);
  copy('deploy/postilion.toml', 'etc/postilion/postilion.toml', tree);
  chmodSync(join(tree, 'etc/postilion/postilion.toml'), 0o640);

  const words = wordsOf(commandTree());
  write('usr/share/bash-completion/completions/postilion', bashScript(words), tree);
  write('usr/share/zsh/vendor-completions/_postilion', zshScript(words), tree);
  write('usr/share/fish/vendor_completions.d/postilion.fish', fishScript(words), tree);
  write('usr/share/man/man1/postilion.1.gz', gzipped(manualPage(commandTree())), tree);
  writeDocs(tree);
}

function writeDocs(tree: string): void {
  for (const folder of ['operations', 'reference']) copy(`docs/${folder}`, join(DOC, folder), tree);
  for (const entry of readdirSync(join(ROOT, 'deploy'))) {
    if (!['bin', 'debian', 'systemd'].includes(entry))
      copy(`deploy/${entry}`, join(DOC, 'examples', entry), tree);
  }
  write(join(DOC, 'changelog.gz'), gzipped(readFileSync(join(ROOT, 'CHANGELOG.md'))), tree);
  const license = readFileSync(join(ROOT, 'LICENSE'), 'utf8');
  const others = `\nNode and the packages in /${HOME}/node_modules have licenses of their own, beside them.\n`;
  write(join(DOC, 'copyright'), license + others, tree);
}

/** As package-lock.json has them: what is neither for development nor for another platform. */
function copyDependencies(tree: string): void {
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, LockedPackage>>;
  };
  for (const [path, { dev, devOptional, optional }] of Object.entries(lock.packages)) {
    if (path === '' || dev === true || devOptional === true) continue;
    if (!existsSync(join(ROOT, path))) {
      if (optional === true) continue;
      throw new Error(`${path} is missing: npm ci`);
    }
    copy(path, join(HOME, path), tree, isLive);
  }
  link(`../node-linux-${process.arch}/bin/node`, join(HOME, 'node_modules/.bin/node'), tree);
}

function isLive(source: string): boolean {
  const path = relative(join(ROOT, 'node_modules'), source);
  if (path.endsWith('node_modules')) return false; // Those within have entries of their own.
  return LICENSE_LIKE.test(path) || !DEAD_WEIGHT.some((pattern) => pattern.test(path));
}

function copy(from: string, to: string, tree: string, filter?: (source: string) => boolean): void {
  mkdirSync(join(tree, to, '..'), { recursive: true });
  cpSync(join(ROOT, from), join(tree, to), {
    recursive: true,
    dereference: true,
    ...(filter === undefined ? {} : { filter }),
  });
}

function link(target: string, at: string, tree: string): void {
  mkdirSync(join(tree, at, '..'), { recursive: true });
  symlinkSync(target, join(tree, at));
}

function write(path: string, content: string | Uint8Array, tree: string): void {
  mkdirSync(join(tree, path, '..'), { recursive: true });
  writeFileSync(join(tree, path), content);
}

const gzipped = (content: string | Uint8Array): Uint8Array => gzipSync(content, { level: 9 });

/** Folders 0755; files 0755 where they are programs, else 0644, whatever the umask of who builds. */
function settleModes(tree: string): void {
  for (const entry of readdirSync(tree, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory()) chmodSync(path, 0o755);
    else if (entry.isFile()) chmodSync(path, (statSync(path).mode & 0o100) === 0 ? 0o644 : 0o755);
  }
  chmodSync(tree, 0o755);
}

const control = (installedKibibytes: number): string =>
  `${[
    'Package: postilion',
    `Version: ${VERSION}`,
    `Architecture: ${ARCHITECTURE[process.arch] ?? process.arch}`,
    'Maintainer: Postilion <postmaster@localhost>',
    `Installed-Size: ${installedKibibytes}`,
    'Depends: adduser, init-system-helpers, libc6 (>= 2.28), libgcc-s1, libstdc++6',
    // budget = "auto" reads the allowances of a cloud's network driver through it.
    'Recommends: ethtool',
    'Suggests: postfix | exim4',
    'Section: mail',
    'Priority: optional',
    'Description: caching DNS resolver and outbound MTA beside a mail server',
    ' The resolver keeps a mail server from flooding its upstream DNS; the mta delivers',
    ' what goes to the same MX hosts over a few connections that stay open. They meet',
    ' over the DNS port; use both, or either. Node is inside.',
  ].join('\n')}\n`;

/** @returns the package's file in `out` */
export function buildPackage(out: string, compress: string): string {
  const tree = join(out, 'tree');
  rmSync(tree, { recursive: true, force: true });
  writeTree(tree);
  settleModes(tree);
  chmodSync(join(tree, 'etc/postilion/postilion.toml'), 0o640);
  const kibibytes = Number(
    execFileSync('du', ['-sk', '--apparent-size', tree], { encoding: 'utf8' }).split('\t')[0],
  );
  mkdirSync(join(tree, 'DEBIAN'));
  write('DEBIAN/control', control(kibibytes), tree);
  write('DEBIAN/conffiles', '/etc/postilion/postilion.toml\n', tree);
  for (const script of ['postinst', 'prerm', 'postrm'])
    copy(`deploy/debian/${script}`, `DEBIAN/${script}`, tree);
  const file = join(out, `postilion_${VERSION}_${ARCHITECTURE[process.arch]}.deb`);
  execFileSync('dpkg-deb', ['--root-owner-group', `-Z${compress}`, '--build', tree, file], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  rmSync(tree, { recursive: true });
  return file;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: 'dist' },
      compress: { type: 'string', default: 'xz' },
      tree: { type: 'boolean', default: false },
    },
  });
  mkdirSync(values.out, { recursive: true });
  if (values.tree) {
    writeTree(values.out);
    settleModes(values.out);
    process.stdout.write(`${values.out}\n`);
  } else process.stdout.write(`${buildPackage(values.out, values.compress)}\n`);
}
