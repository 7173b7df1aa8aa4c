import { parse } from "./exact.js";

/** A command: its arguments are read where they are used. */
export class Command {
  constructor(private readonly members: Readonly<Record<string, unknown>>) {}

  get id(): number {
    return this.number("id") ?? 0;
  }

  get op(): string {
    return this.need("op");
  }

  /** An argument that may be absent. */
  text(name: string): string | undefined {
    const value = this.members[name];
    return typeof value === "string" ? value : undefined;
  }

  /** An argument that must be there. */
  need(name: string): string {
    const value = this.text(name);
    if (value === undefined) {
      throw new Error(`${name} is missing`);
    }
    return value;
  }

  number(name: string): number | undefined {
    const value = this.members[name];
    return typeof value === "number" ? value : undefined;
  }

  value(name: string): unknown {
    return this.members[name];
  }

  /** An argument that is an object, empty if absent. */
  object(name: string): Command {
    return new Command((this.members[name] ?? {}) as Record<string, unknown>);
  }

  objects(name: string): Command[] {
    return ((this.members[name] ?? []) as Record<string, unknown>[]).map((members) => new Command(members));
  }

  entries(): [string, unknown][] {
    return Object.entries(this.members);
  }
}

/** Reads a line. Whole numbers that a number would round are bigint. */
export function readCommand(line: string): Command {
  return new Command(parse(line) as Record<string, unknown>);
}
