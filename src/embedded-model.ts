// Where the model lies that ships with the package.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Folder of the model that ships with the package. */
export function embeddedModel(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const candidate = join(folder, 'samples', 'wan-mini');
    if (existsSync(join(candidate, 'model_index.json'))) return candidate;
    if (folder === dirname(folder))
      throw new Error('the embedded model samples/wan-mini is missing from this installation; install zoetrope again');
  }
}
