import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs";

import { SettingError } from "./errors.js";

/** The longest token that the server reads, in bytes. */
const longest = 8 << 10;

/** A token alone: printable characters without a space. */
const alone = /^[!-~]+$/;

/**
 * A token that makes the caller known: a text, or a file, which whoever wrote it may
 * replace at any time, as Kubernetes does.
 */
export class Bearer {
  readonly #read: () => string;

  private constructor(read: () => string) {
    this.#read = read;
    read(); // what is wrong is better said before anybody is called
  }

  static ofText(token: string): Bearer {
    return new Bearer(() => {
      if (!alone.test(token)) {
        throw new SettingError("bearer: not a token alone");
      }
      return token;
    });
  }

  static ofFile(path: string): Bearer {
    return new Bearer(() => {
      const token = contentOf(path).trim();
      if (!alone.test(token)) {
        throw new SettingError(`bearer file: ${path} does not hold a token alone`);
      }
      return token;
    });
  }

  /** The token as it is now. It fails with a SettingError. */
  read(): string {
    return this.#read();
  }
}

function contentOf(path: string): string {
  try {
    // A pipe could be read only once, and would be waited for.
    if (!statSync(path).isFile()) {
      throw new SettingError(`${path} is not a regular file`);
    }
    const file = openSync(path, "r");
    try {
      return readUpTo(file, path, Buffer.alloc(longest + 2));
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw new SettingError(`bearer file: ${(error as Error).message}`);
  }
}

function readUpTo(file: number, path: string, buffer: Buffer): string {
  if (!fstatSync(file).isFile()) {
    throw new SettingError(`${path} is not a regular file`);
  }
  let length = 0;
  for (let n = -1; n !== 0 && length < buffer.length; length += n) {
    n = readSync(file, buffer, length, buffer.length - length, null);
  }
  if (length > longest + 1) {
    throw new SettingError(`${path} is longer than a token can be`);
  }
  return buffer.toString("latin1", 0, length);
}
