/** The part of dns-packet that the tests use as oracle; it ships no types. */
declare module 'dns-packet' {
  export interface Question {
    readonly name: string;
    readonly type: string;
    readonly class?: string;
  }
  export interface EdnsOption {
    readonly code: number | string;
    readonly type?: string | null;
    readonly data?: Buffer;
  }
  export interface Answer {
    readonly name: string;
    readonly type: string;
    readonly class?: string;
    readonly ttl?: number;
    readonly data?: unknown;
    readonly udpPayloadSize?: number;
    readonly extendedRcode?: number;
    readonly ednsVersion?: number;
    readonly flags?: number;
    readonly flag_do?: boolean;
    readonly options?: readonly EdnsOption[];
  }
  export interface Packet {
    readonly type?: 'query' | 'response';
    readonly id?: number;
    readonly flags?: number;
    readonly questions?: readonly Question[];
    readonly answers?: readonly Answer[];
    readonly authorities?: readonly Answer[];
    readonly additionals?: readonly Answer[];
  }
  export interface DecodedPacket extends Required<Packet> {
    readonly opcode: string;
    readonly rcode: string;
    readonly flag_qr: boolean;
    readonly flag_aa: boolean;
    readonly flag_tc: boolean;
    readonly flag_rd: boolean;
    readonly flag_ra: boolean;
    readonly flag_ad: boolean;
    readonly flag_cd: boolean;
  }
  export function encode(packet: Packet): Buffer;
  export function decode(octets: Uint8Array): DecodedPacket;
}
