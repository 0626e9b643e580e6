// The parts of the page, found and filled.

export const find = <E extends HTMLElement = HTMLElement>(selector: string): E => document.querySelector<E>(selector)!;

/** An element with a text. */
export function element(tag: string, text: string, kind = ''): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = kind;
  return made;
}

/** A row of a table. */
export function row(...cells: readonly (string | HTMLElement)[]): HTMLTableRowElement {
  const made = document.createElement('tr');
  made.append(...cells.map((cell) => (typeof cell === 'string' ? element('td', cell) : cell)));
  return made;
}

/** Shows a section, and gives its part to fill. */
export function shown(section: string, part: string): HTMLElement {
  find(section).hidden = false;
  return find(`${section} ${part}`);
}

/** What goes on, in one sentence, and how much of it is done. */
export function say(sentence: string, { kind = '', done }: { readonly kind?: string; readonly done?: number } = {}): void {
  find('#state').textContent = sentence;
  find('#state').className = kind;
  const bar = find<HTMLProgressElement>('#progress');
  bar.hidden = done === undefined;
  bar.value = done ?? 0;
}
