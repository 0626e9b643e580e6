// Videos over HTTP, with progress and abort: node dist/samples/server.js [PORT] [MODEL], then curl -N 'localhost:8080/?prompt=a+red+car'.
// The answer is a JSON object a line: each step, then the video. Closing the connection stops the run.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { accelerate, adaSpa, saveVideo, TextToVideoPipeline } from '../src/index.ts';

const [port = '8080', model] = process.argv.slice(2);
const pipe = await TextToVideoPipeline.fromPretrained(model);
accelerate(pipe, adaSpa({ sparsity: 0.7 }));

async function answer({ url }: IncomingMessage, response: ServerResponse): Promise<void> {
  const prompt = new URL(url ?? '/', 'http://localhost').searchParams.get('prompt');
  if (!prompt) return void response.writeHead(400).end('give a prompt, as /?prompt=a+red+car\n');
  const say = (what: object) => response.write(`${JSON.stringify(what)}\n`);
  const gone = new AbortController();
  response.on('close', () => gone.abort(new Error('the client is gone')));
  const folder = await mkdtemp(join(tmpdir(), 'videos-'));
  try {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    const { signal } = gone;
    const video = pipe(prompt, { signal, onStep: ({ step, steps, milliseconds }) => void say({ step: step + 1, steps, milliseconds }) });
    const { path } = await saveVideo(video, join(folder, 'video.webp'), { signal });
    say({ webp: await readFile(path, 'base64'), report: await video.report });
  } catch (error) {
    if (!gone.signal.aborted) say({ error: (error as Error).message });
    else console.log(`stopped: ${(error as Error).message}`);
  } finally {
    await rm(folder, { recursive: true });
    response.end();
  }
}

export const server = createServer(answer).on('close', () => pipe.dispose());
server.listen(Number(port), () => console.log(`listening on port ${port}`));
