// What goes wrong on a GPU shows later than where it was asked for: errors are noted, and thrown where somebody waits.

export interface ErrorLog {
  /** Pops the device's error scope; an error in it becomes the failure that `describe` words. */
  watch(describe: (error: GPUError) => string | Promise<string>): void;
  /** @throws when the device is lost. */
  check(): void;
  /** Waits for a promise and what is watched. @throws the first failure since the last wait, and at once when the device is lost. */
  during<T>(promise: Promise<T>): Promise<T>;
  /** From here on, the loss of the device is meant. */
  close(): void;
}

export function errorLog(device: GPUDevice): ErrorLog {
  const watched = new Set<Promise<void>>();
  // What a scope caught says more than what follows from it.
  let failure: Error | undefined;
  let consequence: Error | undefined;
  let lost: Error | undefined;
  let closed = false;
  const loss = device.lost.then(({ reason, message }) => {
    lost = new Error(
      closed ? 'this GPU device was disposed' : `the GPU device was lost (${reason}: ${message.trim()}); open a new one with openWebgpu()`,
    );
    return lost;
  });
  device.addEventListener('uncapturederror', (event) => {
    event.preventDefault();
    consequence ??= new Error(`the GPU refused a command: ${event.error.message}`);
  });
  return {
    watch(describe) {
      const seen = device
        .popErrorScope()
        .then(async (error) => {
          if (error) failure ??= new Error(await describe(error));
        })
        .catch(() => undefined)
        .finally(() => watched.delete(seen));
      watched.add(seen);
    },
    check() {
      if (lost) throw lost;
    },
    async during(promise) {
      promise.catch(() => undefined);
      const first = await Promise.race([promise.then((value) => ({ value })), loss.then((error) => ({ error }))]).catch((error) => ({
        error: error as Error,
      }));
      await Promise.all(watched);
      const found = failure ?? consequence ?? lost ?? ('error' in first ? first.error : undefined);
      failure = undefined;
      consequence = undefined;
      if (found) throw found;
      return (first as { value: Awaited<typeof promise> }).value;
    },
    close() {
      closed = true;
    },
  };
}
