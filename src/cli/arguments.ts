// What a command line asks for, as data. Nothing is loaded or touched here: `parseArguments` only reads words and checks numbers.
import { Command, CommanderError, Help, type Option } from 'commander';
import { editDistance } from '../edit-distance.ts';
import { type BenchArguments, benchCommand } from './bench-arguments.ts';
import type { BenchVideoArguments } from './bench-video-arguments.ts';
import { type CalibrateArguments, calibrateCommand } from './calibrate.ts';
import { type GenerateArguments, generateArguments, generateOptions } from './generate-arguments.ts';
import { type InspectArguments, inspectCommand } from './inspect-arguments.ts';
import type { InspectOnnxArguments } from './inspect-onnx.ts';
import type { MethodsArguments } from './methods.ts';
import { type ReportArguments, reportCommand } from './report.ts';

export interface VocabularyArguments {
  readonly command: 'vocab';
  readonly model?: string;
  readonly json: boolean;
}

export interface DoctorArguments {
  readonly command: 'doctor';
  readonly json: boolean;
}

/** `text` is for stdout: the help, or the version. */
export interface HelpArguments {
  readonly command: 'help';
  readonly text: string;
}

export type Arguments =
  | CalibrateArguments
  | GenerateArguments
  | InspectArguments
  | InspectOnnxArguments
  | VocabularyArguments
  | MethodsArguments
  | DoctorArguments
  | ReportArguments
  | BenchArguments
  | BenchVideoArguments
  | HelpArguments;

const MAIN = 'vocab methods calibrate doctor inspect report bench'.split(' ');
const COMMANDS = [...MAIN, ...'attention step run video'.split(' ')];

const EXAMPLES = `
Examples:
  zoetrope "a rocket flying up over a night sky"
  zoetrope "a red car on a city street" -o car.webm --seed 7
  zoetrope "a blue fish swimming underwater" --method adaspa --sparsity 0.8
  zoetrope "a cat" --model ./Wan2.1-T2V-1.3B-Diffusers --device auto --yes
  zoetrope vocab
  zoetrope methods
  zoetrope inspect "a rocket in space" --method adaspa --layers 0,7 -o plans
  zoetrope inspect dit.onnx
  zoetrope doctor
  zoetrope bench step --profile
  zoetrope report bench/results/*.json -o report.html
  zoetrope bench video --quick

Size, frames, steps and guidance that are not given are the model's own.
Files: .mp4 and .webm (need an ffmpeg), .gif and .webp (animated), name-%05d.png
or a folder that ends in "/" (a picture a frame).`;

/**
 * Reads a command line without the program's own name. `version` is what `--version` shows, `columns` how wide help may be. Throws a TypeError or
 * RangeError whose message is one sentence for the user.
 */
export function parseArguments(words: readonly string[], version: string, columns = 80): Arguments {
  let parsed: Arguments | undefined;
  let text = '';
  const program = new Command('zoetrope')
    .description('Text to video on a CPU or a GPU, with sparse attention.')
    .version(version)
    .enablePositionalOptions()
    .exitOverride()
    .configureHelp({ helpWidth: Math.max(60, Math.min(columns, 120)), optionDescription: described })
    .configureOutput({ writeOut: (part) => (text += part), writeErr: () => {} });
  generateOptions(program)
    .usage('[options] "<prompt>"')
    .addHelpText('after', EXAMPLES)
    .action((prompt: string[], options) => {
      if (words[0] !== 'generate') checkCommand(prompt);
      parsed = generateArguments(prompt, options);
    });
  const done = (args: Arguments): void => {
    checkPlaces(program, args.command);
    parsed = args;
  };
  listings(program, done);
  calibrateCommand(program, done);
  inspectCommand(program, done);
  reportCommand(program, done);
  benchCommand(program, done);
  try {
    program.parse(spelledOut(words), { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { command: 'help', text };
    throw new TypeError(sentence(error.message, words));
  }
  return parsed!;
}

/** Adds the commands that only say what there is: `done` is given what was asked for. */
function listings(program: Command, done: (args: Arguments) => void): void {
  const listing = (name: string, description: string): Command =>
    program.command(name).description(description).option('--json', 'as one JSON object', false);
  listing('vocab', 'list what the model that comes along was trained on')
    .option('--model <folder>', 'another model')
    .action(({ model, json }) => done({ command: 'vocab', model, json }));
  listing('methods', 'list the ways to compute attention, with their papers').action(({ json }) => done({ command: 'methods', json }));
  listing('doctor', 'look at this machine and test its GPU').action(({ json }) => done({ command: 'doctor', json }));
}

/** A command alone that needs more asks for help, as `zoetrope help bench` does; `zoetrope generate "..."` is `zoetrope "..."`. */
function spelledOut(words: readonly string[]): readonly string[] {
  const [first, ...rest] = words;
  if (first === 'help' && rest.every((word) => COMMANDS.includes(word))) return [...rest, '--help'];
  if (words.length === 0 || ((first === 'bench' || first === 'inspect') && rest.length === 0)) return [...words, '--help'];
  if (first !== 'generate') return words;
  return rest.length > 0 ? rest : ['--help'];
}

/** @throws TypeError for what is rather a mistyped command than a prompt: it would be drawn for minutes. */
function checkCommand([first = '', ...rest]: readonly string[]): void {
  if (/\s/.test(first) || first === '' || rest.length > 1) return;
  const meant = MAIN.find((name) => first.startsWith(name) || (first.length > 3 && editDistance(first, name) < (name.length < 7 ? 2 : 3)));
  if (meant !== undefined)
    throw new TypeError(
      `"${first}" is no command; write zoetrope ${meant}, or for a video of it zoetrope generate "${[first, ...rest].join(' ')}".`,
    );
}

/** @throws TypeError for options of a video before a command, which does not read them. */
function checkPlaces(program: Command, command: string): void {
  const early = program.options.filter((option) => program.getOptionValueSource(option.attributeName()) === 'cli').map(({ long }) => long);
  if (early.length > 0) throw new TypeError(`${early.join(', ')} before "${command}" is not read; put options after the command.`);
}

/** What an option is, without defaults that say nothing: a switch is off, a list empty or all there is. */
function described(option: Option): string {
  const { description, defaultValue } = option;
  return defaultValue === false || Array.isArray(defaultValue) ? description : new Help().optionDescription(option);
}

/** "error: unknown option '--stesp'\n(Did you mean --steps?)" as a sentence that points to the help of the command. */
function sentence(message: string, words: readonly string[]): string {
  const plain = message
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ')
    .replace(/\.$/, '');
  const named = words.slice(0, words[0] === 'bench' ? 2 : 1).filter((word) => COMMANDS.includes(word));
  return `${plain.charAt(0).toUpperCase()}${plain.slice(1)}; see ${['zoetrope', ...named, '--help'].join(' ')}.`;
}
