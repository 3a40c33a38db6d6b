/** What the budgets cost and hold back, per group of upstreams and lane. */
import type { Registry } from 'prom-client';
import { addCounter, addGauge, type Sample } from './metric-kinds.ts';
import { type AutoBudget, CUT_REASONS } from './upstream/auto-budget.ts';
import { type Budget, LANE_NAMES } from './upstream/budget.ts';
import type { Forwarder } from './upstream/forward.ts';

export function addBudgets(registry: Registry, forwarder: Forwarder): void {
  // Zones may share the budget of the main group; it is counted once.
  const budgets = [...new Set(forwarder.groups.map(({ budget }) => budget))];
  const perBudget = (of: (budget: Budget) => number) => (): readonly Sample[] =>
    budgets.map((budget) => [[budget.name], of(budget)]);
  const perLane = (of: (budget: Budget) => readonly number[]) => (): readonly Sample[] =>
    budgets.flatMap((budget) =>
      LANE_NAMES.map((lane, index): Sample => [[budget.name, lane], of(budget)[index]!]),
    );
  const group = ['group'];
  const lanes = ['group', 'lane'];
  addGauge(
    registry,
    'budget_packets_per_second',
    'Limit on packets to a group of upstreams; +Inf without one.',
    group,
    perBudget(({ bucket }) => bucket.packetsPerSecond),
  );
  addGauge(
    registry,
    'budget_headroom_packets_per_second',
    'What the limit left unused in the last second.',
    group,
    perBudget(({ bucket }) => bucket.headroom),
  );
  addGauge(
    registry,
    'budget_waiting',
    'Questions that wait for the budget.',
    lanes,
    perLane(({ waiting }) => waiting),
  );
  addCounter(
    registry,
    'budget_packets',
    'Packets spent, by lane.',
    lanes,
    perLane(({ spent }) => spent),
  );
  addCounter(
    registry,
    'budget_delayed',
    'Packets that had to wait for the budget.',
    lanes,
    perLane(({ delayed }) => delayed),
  );
  addCounter(
    registry,
    'budget_spilled',
    'Questions sent to the spill group for want of budget.',
    group,
    perBudget(({ spilledTotal }) => spilledTotal),
  );
  addCounter(
    registry,
    'budget_refused',
    'Questions that failed for want of budget.',
    group,
    perBudget(({ refusedTotal }) => refusedTotal),
  );
  addCounter(registry, 'hedges', 'Second requests to slow upstreams.', ['outcome'], () => [
    [['sent'], forwarder.hedgesTotal],
    [['won'], forwarder.hedgesWonTotal],
  ]);
}

export function addAutoBudget(registry: Registry, auto: AutoBudget): void {
  addCounter(registry, 'budget_cuts', 'Times that "auto" lowered the limit.', ['reason'], () =>
    CUT_REASONS.map((reason): Sample => [[reason], auto.cuts[reason]]),
  );
  addGauge(
    registry,
    'budget_ceiling_packets_per_second',
    'Rate at which the network was seen to drop packets; absent when it was not.',
    [],
    () => (auto.ceiling === null ? [] : [[[], auto.ceiling]]),
  );
}
