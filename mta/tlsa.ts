/** One TLSA record that DANE for SMTP can use (RFC 6698, RFC 7672 §3.1); others are dropped where they are read. */
export interface Tlsa {
  /** 2: DANE-TA, a trust anchor of the host's choice. 3: DANE-EE, the host's own certificate. */
  readonly usage: 2 | 3;
  /** 0: the whole certificate. 1: its SubjectPublicKeyInfo. */
  readonly selector: 0 | 1;
  /** 0: as it is. 1: SHA-256. 2: SHA-512. */
  readonly matching: 0 | 1 | 2;
  /** Hexadecimal, lower case. */
  readonly data: string;
}
