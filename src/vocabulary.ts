// What a small model was trained on, as its model_index.json states it, so that nobody has to guess what it can draw.

/** Names of what the model knows; `subjectWords` holds every accepted word for a subject, synonyms included. */
export interface Vocabulary {
  /** What it can draw, one name each. */
  readonly subjects: readonly string[];
  /** Every word that a subject may be named by. */
  readonly subjectWords: readonly string[];
  /** Where subjects can be. */
  readonly scenes: readonly string[];
  /** How they can move. */
  readonly motions: readonly string[];
  /** How large they can be. */
  readonly sizes: readonly string[];
  /** Some prompts that it knows. */
  readonly prompts: readonly string[];
}

/** Entries are names, or objects with a `name` and further words. */
type Entry = string | { readonly name: string; readonly synonyms?: readonly string[] };

/** Reads the `vocabulary` of a model_index.json; undefined when the model states none. @throws TypeError when it has another form. */
export function readVocabulary(raw: unknown): Vocabulary | undefined {
  if (raw === undefined) return undefined;
  const lists = raw as Readonly<Record<string, readonly Entry[]>>;
  const names = (key: string): string[] => entries(lists, key).map((entry) => (typeof entry === 'string' ? entry : entry.name));
  return {
    subjects: names('subjects'),
    subjectWords: entries(lists, 'subjects').flatMap((entry) =>
      typeof entry === 'string' ? [entry] : [entry.name, ...(entry.synonyms ?? [])],
    ),
    scenes: names('scenes'),
    motions: names('motions'),
    sizes: names('sizes'),
    prompts: names('prompts'),
  };
}

function entries(lists: Readonly<Record<string, readonly Entry[]>>, key: string): readonly Entry[] {
  const list = lists[key] ?? [];
  if (!Array.isArray(list)) throw new TypeError(`"vocabulary.${key}" in model_index.json is not a list; give names or objects with a name`);
  return list;
}
