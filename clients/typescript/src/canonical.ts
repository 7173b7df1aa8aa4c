/** How deep claims can be; the server refuses what is deeper. */
const deepest = 16;

/** The next token of a text that is known to be JSON. */
const lexeme = /[ \t\r\n]*("[^"\\]*(?:\\.[^"\\]*)*"|[-+.0-9eE]+|true|false|null|[{}[\],:])/y;

/**
 * The same text for JSON that differs in white space, the order of names and the spelling
 * of strings alone. Whatever a server may refuse, as it does a name that stands twice, is
 * only itself: a token kept for one request must not answer another that would have got
 * an error.
 */
export function canonical(text: string): string {
  if (text === "") {
    return "{}";
  }
  try {
    JSON.parse(text);
    return new Reader(text).value(0);
  } catch {
    return `?${text}`; // which no canonical form begins with
  }
}

/** Thrown where there is no canonical form. */
class NoForm extends Error {}

class Reader {
  #at = 0;

  constructor(private readonly text: string) {}

  /** Reads the next value. */
  value(depth: number): string {
    if (depth > deepest) {
      throw new NoForm();
    }
    const next = this.next();
    switch (next[0]) {
      case "{":
        return this.object(depth);
      case "[":
        return this.array(depth);
      case '"':
        return spelled(next);
      default:
        return next; // numbers stay as they are written
    }
  }

  private array(depth: number): string {
    const items: string[] = [];
    while (this.more("]")) {
      items.push(this.value(depth + 1));
    }
    return `[${items.join(",")}]`;
  }

  private object(depth: number): string {
    const members = new Map<string, string>();
    while (this.more("}")) {
      const name = spelled(this.next());
      if (members.has(name)) {
        throw new NoForm();
      }
      this.next(); // the colon
      members.set(name, this.value(depth + 1));
    }
    const names = [...members.keys()].sort();
    return `{${names.map((name) => `${name}:${members.get(name) ?? ""}`).join(",")}}`;
  }

  /** Passes a comma; whether another element comes before the end. */
  private more(end: string): boolean {
    const before = this.#at;
    const next = this.next();
    if (next !== end && next !== ",") {
      this.#at = before;
    }
    return next !== end;
  }

  private next(): string {
    lexeme.lastIndex = this.#at;
    const found = lexeme.exec(this.text)?.[1];
    if (found === undefined) {
      throw new NoForm();
    }
    this.#at = lexeme.lastIndex;
    return found;
  }
}

/** A string in its one spelling. A lone surrogate has none. */
function spelled(literal: string): string {
  const value = JSON.parse(literal) as string;
  if (!value.isWellFormed()) {
    throw new NoForm();
  }
  return JSON.stringify(value);
}
