/** What marks the text of a whole number between JSON and its value. */
const mark = "\u0000whole:";

const lexeme = /"(?:[^"\\]|\\.)*"|-?[0-9][-+.0-9eE]*/g;

/**
 * JSON.parse, but whole numbers that a number would round are bigint. A later version of
 * JSON.parse shows a number's text to its reviver; this one does not.
 */
export function parse(text: string): unknown {
  const marked = text.replace(lexeme, (found) => (/^-?[0-9]{16,}$/.test(found) ? JSON.stringify(mark + found) : found));
  return JSON.parse(marked, (_, value: unknown) =>
    typeof value === "string" && value.startsWith(mark) ? exact(value.slice(mark.length)) : value,
  );
}

function exact(text: string): number | bigint {
  return Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text);
}
