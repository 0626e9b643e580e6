// The one error class of our own: something valid was asked for that cannot be done here.

/** Thrown when a request is well formed but this device, runtime or version cannot serve it; the message says what, why and what to do. */
export class UnsupportedError extends Error {
  /** Always the name of the class. */
  override readonly name = 'UnsupportedError';
}
