// `zoetrope vocab`: what a small model was trained on, so that nobody has to guess what it can draw.
import { readDefaults, readModelIndex } from '../dit/config.ts';
import { embeddedModel } from '../embedded-model.ts';
import { readVocabulary, type Vocabulary } from '../vocabulary.ts';
import type { VocabularyArguments } from './arguments.ts';
import { folded } from './layout.ts';
import type { Terminal } from './terminal.ts';

/** The vocabulary in lines of `columns` characters: names of each kind, other words for the subjects, then whole prompts to try. */
export function formatVocabulary({ subjects, subjectWords, scenes, motions, sizes, prompts }: Vocabulary, columns = 80): string {
  const row = (kind: string, names: readonly string[]): string => folded(`${kind}: `, names.join(', '), columns).join('\n');
  const others = subjectWords.filter((word) => !subjects.includes(word));
  const rows = [row('Subjects', subjects), row('Also called', others), row('Scenes', scenes), row('Motions', motions), row('Sizes', sizes)];
  return [...rows, 'Prompts:', ...prompts.map((prompt) => `  zoetrope "${prompt}"`)].join('\n');
}

/** Prints the vocabulary of the model on stdout, as text or JSON. Throws an Error when the model states none, as models trained on real video. */
export async function showVocabulary({ model, json }: VocabularyArguments, terminal: Terminal): Promise<void> {
  const index = await readModelIndex(model ?? embeddedModel());
  const vocabulary = readVocabulary(readDefaults(index).vocabulary);
  if (!vocabulary)
    throw new Error(`The model in "${index.folder}" states no vocabulary: it was not trained on a fixed set of words, so try any prompt.`);
  terminal.out(json ? `${JSON.stringify(vocabulary)}\n` : `${formatVocabulary(vocabulary, terminal.outColumns)}\n`);
}
