// The conformance driver: clients/conformance/driver.md says what it is told and answers.
import { createInterface } from "node:readline";

import { readCommand } from "./command.js";
import { Driver } from "./driver.js";

const write = (answer: object): void => {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
};
const driver = new Driver(write);
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (line.trim() !== "") {
    driver.begin(readCommand(line));
  }
}
driver.close();
process.exit(0);
