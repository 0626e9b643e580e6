// Whether Dawn would find Vulkan on Linux. Where it would not, it writes a warning of its own to stderr, which no option of it turns off, so it is
// not asked there.

/** Why there is no Vulkan; undefined where there is one, and on systems whose GPUs are reached by other means. */
export const missingVulkan = (): string | undefined => (process.platform === 'linux' ? missingLibrary('libvulkan.so.1') : undefined);

/** Why a shared library cannot be loaded; undefined when it can. */
export function missingLibrary(name: string): string | undefined {
  try {
    process.dlopen({ exports: {} }, name);
  } catch (error) {
    const { message } = error as Error;
    // Node takes addons alone, and says so of every other library once it was found and loaded.
    return message.includes('did not self-register') ? undefined : message;
  }
  return undefined;
}
