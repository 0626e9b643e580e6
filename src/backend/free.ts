// Gives large buffers back at once: garbage collection comes late to memory outside the JavaScript heap.
import type { Numbers } from '../tensor.ts';

const { port1, port2 } = new MessageChannel();
port2.close();
port1.close();

/** Frees the memory behind numbers that nobody reads any more; they are empty afterwards. A closed port takes the buffer over and drops it. */
export function free({ buffer }: Numbers): void {
  port1.postMessage(undefined, [buffer as ArrayBuffer]);
}
