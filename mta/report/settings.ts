/** The tables [mta.tlsrpt], [mta.feedback] and [mta.suppression]: schema, defaults, and the sentences of the reference. */
import { z } from 'zod';

/** ASCII alone, so that it fits a field as it stands. */
const ADDRESS = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@([A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{1,63}$/;
const address = z
  .string()
  .refine(
    (text) => text === '' || ADDRESS.test(text),
    'is no address such as "reports@example.com"',
  )
  .default('');

export const tlsrptSchema = z
  .strictObject({
    enabled: z
      .boolean()
      .default(false)
      .describe(
        'Once a day, report on TLS (RFC 8460) to the domains that ask for it with a TXT record at _smtp._tls. Costs a TXT lookup a day for each domain that got mail.',
      ),
    organization: z
      .string()
      .max(200)
      .regex(/^[\x20-\x7e]*$/, 'is not printable ASCII')
      .default('')
      .describe('Who reports. Default: the domain of `from`.'),
    from: address.describe(
      'Address that reports come from; a DKIM key of its domain must sign them (`mta.dkim`), or receivers ignore them. Default: tls-reports@ and `mta.hostname`.',
    ),
    contact: z
      .string()
      .max(200)
      .regex(/^[\x20-\x7e]*$/, 'is not printable ASCII')
      .default('')
      .describe('Whom to ask about a report. Default: `from`.'),
  })
  .prefault({});
