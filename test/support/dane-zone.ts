/**
 * A signed zone with TLSA records for whatever port a test takes (wildcards), and the certificate that
 * one of them names. Made once with `dnssec-signzone -z -P` (ECDSA P-256, valid 2020 to 2049, one key that
 * was then thrown away) and openssl. Afterwards the TLSA of "mx-bogus" was changed, so its signature is wrong.
 *
 * | Domain                | MX host     | Address     | TLSA                  |
 * |-----------------------|-------------|-------------|-----------------------|
 * | dane.example          | mx          | 127.88.1.25 | 3 1 1 of DANE_CERTIFICATE |
 * | wrong.dane.example    | mx-wrong    | 127.88.1.26 | 3 1 1 of nothing      |
 * | unusable.dane.example | mx-unusable | 127.88.1.27 | 1 1 1, not for SMTP   |
 * | plain.dane.example    | mx-plain    | 127.88.1.28 | none                  |
 * | bogus.dane.example    | mx-bogus    | 127.88.1.29 | forged                |
 */
import type { Certificate } from '../../bench/load/certificate.ts';
import type { Zone } from './nsd.ts';

export const DANE_ORIGIN = 'dane.example';

export const DANE_ADDRESSES = {
  mx: '127.88.1.25',
  'mx-wrong': '127.88.1.26',
  'mx-unusable': '127.88.1.27',
  'mx-plain': '127.88.1.28',
  'mx-bogus': '127.88.1.29',
} as const;

/** What a validator must trust (RFC 4034 §5). */
export const DANE_TRUST_ANCHOR =
  'dane.example. IN DS 54702 13 2 8929297343F94A04FBF56AD5F611716B43585CB2E7456BD3F8DD5FFFD539B258';

