/**
 * SipHash-2-4 (Aumasson and Bernstein, 2012), which makes server cookies that other servers understand
 * (RFC 9018 §4.4). 64-bit words are pairs of 32 bits, low half first: BigInt takes ten times as long.
 */

/** v0 to v3. */
const v = new Int32Array(8);

/**
 * @param key  16 octets
 * @param into gets the 8 octets of the hash at `offset`, little-endian
 */
export function sipHash24(
  key: Uint8Array,
  data: Uint8Array,
  into: Uint8Array,
  offset: number,
): void {
  const words = new DataView(key.buffer, key.byteOffset, 16);
  const [k0, k1, k2, k3] = [0, 4, 8, 12].map((at) => words.getInt32(at, true));
  v.set([k0! ^ 0x70736575, k1! ^ 0x736f6d65, k2! ^ 0x6e646f6d, k3! ^ 0x646f7261], 0);
  v.set([k0! ^ 0x6e657261, k1! ^ 0x6c796765, k2! ^ 0x79746573, k3! ^ 0x74656462], 4);
  const padded = new Uint8Array((data.length & ~7) + 8);
  padded.set(data);
  padded[padded.length - 1] = data.length;
  const blocks = new DataView(padded.buffer);
  for (let at = 0; at < padded.length; at += 8) {
    const low = blocks.getInt32(at, true);
    const high = blocks.getInt32(at + 4, true);
    v[6] = v[6]! ^ low;
    v[7] = v[7]! ^ high;
    round();
    round();
    v[0] = v[0]! ^ low;
    v[1] = v[1]! ^ high;
  }
  v[4] = v[4]! ^ 0xff;
  for (let count = 0; count < 4; count += 1) round();
  const out = new DataView(into.buffer, into.byteOffset + offset, 8);
  out.setInt32(0, v[0]! ^ v[2]! ^ v[4]! ^ v[6]!, true);
  out.setInt32(4, v[1]! ^ v[3]! ^ v[5]! ^ v[7]!, true);
}

function round(): void {
  add(0, 2);
  rotateXor(2, 13, 0);
  swapHalves(0);
  add(4, 6);
  rotateXor(6, 16, 4);
  add(0, 6);
  rotateXor(6, 21, 0);
  add(4, 2);
  rotateXor(2, 17, 4);
  swapHalves(4);
}

/** v[a] += v[b]; indexes are of low halves. */
function add(a: number, b: number): void {
  const low = (v[a]! >>> 0) + (v[b]! >>> 0);
  v[a] = low;
  v[a + 1] = v[a + 1]! + v[b + 1]! + (low > 0xffff_ffff ? 1 : 0);
}

/** v[a] = rotl(v[a], bits) ^ v[b]; 1 <= bits <= 31. */
function rotateXor(a: number, bits: number, b: number): void {
  const low = v[a]!;
  const high = v[a + 1]!;
  v[a] = ((low << bits) | (high >>> (32 - bits))) ^ v[b]!;
  v[a + 1] = ((high << bits) | (low >>> (32 - bits))) ^ v[b + 1]!;
}

/** rotl by 32. */
function swapHalves(a: number): void {
  const low = v[a]!;
  v[a] = v[a + 1]!;
  v[a + 1] = low;
}
