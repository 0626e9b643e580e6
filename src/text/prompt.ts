// Prompt cleaning as the Wan pipeline of diffusers does it without its optional ftfy step: HTML references, then whitespace, by Python's rules.
import { decodeHTML } from 'entities';

/** Whitespace of Python's str.strip and of its regular expressions: with U+001C-1F and U+0085, without U+FEFF, unlike JavaScript's. */
const space = '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]';
const spaces = new RegExp(`${space}+`, 'g');
const edges = new RegExp(`^${space}+|${space}+$`, 'g');

/** A character reference as Python's html.unescape sees one. */
const reference = /&(?:#(?<decimal>[0-9]+);?|#[xX](?<hexadecimal>[0-9a-fA-F]+);?|[^\t\n\f <&#;]{1,32};?)/g;

/** Cleans a prompt: character references are decoded twice, ends are trimmed, each run of whitespace becomes one space. */
export function cleanPrompt(text: string): string {
  return decodeReferences(decodeReferences(text)).replace(edges, '').replace(spaces, ' ').replace(edges, '');
}

function decodeReferences(text: string): string {
  return text.replace(reference, (found, ...rest) => {
    const { decimal, hexadecimal } = rest.at(-1) as { decimal?: string; hexadecimal?: string };
    const code = decimal ? Number.parseInt(decimal, 10) : hexadecimal ? Number.parseInt(hexadecimal, 16) : undefined;
    if (code !== undefined && isDropped(code)) return '';
    return decodeHTML(found);
  });
}

/** Control characters and noncharacters: Python drops a numeric reference to one, HTML keeps it. 0x80-0x9f are decoded as Windows-1252. */
const isDropped = (code: number): boolean =>
  (code >= 0x1 && code <= 0x8) ||
  code === 0xb ||
  (code >= 0xe && code <= 0x1f) ||
  code === 0x7f ||
  (code >= 0xfdd0 && code <= 0xfdef) ||
  (code <= 0x10ffff && (code & 0xfffe) === 0xfffe);
