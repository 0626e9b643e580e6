// GPU memory: buffers that return to a pool and scopes that free what they made. Work runs in the order in which it was enqueued, so a
// buffer may be written again as soon as its last use is enqueued.

/** A buffer lent by a pool. */
export interface Lent {
  readonly buffer: GPUBuffer;
  readonly bytes: number;
}

/** Buffers that are lent and come back. */
export interface BufferPool {
  /** A buffer of at least `bytes`, with old contents. */
  take(bytes: number): Lent;
  /** Takes a buffer back. */
  give(lent: Lent): void;
  /** Counts out a buffer for which there was no memory; it is not lent again. Once is enough. */
  lose(buffer: GPUBuffer): void;
  /** Whether a buffer was counted out. */
  isGone(buffer: GPUBuffer): boolean;
  /** How much memory this pool takes. */
  readonly usage: {
    /** Bytes that buffers occupy now, free ones included. */
    readonly bytes: number;
    /** The most bytes that they ever occupied. */
    readonly peakBytes: number;
  };
  /** Destroys the free buffers. */
  trim(): void;
}

// A free buffer may serve a request this much smaller than itself.
const SLACK = 1.25;
// A free buffer that was not wanted in so many requests, more than a step of a model makes, goes when another is made: shapes have changed.
const UNWANTED = 4096;

/** A pool over `create`, which makes a buffer of a size. `submit` is called before buffers are destroyed: what was recorded may use them. */
export function bufferPool(create: (bytes: number) => GPUBuffer, submit: () => void): BufferPool {
  const free: GPUBuffer[] = [];
  const { usage, add, remove, isGone } = ledger();
  const made = new WeakMap<GPUBuffer, number>();
  const used = new WeakMap<GPUBuffer, number>();
  let requests = 0;
  const destroy = (unwanted: readonly GPUBuffer[]) => {
    if (unwanted.length > 0) submit();
    for (const buffer of unwanted) {
      free.splice(free.indexOf(buffer), 1);
      remove(buffer);
      buffer.destroy();
    }
  };
  return {
    usage,
    take(bytes) {
      const wanted = Math.max(256, Math.ceil(bytes / 256) * 256);
      requests++;
      const best = bestOf(free, wanted, made);
      if (best >= 0) return { buffer: free.splice(best, 1)[0], bytes };
      destroy(free.filter((buffer) => requests - used.get(buffer)! > UNWANTED));
      add(wanted);
      const buffer = create(wanted);
      made.set(buffer, requests);
      return { buffer, bytes };
    },
    give({ buffer }) {
      used.set(buffer, requests);
      if (!isGone(buffer)) free.push(buffer);
    },
    lose(buffer) {
      remove(buffer);
      if (free.includes(buffer)) free.splice(free.indexOf(buffer), 1);
    },
    isGone,
    trim: () => destroy([...free]),
  };
}

/** Bytes of buffers, each counted in and out once. */
function ledger() {
  const usage = { bytes: 0, peakBytes: 0 };
  const gone = new WeakSet<GPUBuffer>();
  return {
    usage,
    isGone: (buffer: GPUBuffer) => gone.has(buffer),
    add(bytes: number) {
      usage.bytes += bytes;
      usage.peakBytes = Math.max(usage.peakBytes, usage.bytes);
    },
    remove(buffer: GPUBuffer) {
      if (!gone.has(buffer)) usage.bytes -= buffer.size;
      gone.add(buffer);
    },
  };
}

/** Where the smallest buffer that serves lies, or -1. Among equals the oldest: work that is repeated gets the same buffers again. */
function bestOf(free: readonly GPUBuffer[], wanted: number, made: WeakMap<GPUBuffer, number>): number {
  const isBetter = (a: GPUBuffer, b: GPUBuffer) => a.size < b.size || (a.size === b.size && made.get(a)! < made.get(b)!);
  let best = -1;
  for (const [index, buffer] of free.entries())
    if (buffer.size >= wanted && buffer.size <= wanted * SLACK && (best < 0 || isBetter(buffer, free[best]))) best = index;
  return best;
}

/** Nested scopes over things of one kind; what is made outside every scope lives until it is released. */
export interface Scopes<T extends object> {
  /** Notes a thing in the innermost scope. */
  add(thing: T): void;
  /** Takes a thing out of all scopes. */
  remove(thing: T): void;
  /** Takes a thing out of all scopes and frees it. */
  free(thing: T): void;
  run<Result>(body: () => Result): Result;
  /** Runs `body` as if no scope were open. */
  outside<Result>(body: () => Result): Result;
}

/** Scopes that pass to `free` what nobody took out. */
export function scopes<T extends object>(free: (thing: T) => void): Scopes<T> {
  const stack: Set<T>[] = [];
  const remove = (thing: T) => {
    for (const scope of stack) scope.delete(thing);
  };
  return {
    add: (thing) => {
      stack.at(-1)?.add(thing);
    },
    remove,
    free(thing) {
      remove(thing);
      free(thing);
    },
    run(body) {
      const own = new Set<T>();
      stack.push(own);
      let escaped: Iterable<object> = [];
      try {
        const result = body();
        escaped = reachable(result);
        return result;
      } finally {
        stack.pop();
        for (const thing of escaped) if (own.delete(thing as T)) stack.at(-1)?.add(thing as T);
        for (const thing of own) free(thing);
      }
    },
    outside(body) {
      const open = stack.splice(0);
      try {
        return body();
      } finally {
        stack.unshift(...open);
      }
    },
  };
}

/** A value, and what its arrays and plain objects hold. */
export function* reachable(value: unknown, seen = new Set<object>()): Generator<object> {
  if (typeof value !== 'object' || value === null || seen.has(value)) return;
  seen.add(value);
  yield value;
  const plain = Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
  if (plain) for (const part of Object.values(value)) yield* reachable(part, seen);
}
