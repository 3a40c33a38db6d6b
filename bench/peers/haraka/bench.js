// Haraka plugin: relays for everyone, and finds MX hosts as Haraka does (one MX question a message),
// but on the port that the bench's sinks listen on instead of 25.
const { promises: dns } = require('node:dns');

exports.register = function () {
  this.register_hook('connect', 'relay');
  this.register_hook('get_mx', 'mx_with_port');
};

exports.relay = (next, connection) => {
  connection.relaying = true;
  next();
};

exports.mx_with_port = async (next, _hmail, domain) => {
  try {
    const found = await dns.resolveMx(domain);
    const port = Number(process.env.BENCH_REMOTE_PORT);
    next(
      OK,
      found.map(({ priority, exchange }) => ({ priority, exchange, port })),
    );
  } catch (error) {
    next(DENYSOFT, error.message);
  }
};
