/**
 * A signed zone, so that a validating resolver has something to vouch for and something to refuse.
 *
 * Made once with `dnssec-signzone -z -P -s 20200101000000 -e 20491231235959` (ECDSA P-256, one key that
 * was then thrown away). Afterwards the address of "bogus" was changed, so its signature is wrong.
 */
import type { Zone } from './nsd.ts';

export const SIGNED_ORIGIN = 'signed.example';

/** What a validator must trust (RFC 4034 §5). */
export const SIGNED_TRUST_ANCHOR =
  'signed.example. IN DS 1572 13 2 C1EEA52BAA5959EB821EF22E9352C70FDC8532B1A3D94AD7D39138827734402E';

const RECORDS = `
signed.example. 300 IN SOA ns.signed.example. hostmaster.signed.example. 1 3600 600 86400 60
signed.example. 300 IN RRSIG SOA 13 2 300 20491231235959 20200101000000 1572 signed.example. n4AKeErfGCaCHW29Fbyc/dnyyf6mToTVfxqPKMix76qgbIhLPsZkmOO2 DQGU5Iel5U2//RLvCRKzCWw4KfxuCw==
signed.example. 300 IN NS ns.signed.example.
signed.example. 300 IN RRSIG NS 13 2 300 20491231235959 20200101000000 1572 signed.example. eJxkBMkO92Kp4VK0YXiyqQF39b0qMg6ehTCQi9jtieW0zov5wu+Nb2Tb HbIjy4DTcBt+ErWcFWNZOVJO382dFA==
signed.example. 300 IN MX 10 mx.signed.example.
signed.example. 300 IN RRSIG MX 13 2 300 20491231235959 20200101000000 1572 signed.example. 9975IDL5DNfztd0mDgwjB7IBp0yg57Zido13CriMzKR+EvUgAgnqq/LH mRIjIuVf5xRC7YUgW2N9IRXm/BK4kg==
signed.example. 60 IN NSEC bogus.signed.example. NS SOA MX RRSIG NSEC DNSKEY
signed.example. 60 IN RRSIG NSEC 13 2 60 20491231235959 20200101000000 1572 signed.example. ImppHGQyNK50VPy9d9unS0tna6qCWmXeyHsgddESq6eRZFf6uCOJQSOf jhsEXPK2BjomPpnhe4tm5QfSOx5Wzg==
signed.example. 300 IN DNSKEY 257 3 13 FlmJijCf1wYVFCfe/NR0FFGGCPQWLcUn0X463FtdIwhQKDa6aEA0q4UL Ldjrm8uHHRJXyPkpn27boq140CT3lw==
signed.example. 300 IN RRSIG DNSKEY 13 2 300 20491231235959 20200101000000 1572 signed.example. BJpT9SGbnJq0Q855onewJkE49kzBv6lMILlNvQ+//5hRkuZq31+TU3Z/ JDxVb0McwqzzCNfib8fsJmuUHfFufA==
mx.signed.example. 300 IN A 192.0.2.1
mx.signed.example. 300 IN RRSIG A 13 3 300 20491231235959 20200101000000 1572 signed.example. nxTMiS0if3L81Yvi3HWrvrKkBTDB1837/9Qr1y4oWV7EbBKDGvrEuSXs dF3BlEIhDKrc6qfCWwrcYB/moecGzA==
mx.signed.example. 60 IN NSEC ns.signed.example. A RRSIG NSEC
mx.signed.example. 60 IN RRSIG NSEC 13 3 60 20491231235959 20200101000000 1572 signed.example. xRGzernCgPAeeto1MzhkTI9QC6LTVmbGE5Nj9sRqsKYvcNeUcPMhd/Ag l7KyXT8DDTUfAt3/yawtTrAPiRCVXQ==
bogus.signed.example. 300 IN A 192.0.2.66
bogus.signed.example. 300 IN RRSIG A 13 3 300 20491231235959 20200101000000 1572 signed.example. Go0VPYV4sYuJPzjlwx71aW+h4RC3Dh2wdTuJ3dRI/4hlKvYEYeTL5dZC N+VjfDvfHlvBkQmjHPTJa9Pn0E/bHw==
bogus.signed.example. 60 IN NSEC mx.signed.example. A RRSIG NSEC
bogus.signed.example. 60 IN RRSIG NSEC 13 3 60 20491231235959 20200101000000 1572 signed.example. 5VmNCLKX3cLFCRrh4pkqlEYhCqUHAppmM4FHemDLs6hy/t0WNgQ/RYAZ M+OhZvg+EV6Fg+p+BI6hezC02lWoEw==
ns.signed.example. 300 IN A 127.0.0.1
ns.signed.example. 300 IN RRSIG A 13 3 300 20491231235959 20200101000000 1572 signed.example. dNHB/LggfmP5tz+EvHVhLQnTBG4/uvyrfdF8J+m/t0hFVfxiBHTMPOVE Rff+BBrcL/kX6ReMlJHeuIO2cp3NzQ==
ns.signed.example. 60 IN NSEC signed.example. A RRSIG NSEC
ns.signed.example. 60 IN RRSIG NSEC 13 3 60 20491231235959 20200101000000 1572 signed.example. u1psupbEu+KgYQXqi0gIKTG+FZn3035/xq7yMBRanrAnqAkCQjQmsI5F Ex2cuthTyg7F32+vhEAEfpXOitNNEQ==
`;

export const signedZone: Zone = { origin: SIGNED_ORIGIN, records: RECORDS.split('\n'), bare: true };
