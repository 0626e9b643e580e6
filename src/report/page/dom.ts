// Elements in one line.
import type { Look } from './theme.ts';

type Child = Node | string | number | undefined | false;
type Properties = Readonly<Record<string, unknown>>;

/** An element with properties (`class`, `style` and `data-*` as attributes, functions as listeners) and children; false and undefined are left out. */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  properties: Properties = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name, value as EventListener);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(
    ...children.filter((child) => child !== undefined && child !== false).map((child) => (child instanceof Node ? child : String(child))),
  );
  return element;
}

/** A part of the page: a heading, a sentence on how to read it, and what it shows. */
export function part(title: string, note: string, ...children: Child[]): HTMLElement {
  return h('section', { class: 'part' }, h('h3', {}, title), note !== '' && h('p', { class: 'note' }, note), ...children);
}

/** A part as wide as the page. */
export function wide(...args: Parameters<typeof part>): HTMLElement {
  const section = part(...args);
  section.classList.add('wide');
  return section;
}

/** A choice of one of some texts. */
export function choice(label: string, names: readonly string[], onChoice: (at: number) => void, chosen = 0): HTMLElement {
  const select = h(
    'select',
    { change: () => onChoice(select.selectedIndex) },
    ...names.map((name, at) => h('option', { selected: at === chosen }, name)),
  );
  return h('label', { class: 'choice' }, label, select);
}

/** What draws the mark of a series before its name. */
const dot = ({ colour, mark }: Look) => ({ style: `--dot: ${colour}`, 'data-mark': mark });

/** The name of a series with its mark, for a legend. */
export const key = (name: string, look: Look): HTMLElement => h('span', { class: 'key', ...dot(look) }, name);

/** A choice of some of the keys, each with its mark; the look is kept when others come and go. */
export function chips(names: readonly string[], looks: ReadonlyMap<string, Look>, chosen: Set<string>, onChange: () => void): HTMLElement {
  const chip = (name: string) =>
    h(
      'button',
      {
        ...{ type: 'button', class: 'chip', 'aria-pressed': String(chosen.has(name)), ...dot(looks.get(name)!) },
        click: (event: Event) => {
          if (!chosen.delete(name)) chosen.add(name);
          (event.currentTarget as Element).setAttribute('aria-pressed', String(chosen.has(name)));
          onChange();
        },
      },
      name,
    );
  return h('div', { class: 'chips', role: 'group', 'aria-label': 'Contenders shown' }, ...names.map(chip));
}

/** A table; the first column is text, others are numbers. */
export function table(head: readonly string[], rows: readonly (readonly (string | Node)[])[]): HTMLElement {
  return h(
    'div',
    { class: 'scroll' },
    h(
      'table',
      {},
      h('thead', {}, h('tr', {}, ...head.map((cell) => h('th', {}, cell)))),
      h('tbody', {}, ...rows.map((row) => h('tr', {}, ...row.map((cell) => h('td', {}, cell))))),
    ),
  );
}
