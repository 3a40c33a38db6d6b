/** A question as it goes upstream, and how urgent it is. */
import { HEADER_OCTETS, TYPE } from '../wire/constants.ts';
import { type QueryView, writeUint16 } from '../wire/message.ts';
import { writeQuery } from '../wire/write.ts';
import { LANE, type Lane } from './budget.ts';
import type { Upstream } from './upstream.ts';

/** An answer is doubted: it is asked for once more, elsewhere or at least otherwise. */
export interface Confirmation {
  /** Who gave the answer, and is not asked again where there is anybody else. */
  readonly doubted: Upstream;
  /** What is left until the clients' deadline. */
  readonly withinMs: number;
}

/** ID 0 in both forms; each exchange puts its own. */
export class Question {
  /** With OPT: 1232 octets, DO as the client asked. */
  readonly query: Uint8Array;
  /** Octet past QCLASS. */
  readonly questionEnd: number;
  readonly lane: Lane;
  readonly confirmation: Confirmation | null;
  /** Sent for it so far, TCP as estimated. */
  packetsSent = 0;

  constructor(
    query: Uint8Array,
    questionEnd: number,
    lane: Lane,
    confirmation: Confirmation | null = null,
  ) {
    this.query = query;
    this.questionEnd = questionEnd;
    this.lane = lane;
    this.confirmation = confirmation;
  }

  /** The same question, to be asked of others than `confirmation.doubted`. */
  confirming(confirmation: Confirmation): Question {
    return new Question(this.query, this.questionEnd, this.lane, confirmation);
  }

  /** The same without OPT, for servers that choke on it. */
  plainQuery(): Uint8Array {
    const plain = this.query.slice(0, this.questionEnd);
    writeUint16(plain, 10, 0);
    return plain;
  }
}

/**
 * The client's question in its own case, with its DO and CD. AD is always set, which asks for the AD
 * bit without DNSSEC records (RFC 6840 §5.7): the response is shared by clients that want to know and
 * others, and rendering hides the bit from those who did not ask.
 *
 * @param message the client's query; copied
 * @param lane    default: that of the type
 */
export function questionOf(
  message: Uint8Array,
  view: QueryView,
  lane: Lane = laneOf(view.qtype),
): Question {
  const query = writeQuery({
    id: 0,
    name: message.subarray(HEADER_OCTETS, view.nameEnd),
    type: view.qtype,
    class: view.qclass,
    ad: true,
    cd: view.cd,
    dnssecOk: view.dnssecOk,
  });
  return new Question(query, view.questionEnd, lane);
}

export function laneOf(type: number): Lane {
  switch (type) {
    case TYPE.MX:
    case TYPE.A:
    case TYPE.AAAA:
    case TYPE.TLSA:
    case TYPE.CNAME:
      return LANE.lookup;
    case TYPE.TXT:
      return LANE.text;
    default:
      return LANE.reverse;
  }
}
