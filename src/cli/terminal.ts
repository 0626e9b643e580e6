// Where text goes: results to stdout, everything about the run to stderr, and one line there that is drawn over while work goes on.

/** The two streams, and whether stderr is a screen (then lines may be drawn over) and how wide. */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly isScreen: boolean;
  readonly columns: number;
  /** Width of stdout, where it is a screen. */
  readonly outColumns?: number;
}

/** Lines about a run on stderr. `note` adds a line for good; `show` draws over the last shown one on a screen, and is a plain line elsewhere. */
export interface Lines {
  note(text: string): void;
  show(text: string): void;
  /** Removes the shown line; a no-op where there is none. */
  clear(): void;
}

const ERASE = '\r\x1b[2K';

/** Lines on the stderr of `terminal`. What is shown is cut to the screen's width: a wrapped line cannot be drawn over. */
export function linesOn(terminal: Terminal): Lines {
  let shown = false;
  const clear = (): void => {
    if (shown) terminal.err(ERASE);
    shown = false;
  };
  return {
    clear,
    note(text) {
      clear();
      terminal.err(`${text}\n`);
    },
    show(text) {
      if (!terminal.isScreen) return terminal.err(`${text}\n`);
      terminal.err(`${ERASE}${text.slice(0, terminal.columns - 1)}`);
      shown = true;
    },
  };
}
