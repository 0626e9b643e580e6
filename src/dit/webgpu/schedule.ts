// When each buffer of a planned Program is taken and given back, and so how much memory its runs need.
import { bufferPool, type Lent } from '../../backend/webgpu/buffers.ts';
import { bytesOf } from '../../backend/webgpu/device.ts';
import type { ProgramBytes } from '../executor.ts';
import type { Plan } from './plan.ts';
import type { Slot, Step } from './steps.ts';

/** Slots made by steps of one kind that steps of another read. */
export function madeFor({ slots, steps }: Plan, when: 'fixed' | 'constant'): number[] {
  const elsewhere = new Set(steps.filter(({ writes }) => slots[writes].when !== when).flatMap(({ reads }) => reads));
  return steps.map(({ writes }) => writes).filter((slot) => slots[slot].when === when && elsewhere.has(slot));
}

/** Steps from one attention call to the next; `frees[i]` are slots that step i is the last to use, `crosses` those that later parts use. */
export interface Part {
  readonly steps: readonly Step[];
  readonly frees: readonly (readonly number[])[];
  readonly crosses: readonly number[];
}

/** The steps that change as often as `when`, in parts. Only what they make is freed on the way. */
export function schedule({ slots, steps, outputs }: Plan, when: 'fixed' | 'constant' | 'dynamic'): Part[] {
  const own = steps.filter(({ writes }) => slots[writes].when === when);
  const kept = new Set(Object.values(outputs));
  for (const { reads, writes } of steps) if (slots[writes].when !== when) for (const slot of reads) kept.add(slot);
  const last = new Map<number, number>();
  for (const [at, { reads, writes }] of own.entries()) for (const slot of [writes, ...reads]) last.set(slot, at);
  const made = new Map(own.map(({ writes, seam }) => [writes, seam !== undefined]));
  const starts = own.flatMap(({ seam }, at) => (at === 0 || seam ? [at] : []));
  return starts.map((start, index) => {
    const end = starts[index + 1] ?? own.length;
    const freedAt = (at: number): number[] =>
      [...new Set([own[at].writes, ...own[at].reads])].filter(
        (slot) => made.get(slot) === false && !kept.has(slot) && last.get(slot) === at,
      );
    const before = own.slice(0, end).map(({ writes }) => writes);
    return {
      steps: own.slice(start, end),
      frees: own.slice(start, end).map((_, at) => freedAt(start + at)),
      crosses: before.filter((slot) => kept.has(slot) || last.get(slot)! >= end),
    };
  });
}

// Preludes that a run keeps: one for each guidance branch.
const BRANCHES = 2;

/** What a Program will take, found by taking and giving back as its runs do, from a pool that makes nothing. */
export function programBytes(plan: Plan): ProgramBytes {
  const pool = bufferPool(
    (size) => ({ size, destroy: () => undefined }) as GPUBuffer,
    () => undefined,
  );
  const lender: Lender<Lent> = { take: (slot) => pool.take(bytesOf(slot)), give: pool.give };
  const slotsOf = (weights: boolean): Slot[] =>
    plan.sources.flatMap(({ node, slot }) => ((node.operation.op === 'weight') === weights ? [plan.slots[slot]] : []));
  slotsOf(false).forEach(lender.take);
  rehearse(plan, 'fixed', lender);
  for (let branch = 0; branch < BRANCHES; branch++) rehearse(plan, 'constant', lender);
  pool.trim();
  const kept = pool.usage.bytes;
  rehearse(plan, 'dynamic', lender);
  return { weights: slotsOf(true).reduce((sum, slot) => sum + bytesOf(slot), 0), kept, values: pool.usage.bytes - kept };
}

/** Where buffers of slots come from. */
export interface Lender<Buffer> {
  take(slot: Slot): Buffer;
  give(buffer: Buffer): void;
}

/** Takes the buffers of all steps of one kind in order, and gives each back after its last use; what other steps read stays taken. */
export function rehearse<Buffer>(plan: Plan, when: Slot['when'], { take, give }: Lender<Buffer>): void {
  const held = new Map<number, Buffer>();
  const done = (slot: number) => {
    if (held.has(slot)) give(held.get(slot)!);
    held.delete(slot);
  };
  for (const { steps, frees, crosses } of schedule(plan, when)) {
    for (const [at, { writes }] of steps.entries()) {
      held.set(writes, take(plan.slots[writes]));
      frees[at].forEach(done);
    }
    for (const slot of [...held.keys()]) if (!crosses.includes(slot)) done(slot);
  }
}
