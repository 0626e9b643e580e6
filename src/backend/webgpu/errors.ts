// What goes wrong on a GPU shows later than where it was asked for: errors are noted, and thrown where somebody waits.

export interface ErrorLog {
  /** Pops the device's error scope; an error in it becomes the failure that `describe` words. */
  watch(describe: (error: GPUError) => string | Promise<string>): void;
  /** @throws when the device is lost. */
  check(): void;
  /**
   * Waits for a promise and what is watched. @throws the first failure that no wait had thrown when this one began, and at once when the device is
   * lost. Waits that are under way together all throw it: none of them has good numbers. A wait `aside`, whose outcome may be looked at late or never,
   * leaves it to the next one too.
   */
  during<T>(promise: Promise<T>, aside?: boolean): Promise<T>;
  /** From here on, the loss of the device is meant. */
  close(): void;
}

export function errorLog(device: GPUDevice): ErrorLog {
  const watched = new Set<Promise<void>>();
  const loss = lossOf(device);
  let untold: Noted = {};
  device.addEventListener('uncapturederror', (event) => {
    event.preventDefault();
    untold.consequence ??= new Error(`the GPU refused a command: ${event.error.message}`);
  });
  return {
    watch(describe) {
      const seen = device
        .popErrorScope()
        .then(async (error) => {
          if (!error) return;
          const failure = new Error(await describe(error));
          untold.failure ??= failure;
        })
        .catch(() => undefined)
        .finally(() => watched.delete(seen));
      watched.add(seen);
    },
    check() {
      const lost = loss.error();
      if (lost) throw lost;
    },
    async during<T>(promise: Promise<T>, aside = false) {
      const noted = untold;
      const outcome = await loss.unlessLost(promise);
      await Promise.all(watched);
      const found = noted.failure ?? loss.error() ?? noted.consequence ?? ('error' in outcome ? outcome.error : undefined);
      if (found && untold === noted && !aside) untold = {};
      if (found) throw found;
      return (outcome as { value: T }).value;
    },
    close: loss.close,
  };
}

/** What was noted since a wait threw. What a scope caught says more than what follows from it. */
interface Noted {
  failure?: Error;
  consequence?: Error;
}

type Outcome<T> = { readonly value: T } | { readonly error: Error };

/** The loss of a device as one error, whichever way it is noticed. */
function lossOf(device: GPUDevice) {
  const waiting = new Set<(outcome: Outcome<never>) => void>();
  let lost: Error | undefined;
  let closed = false;
  device.lost.then(({ reason, message }) => {
    lost = new Error(
      closed ? 'this GPU device was disposed' : `the GPU device was lost (${reason}: ${message.trim()}); open a new one with openWebgpu()`,
    );
    for (const end of waiting) end({ error: lost });
  });
  return {
    error: () => lost,
    close() {
      closed = true;
    },
    async unlessLost<T>(promise: Promise<T>): Promise<Outcome<T>> {
      const outcome = await new Promise<Outcome<T>>((resolve) => {
        waiting.add(resolve);
        promise
          .then(
            (value) => resolve({ value }),
            (error: Error) => resolve({ error }),
          )
          .finally(() => waiting.delete(resolve));
      });
      // What the loss breaks may be told of just before the loss.
      if ('error' in outcome && !lost) await Promise.race([device.lost, new Promise((resolve) => setTimeout(resolve, 10))]);
      return outcome;
    },
  };
}
