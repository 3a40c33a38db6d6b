/**
 * What a machine sustains, from what one message costs and what the machine has: plain arithmetic.
 *
 * Every resource is turned into messages a second that it would carry alone; the least of them ends
 * first. Costs are taken to grow with the number of messages, which errs on the safe side: batches grow
 * with load.
 */

/** What the run of the mix has shown, for one message. */
export interface MessageCost {
  /** All threads of the program. */
  readonly cpuSeconds: number;
  /** The one that spends most: it cannot be on two processors. */
  readonly busiestThreadSeconds: number;
  /** To disk. */
  readonly writtenOctets: number;
  /** Memory in use beyond that at rest, for each message a second. */
  readonly octetsPerRate: number;
  /** Queries sent to the upstream. */
  readonly dnsPackets: number;
}

export interface Machine {
  readonly processors: number;
  /** Share of each that may be used: the rest is for peaks and the kernel. */
  readonly busyShare: number;
  /** Processor speed; 1 is that of the machine measured on. */
  readonly speed: number;
  /** Synced writes, one behind the other. */
  readonly fsyncsPerSecond: number;
  /** Messages in one commit: no more than there are sessions that inject. */
  readonly messagesPerFsync: number;
  readonly writtenOctetsPerSecond: number;
  readonly memoryOctets: number;
  /** Taken at rest. */
  readonly residentOctets: number;
  /** A network interface may send no more to the VPC's resolver. */
  readonly dnsPacketsPerSecond: number;
  /** null: as many as are needed. */
  readonly sourceIps: number | null;
  readonly perIpPerHour: number;
}

export const RESOURCES = [
  'CPU',
  'one thread',
  'disk fsync/s',
  'disk octets/s',
  'memory',
  'DNS packets/s',
  'source IPs',
] as const;
export type Resource = (typeof RESOURCES)[number];

const HOUR_SECONDS = 3_600;

export interface Sustained {
  /** Messages a second. */
  readonly perSecond: number;
  readonly first: Resource;
  /** What each would carry alone; Infinity where it does not matter. */
  readonly byResource: Readonly<Record<Resource, number>>;
}

export function sustained(cost: MessageCost, machine: Machine): Sustained {
  const { busyShare, speed, processors, sourceIps, perIpPerHour } = machine;
  const byResource = {
    CPU: ratio(processors * busyShare * speed, cost.cpuSeconds),
    'one thread': ratio(busyShare * speed, cost.busiestThreadSeconds),
    'disk fsync/s': machine.fsyncsPerSecond * machine.messagesPerFsync,
    'disk octets/s': ratio(machine.writtenOctetsPerSecond, cost.writtenOctets),
    memory: ratio(Math.max(0, machine.memoryOctets - machine.residentOctets), cost.octetsPerRate),
    'DNS packets/s': ratio(machine.dnsPacketsPerSecond, cost.dnsPackets),
    'source IPs':
      sourceIps === null ? Number.POSITIVE_INFINITY : (sourceIps * perIpPerHour) / HOUR_SECONDS,
  };
  const first = RESOURCES.reduce((least, one) =>
    byResource[one] < byResource[least] ? one : least,
  );
  return { perSecond: byResource[first], first, byResource };
}

/** What costs nothing is carried without end. */
const ratio = (available: number, each: number): number =>
  each <= 0 ? Number.POSITIVE_INFINITY : available / each;

export const sourceIpsNeeded = (perHour: number, perIpPerHour: number): number =>
  Math.ceil(perHour / perIpPerHour);

export const dnsPacketsPerSecond = (perHour: number, cost: MessageCost): number =>
  (perHour / HOUR_SECONDS) * cost.dnsPackets;

export interface InstanceType {
  readonly name: string;
  readonly processors: number;
  readonly memoryGiB: number;
  readonly pricePerHour: number;
  /** Of a processor, as {@link Machine.speed}. */
  readonly speed: number;
}

export interface Offer {
  readonly name: string;
  /** Messages an hour of one. */
  readonly perHour: number;
  readonly first: Resource;
  /** So many for the target. */
  readonly instances: number;
  /** Price of a million messages at the target, which may leave the last one half idle. */
  readonly pricePerMillion: number;
}

/** @param measured the machine of the run: what an instance type does not tell is taken from it */
export function offerOf(
  instance: InstanceType,
  cost: MessageCost,
  measured: Machine,
  targetPerHour: number,
): Offer {
  const { processors, speed, memoryGiB, pricePerHour, name } = instance;
  const machine = { ...measured, processors, speed, memoryOctets: memoryGiB * 2 ** 30 };
  const { perSecond, first } = sustained(cost, machine);
  const perHour = perSecond * HOUR_SECONDS;
  const instances = Math.max(1, Math.ceil(targetPerHour / perHour));
  const pricePerMillion = (instances * pricePerHour * 1e6) / targetPerHour;
  return { name, perHour, first, instances, pricePerMillion };
}
