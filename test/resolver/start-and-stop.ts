/** Starts a resolver on the system's clock, asks it, stops it, and ends without process.exit(). */
import { resolverSchema } from '../../resolver/config.ts';
import { startResolver } from '../../resolver/main.ts';
import { RCODE, TYPE } from '../../resolver/wire/constants.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLog } from '../../runtime/log.ts';
import { cryptoRandom } from '../../runtime/random.ts';
import { formatEndpoint } from '../../runtime/settings.ts';
import { answers, FakeUpstream, refuses } from '../support/fake-upstream.ts';
import { askUdp, brief, question } from '../support/resolver.ts';

const upstream = await FakeUpstream.start(answers());
const config = resolverSchema.parse({
  listen: ['127.0.0.1:0'],
  upstreams: [formatEndpoint(upstream.endpoint), '127.0.0.1:1'],
});
const resolver = await startResolver(config, {
  clock: systemClock(),
  random: cryptoRandom(),
  log: silentLog,
});
const server = resolver.endpoints[0]!;
console.log(brief(await askUdp(server, question('a.example', TYPE.A))));
upstream.behaviour = refuses(RCODE.SERVFAIL);
console.log(brief(await askUdp(server, question('b.example', TYPE.A))));
await resolver.stop();
await upstream.stop();
console.log('stopped');
