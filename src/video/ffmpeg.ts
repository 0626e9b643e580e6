// Where an ffmpeg comes from, and whether it runs. fluent-ffmpeg ends the whole process on a missing binary, so it is only given one that ran here.
import { spawn } from 'node:child_process';
import { access, chmod, constants } from 'node:fs/promises';
import { UnsupportedError } from '../errors.ts';

interface Candidate {
  readonly path: string;
  readonly source: string;
}

/**
 * The path of an ffmpeg that runs and has `encoder` (as `libx264`). Order: `given`, the environment's FFMPEG_PATH, the optional package
 * `@ffmpeg-installer/ffmpeg`, `ffmpeg` on PATH. A path that was asked for by name (the first two) is never replaced by a later one.
 * Throws an UnsupportedError that says what was tried.
 */
export async function findFfmpeg(encoder: string, given?: string): Promise<string> {
  const named = given !== undefined ? { path: given, source: 'the option ffmpeg' } : fromEnvironment();
  const candidates = named ? [named] : [...(await fromInstaller()), { path: 'ffmpeg', source: 'PATH' }];
  const failures: string[] = [];
  for (const candidate of candidates) {
    const failure = await whyUnusable(candidate, encoder);
    if (failure === undefined) return candidate.path;
    failures.push(failure);
  }
  throw new UnsupportedError(
    `No usable ffmpeg (${failures.join('; ')}): run "npm install @ffmpeg-installer/ffmpeg", install ffmpeg and set FFMPEG_PATH to it, or write a .webp, .gif or .png sequence, which need none.`,
  );
}

function fromEnvironment(): Candidate | undefined {
  const path = process.env.FFMPEG_PATH;
  return path ? { path, source: 'FFMPEG_PATH' } : undefined;
}

async function fromInstaller(): Promise<Candidate[]> {
  try {
    const { default: installer } = (await import('@ffmpeg-installer/ffmpeg')) as { default: { path: string } };
    await makeExecutable(installer.path);
    return [{ path: installer.path, source: '@ffmpeg-installer/ffmpeg' }];
  } catch {
    return []; // an optional package: absent, or without a binary for this platform
  }
}

/** The package sets the execute bit in an install script, which many installations do not run. A read-only installation is reported by the trial run. */
async function makeExecutable(path: string): Promise<void> {
  try {
    await access(path, constants.X_OK);
  } catch {
    await chmod(path, 0o755).catch(() => {});
  }
}

async function whyUnusable({ path, source }: Candidate, encoder: string): Promise<string | undefined> {
  const where = `"${path}" from ${source}`;
  try {
    const encoders = await outputOf(path, ['-hide_banner', '-encoders']);
    return new RegExp(`^\\s*V\\S*\\s+${encoder}\\s`, 'm').test(encoders) ? undefined : `${where} has no encoder ${encoder}`;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const reason = code === 'ENOENT' ? 'was not found' : code === 'EACCES' ? 'may not be executed' : `failed: ${(error as Error).message}`;
    return `${where} ${reason}`;
  }
}

function outputOf(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'], windowsHide: true });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve(output) : reject(new Error(`it exited with code ${code}`))));
  });
}