export const DANE_CERTIFICATE: Certificate = {
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgewRPUb5Jxj7tYzi5
ODXRk7M5YCow3uhqBFCc/5I6DRehRANCAAR/n4AW5U8Rr4d+SiPrEuG0U77JY8RH
6aO7DyyBMrIH8X8LpjyKvwlBSZpq/D7NVysQx61K7qL237FvNytQrk4W
-----END PRIVATE KEY-----
`,
  cert: `-----BEGIN CERTIFICATE-----
MIIBpzCCAU2gAwIBAgIUTfJClAW4JY+owIlcVYd0TIWcwdQwCgYIKoZIzj0EAwIw
GjEYMBYGA1UEAwwPbXguZGFuZS5leGFtcGxlMCAXDTI2MTEyNDA4NDk1M1oYDzIw
NTEwNzE2MDg0OTUzWjAaMRgwFgYDVQQDDA9teC5kYW5lLmV4YW1wbGUwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAAR/n4AW5U8Rr4d+SiPrEuG0U77JY8RH6aO7DyyB
MrIH8X8LpjyKvwlBSZpq/D7NVysQx61K7qL237FvNytQrk4Wo28wbTAdBgNVHQ4E
FgQUSjxEuxw3nhqBX4/uCluMMqtcriowHwYDVR0jBBgwFoAUSjxEuxw3nhqBX4/u
CluMMqtcriowDwYDVR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgg9teC5kYW5lLmV4
YW1wbGUwCgYIKoZIzj0EAwIDSAAwRQIgN/LVOlmg1keboPKryN0q9Wb3DKkahEkL
JtdwoQ2Ken0CIQDW2KZRIr5jhWrgpE311bVtvwsQzEzQwH4dB9RPmxNz3A==
-----END CERTIFICATE-----
`,
};

const RECORDS = `
dane.example. 300 IN SOA ns.dane.example. hostmaster.dane.example. 1 3600 600 86400 60
dane.example. 300 IN RRSIG SOA 13 2 300 20491231235959 20200101000000 54702 dane.example. KgJizvUTXhwex8VG55aPRwWc8CoP9KNxKWwCSm44i67Nv2MsYG4ddUXU v5fknYmfzcGLVGw3wB7WPmXO0cFxKg==
dane.example. 300 IN NS ns.dane.example.
dane.example. 300 IN RRSIG NS 13 2 300 20491231235959 20200101000000 54702 dane.example. OvPXPF5JItQI4i2vofeGcQkKmcyFE1pEBKUMiANjh4uwcHabbMwXq9VP WGUSFE8DJqZfFrOBDW/nPJKO7cSAyA==
dane.example. 300 IN MX 10 mx.dane.example.
dane.example. 300 IN RRSIG MX 13 2 300 20491231235959 20200101000000 54702 dane.example. vLu8rKWM25IOnwem8Bl8H3KLu9xcEVn94tHvXCM2s5HUeKnX8dg8w8QA FAkpqhi2InsDdVjf3PKp7CG4KJRzHQ==
dane.example. 60 IN NSEC bogus.dane.example. NS SOA MX RRSIG NSEC DNSKEY
dane.example. 60 IN RRSIG NSEC 13 2 60 20491231235959 20200101000000 54702 dane.example. lPS7+VfxMzmOpTA/nUl7p/6wTLeefnbvBwhzOUEJY+n5siugnmx9UEyh WWuf57eGDWUIItYUpYyXYPLBxPSWaw==
dane.example. 300 IN DNSKEY 257 3 13 NECEbDi6G2FiNXsPoop1apium4b66AmIPsXzr0v+Ve5iQXyQzxZtOxCc GESoH4ansF14+wkB6OePGk3P4eZ1uA==
dane.example. 300 IN RRSIG DNSKEY 13 2 300 20491231235959 20200101000000 54702 dane.example. uADhbWd9AJ9J8npaD4GK7Ufz0J0hOUn/E/ZB2PB5CLWufv7V3rcfZsPh x+4P42frsVC3P3mcw8+PZ2UwwSShSA==
bogus.dane.example. 300 IN MX 10 mx-bogus.dane.example.
bogus.dane.example. 300 IN RRSIG MX 13 3 300 20491231235959 20200101000000 54702 dane.example. hHR/3sFnRezNVa+QXf8RBIEtLvUdh4Cg8pUujc0WkF0M+nishd7nqg/Y BGZSCbCn4vzZsorNEyAYXLl5ewP55w==
bogus.dane.example. 60 IN NSEC mx.dane.example. MX RRSIG NSEC
bogus.dane.example. 60 IN RRSIG NSEC 13 3 60 20491231235959 20200101000000 54702 dane.example. WMA59ctWDCwf0TsQMzaHf2Y9C4BDOoNUv+cuLIKfbv+5TK4xU8wmAZ0Z l3J43ptppoT8LJASDu/oI5GqNFHEeg==
*._tcp.mx.dane.example. 60 IN NSEC mx-bogus.dane.example. RRSIG NSEC TLSA
*._tcp.mx.dane.example. 60 IN RRSIG NSEC 13 4 60 20491231235959 20200101000000 54702 dane.example. 3PIZYxQPSOM8XQUoNaXj4lYF8jNHUfSDuk91DFpnKW6/DbCdeI2wWIuk V/8s//82kPEsn9Ys4WsdCxgkj7R77Q==
*._tcp.mx.dane.example. 300 IN TLSA 3 1 1 3948BA09144E85E3E90C47D61E55F19204A811913BC71769063EDB9C C7FCF923
*._tcp.mx.dane.example. 300 IN RRSIG TLSA 13 4 300 20491231235959 20200101000000 54702 dane.example. M8C4xPGYYd+j8DoY7zb7oNDtlJhHGchkmsXm+8JCWlNHOxMiE7pw4e1N hpuIV8pWmZ95CpgZ9ySz9rCM7dFVtw==
mx.dane.example. 300 IN A 127.88.1.25
mx.dane.example. 300 IN RRSIG A 13 3 300 20491231235959 20200101000000 54702 dane.example. hQYoMMF+/eP/Iu2LtR6OP+tqInxVrqcdXkQ35HN8SEFHu15NcHQlShc2 +vXFFACGpCAK2GW8LMKnDkdr/CQaaQ==
mx.dane.example. 60 IN NSEC *._tcp.mx.dane.example. A RRSIG NSEC
mx.dane.example. 60 IN RRSIG NSEC 13 3 60 20491231235959 20200101000000 54702 dane.example. zWOhMxciR7bN2gV3vRkt25TjzyQnPTG7muCjGnWNJASPHa+L8P6Vb+Jj hJ2rXrTmamMeY9GPojhhMKGJdJCAAw==
mx-bogus.dane.example. 300 IN A 127.88.1.29
mx-bogus.dane.example. 300 IN RRSIG A 13 3 300 20491231235959 20200101000000 54702 dane.example. FYGvALIE1R5PXRnPG+3oN7IH425fJtjE12bg2INUDh9JwChqWyo5tIVc S2+QmWGoiLtSjInId8DH52jr3L30Mw==
mx-bogus.dane.example. 60 IN NSEC *._tcp.mx-bogus.dane.example. A RRSIG NSEC
mx-bogus.dane.example. 60 IN RRSIG NSEC 13 3 60 20491231235959 20200101000000 54702 dane.example. ta/CTX7/w/5mE5sBygbv2m8L1FEgul6UVS2xBh1/loJnY0JeLzsMkfuc TUEfU7HErLOwIkZTuMUY+7iZfc6XmQ==
*._tcp.mx-unusable.dane.example. 60 IN NSEC mx-wrong.dane.example. RRSIG NSEC TLSA
*._tcp.mx-unusable.dane.example. 60 IN RRSIG NSEC 13 4 60 20491231235959 20200101000000 54702 dane.example. U4+Ohf/f2krE5//ANRbHCYG69O0lgu3Q1iIzolXobHoSY2F4ppsgY1kB EOB38DCANehQFeCQMvgn9SQU3A1wPA==
*._tcp.mx-unusable.dane.example. 300 IN TLSA 1 1 1 CDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD CDCDCDCD
*._tcp.mx-unusable.dane.example. 300 IN RRSIG TLSA 13 4 300 20491231235959 20200101000000 54702 dane.example. eqrMLkv8gU11tpLQHLgO1Ezew5tfaO9b5GFEDHEYKQuq0akOayRrVa6I t5nBOnN4+H0b3Ecgt7D6AGDszqYH+A==
mx-plain.dane.example. 300 IN A 127.88.1.28
mx-plain.dane.example. 300 IN RRSIG A 13 3 300 20491231235959 20200101000000 54702 dane.example. j8I1BPinLJEY89Qe3Z1ppbboulT5ehY30XyFDpQ55H79ZWjdoNe3tjCh uSqSMBZeR8xhnH/tzTzfa6tbAoCtKQ==
mx-plain.dane.example. 60 IN NSEC mx-unusable.dane.example. A RRSIG NSEC
mx-plain.dane.example. 60 IN RRSIG NSEC 13 3 60 20491231235959 20200101000000 54702 dane.example. IaszbWHZxSCxyKMhC5GEKuR8+yur+A1zFTEw5wGWK9zLbiOyXVaePmMM sud8lrqnuXLbVC/zdeIl5E0IYQ6Nhg==
mx-unusable.dane.example. 300 IN A 127.88.1.27
mx-unusable.dane.example. 300 IN RRSIG A 13 3 300 20491231235959 20200101000000 54702 dane.example. WoU7B85LY8WK+Sm4eJOJ45rJ5ZIkw/Wvfp81MFzf3vtYGeLDvmkLomHA yWFFWt9AeXFYkow/h+YL24hkefDgHQ==
mx-unusable.dane.example. 60 IN NSEC *._tcp.mx-unusable.dane.example. A RRSIG NSEC
mx-unusable.dane.example. 60 IN RRSIG NSEC 13 3 60 20491231235959 20200101000000 54702 dane.example. bR24Nnvl/cgyVjSq4myOxFhxABLi+Dq6DJIn7wKGM5kUBnVqk9tUwdOK 2aFobg53Q3AZ2Uw8pqatEbLdW+LR2g==
*._tcp.mx-bogus.dane.example. 60 IN NSEC mx-plain.dane.example. RRSIG NSEC TLSA
*._tcp.mx-bogus.dane.example. 60 IN RRSIG NSEC 13 4 60 20491231235959 20200101000000 54702 dane.example. AtAfx6hR4uLo4sSLpf5VRXMhfsOg+0kQmL4n4MsYyV9KlQ/ZmyJyGOlD i3aqO7foA2L3i0H+82VVghD4ioJQnQ==
*._tcp.mx-bogus.dane.example. 300 IN TLSA 3 1 1 EEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEE EEEEEEEE
*._tcp.mx-bogus.dane.example. 300 IN RRSIG TLSA 13 4 300 20491231235959 20200101000000 54702 dane.example. 9oO0lu6gKC8uNWaPsM04UjNgr5xdpFPgnx5f0ocGZk6AomzoP334QOmW NpEiNZrxnDiKui/Y4wuHlcIIzGwgng==
mx-wrong.dane.example. 300 IN A 127.88.1.26
mx-wrong.dane.example. 300 IN RRSIG A 13 3 300 20491231235959 20200101000000 54702 dane.example. rTqIVoBlxM8JrLKqJmI8wpFoTEQVPQ6Eq4Pm7RMEaMDwbDaB3DSFdkqS 98tOlfqs/aVJeY1fOY6ze4hPT2GP0A==
mx-wrong.dane.example. 60 IN NSEC *._tcp.mx-wrong.dane.example. A RRSIG NSEC
mx-wrong.dane.example. 60 IN RRSIG NSEC 13 3 60 20491231235959 20200101000000 54702 dane.example. q7efEiVLLUyZ6nzMvTnKMBLgRaCAl/48icm0PAsAv12IJdDwXVodCHVB GcCYdRPBYwHSLQK4L8S9cQdEISQFjQ==
*._tcp.mx-wrong.dane.example. 60 IN NSEC ns.dane.example. RRSIG NSEC TLSA
*._tcp.mx-wrong.dane.example. 60 IN RRSIG NSEC 13 4 60 20491231235959 20200101000000 54702 dane.example. rHRCMoJwd0t85w4y7MkTpBS6MaC5Z7wvtW4mpybCxFV5zmSBgVraZ9C3 tU3SOAGjg1P4jHxnlc2Oo7bA9orFQw==
*._tcp.mx-wrong.dane.example. 300 IN TLSA 3 1 1 ABABABABABABABABABABABABABABABABABABABABABABABABABABABAB ABABABAB
*._tcp.mx-wrong.dane.example. 300 IN RRSIG TLSA 13 4 300 20491231235959 20200101000000 54702 dane.example. KgWVrk+NTFhR+pbcZrrMjbUFC+uZ2HR0JOppxy7dOY69Y8hzOhRzKfgk K5AyDRXd+fLirDcZiNVs/dC0LZg+8Q==
ns.dane.example. 300 IN A 127.0.0.1
ns.dane.example. 300 IN RRSIG A 13 3 300 20491231235959 20200101000000 54702 dane.example. cFfBEFKdH8EXgTWokxRFR1dPs3zOey5s9Nx0DaHnc2EMPQho+LNR541v DoaHj9ZU3Oiq4dQ7TMeIy8N3az3wwg==
ns.dane.example. 60 IN NSEC plain.dane.example. A RRSIG NSEC
ns.dane.example. 60 IN RRSIG NSEC 13 3 60 20491231235959 20200101000000 54702 dane.example. OdyXaw0bUezJwr0IB7vSzb0PvAss+zM7U4p1XqglgWpWEwBuCvsGFdxA Flx7Avi841aLSbvgOSivUnu5us2IOA==
plain.dane.example. 300 IN MX 10 mx-plain.dane.example.
plain.dane.example. 300 IN RRSIG MX 13 3 300 20491231235959 20200101000000 54702 dane.example. kZH3csPn8ukHDJAUUlrTh/A+jilX3UJ7SGRNMXE6Ut+crIBp2tR/iTWm x+wYgBBEB2/cb5jrahsZbXC3OB7VcA==
plain.dane.example. 60 IN NSEC unusable.dane.example. MX RRSIG NSEC
plain.dane.example. 60 IN RRSIG NSEC 13 3 60 20491231235959 20200101000000 54702 dane.example. U0O2yyob+dipleyV7yoY1weRHFsBroxWRflk9HeuvphIss8tvbj540CA xV1jdp8N8tG/he2KUPcEuWfF+Ch/sw==
unusable.dane.example. 300 IN MX 10 mx-unusable.dane.example.
unusable.dane.example. 300 IN RRSIG MX 13 3 300 20491231235959 20200101000000 54702 dane.example. +VLvhLoA8TWpWKuVpK6o15K3jknghzaA8qOLDy1+B4LlH2Q0kWa8NkbN AV/O9rL7DcWdM+WXgV9wVj7GsN1MuA==
unusable.dane.example. 60 IN NSEC wrong.dane.example. MX RRSIG NSEC
unusable.dane.example. 60 IN RRSIG NSEC 13 3 60 20491231235959 20200101000000 54702 dane.example. Jmcg2JTkkgGWw0YGvkfW2VTxDvp8IMqmGTU5WKNt7SkQtbNrK34+fy4c CGI4TV/RqM8Bcs3We+mbkU9XYXejlA==
wrong.dane.example. 300 IN MX 10 mx-wrong.dane.example.
wrong.dane.example. 300 IN RRSIG MX 13 3 300 20491231235959 20200101000000 54702 dane.example. jlev4hWC4vQLqUWkTzwDrh60aJtkwf0hNVl7S1ROd1XRgIG09IDmpJOa JrEr95SAEaOJrjos/0bFIi7VZmh8aA==
wrong.dane.example. 60 IN NSEC dane.example. MX RRSIG NSEC
wrong.dane.example. 60 IN RRSIG NSEC 13 3 60 20491231235959 20200101000000 54702 dane.example. VF+3JC9fKjgBVgVX6So/3Xak0ZQhFRXzbYRD4v9B8yT7HHyZTUMI+S9F KiWyNORXLsLvGaLh6Pn8VtoTO3yF5A==
`;

export const daneZone: Zone = { origin: DANE_ORIGIN, records: RECORDS.split('\n'), bare: true };
