/** Whether this is Node, or what works like it: a web page and its workers have no disk, no native packages and no other threads of ours. */
export const inNode = typeof process !== 'undefined' && process.versions?.node !== undefined;
