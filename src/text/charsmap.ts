// The Precompiled normaliser of SentencePiece tokenizers: a double-array trie of UTF-8 sequences and their replacements, as tokenizer.json stores it.
// It is applied as the `tokenizers` library does: to a whole grapheme of under 6 bytes where the map knows its beginning, else character by character.

/** Makes the normaliser from `precompiled_charsmap` (base64). Throws an Error for one that is no base64, a RangeError when its sizes do not hold together. */
export function charsmapNormalizer(base64: string): (text: string) => string {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const trieBytes = bytes.length >= 4 ? view.getUint32(0, true) : -1;
  if (trieBytes < 4 || trieBytes % 4 !== 0 || trieBytes > bytes.length - 4) {
    throw new RangeError(
      `The tokenizer's precompiled_charsmap is damaged: it states a trie of ${trieBytes} bytes and has ${bytes.length}.`,
    );
  }
  const units = Uint32Array.from({ length: trieBytes / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const replacements = bytes.subarray(4 + trieBytes);
  const decoder = new TextDecoder();
  const replacement = (piece: Uint8Array): string | undefined => {
    const start = shortestPrefix(units, piece);
    if (start === undefined) return undefined;
    const end = replacements.indexOf(0, start);
    return decoder.decode(replacements.subarray(start, end < 0 ? undefined : end));
  };
  const encoder = new TextEncoder();
  const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
  return (text) => {
    let out = '';
    for (const { segment } of graphemes.segment(text)) {
      const encoded = encoder.encode(segment);
      const whole = encoded.length < 6 ? replacement(encoded) : undefined;
      if (whole !== undefined) out += whole;
      else for (const character of segment) out += replacement(encoder.encode(character)) ?? character;
    }
    return out;
  };
}

/** Value of the shortest key of the trie that `piece` begins with. Unit layout: Yata's darts-clone (label 0-7, leaf flag 8, offset 10-31 scaled by bit 9). */
function shortestPrefix(units: Uint32Array, piece: Uint8Array): number | undefined {
  const offset = (unit: number) => (unit >>> 10) << ((unit & 0x200) >>> 6);
  let at = offset(units[0]);
  for (const byte of piece) {
    // Key bytes are never 0: that label leads to values.
    if (byte === 0) return undefined;
    at ^= byte;
    const unit = units[at] ?? 0;
    if ((unit & 0x800000ff) >>> 0 !== byte) return undefined;
    at ^= offset(unit);
    if (unit & 0x100) return (units[at] ?? 0) & 0x7fffffff;
  }
  return undefined;
}
