// Files of a server of static files, by HTTP: in part where the server knows ranges, else whole.
import type { OpenFile } from './files.ts';

/** What is asked for first: small files are whole with it, and headers of large ones are in it. */
const START_BYTES = 2 ** 20;
/** Up to this size a file is asked for whole when more than its start is read: one answer instead of hundreds. */
const WHOLE_BYTES = 2 ** 26;

/** Whether the server has this file. */
export const isServed = async (address: string): Promise<boolean> => (await ask(address, { method: 'HEAD' })) !== undefined;

/** Opens a file; undefined when the server has none. @throws Error when it cannot be reached or answers otherwise. */
export async function openServed(address: string): Promise<OpenFile | undefined> {
  const answer = await ask(address, rangeOf(0, START_BYTES));
  if (!answer) return undefined;
  const stated = answer.status === 206 ? Number(answer.headers.get('content-range')?.split('/')[1]) : Number.NaN;
  // An answer in part whose whole is not told, as to a page of another origin, is of no use.
  const isPart = stated >= 0;
  const start = await bytesOf(isPart || answer.status === 200 ? answer : await asked(address));
  return inParts(address, start, isPart ? stated : start.length);
}

function inParts(address: string, start: Uint8Array<ArrayBuffer>, bytes: number): OpenFile {
  let whole: Promise<Uint8Array<ArrayBuffer>> | undefined = start.length === bytes ? Promise.resolve(start) : undefined;
  const wholeFile = async () => bytesOf(await asked(address));
  const part = async (position: number, length: number): Promise<Uint8Array<ArrayBuffer>> => {
    if (position + length <= start.length) return start.subarray(position, position + length);
    if (bytes <= WHOLE_BYTES) whole ??= wholeFile();
    if (whole) return (await whole).subarray(position, position + length);
    const answer = await asked(address, rangeOf(position, length));
    if (answer.status !== 206) throw new Error(`${address} was given in parts and now is not; ask again, or take another server.`);
    return bytesOf(answer);
  };
  return {
    bytes,
    read: async (position, length) => (await part(position, length)).slice(),
    async close() {
      whole = undefined;
    },
  };
}

const rangeOf = (position: number, length: number): RequestInit => ({ headers: { Range: `bytes=${position}-${position + length - 1}` } });

const bytesOf = async (answer: Response): Promise<Uint8Array<ArrayBuffer>> => new Uint8Array(await answer.arrayBuffer());

/** The server's answer, for a file that it has. */
async function asked(address: string, request?: RequestInit): Promise<Response> {
  const answer = await ask(address, request);
  if (!answer) throw new Error(`${address} is gone from the server; was the model changed?`);
  return answer;
}

/** The server's answer; undefined when there is no such file. Servers of applications give a page for every address that they do not know. */
async function ask(address: string, request?: RequestInit): Promise<Response | undefined> {
  const answer = await fetch(address, request).catch((cause: Error) => {
    throw new Error(`${address} cannot be reached (${cause.message}); is the server there, and does it answer pages of this origin?`, {
      cause,
    });
  });
  const isPage = answer.headers.get('content-type')?.startsWith('text/html');
  if (answer.ok && !isPage) return answer;
  await answer.body?.cancel();
  if (isPage || [403, 404, 410].includes(answer.status)) return undefined;
  throw new Error(`${address} cannot be read: the server answers ${answer.status} ${answer.statusText}`.trim());
}
