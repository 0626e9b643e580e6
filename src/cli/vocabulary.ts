// `zoetrope vocab`: what a small model was trained on, so that nobody has to guess what it can draw.
import type { Vocabulary } from '../pipeline.ts';
import type { VocabularyArguments } from './arguments.ts';
import type { Terminal } from './terminal.ts';

/** The vocabulary as text: a line of names for each kind, then whole prompts to try. */
export function formatVocabulary({ subjects, scenes, motions, sizes, prompts }: Vocabulary): string {
  const row = (name: string, values: readonly string[]): string => `${name}: ${values.join(', ')}`;
  const examples = prompts.map((prompt) => `  zoetrope "${prompt}"`);
  return [row('Subjects', subjects), row('Scenes', scenes), row('Motions', motions), row('Sizes', sizes), 'Prompts:', ...examples].join(
    '\n',
  );
}

/** Prints the vocabulary of the model on stdout, as text or JSON. Throws an Error when the model has none, as models trained on real video. */
export async function showVocabulary(args: VocabularyArguments, terminal: Terminal): Promise<void> {
  const { TextToVideoPipeline } = await import('../pipeline.ts');
  const pipeline = await TextToVideoPipeline.fromPretrained(args.model);
  const { vocabulary } = pipeline;
  await pipeline.dispose();
  if (!vocabulary) throw new Error(`The model in "${args.model}" has no list of what it was trained on; try any prompt.`);
  terminal.out(args.json ? `${JSON.stringify(vocabulary)}\n` : `${formatVocabulary(vocabulary)}\n`);
}
