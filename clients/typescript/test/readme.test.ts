import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

import ts from "typescript";

/** The package's directory; this file is compiled into dist/test. */
const here = fileURLToPath(new URL("../..", import.meta.url));

test("what the package's page shows compiles", () => {
  const page = readFileSync(`${here}README.md`, "utf8");
  const [first = "", ...others] = [...page.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code ?? "");
  assert.ok(others.length >= 3);
  const source = [
    'import { JotsmithError } from "@jotsmith/client";',
    "declare const signal: AbortSignal;",
    first,
    ...others.map((code) => `{\n${code}}`),
  ].join("\n");
  const config = ts.getParsedCommandLineOfConfigFile(
    `${here}tsconfig.json`,
    { noEmit: true, incremental: false, noUnusedLocals: false },
    {
      ...ts.sys,
      onUnRecoverableConfigFileDiagnostic: (diagnostic) =>
        assert.fail(ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n")),
    },
  );
  assert.ok(config);
  delete config.options.tsBuildInfoFile;
  const file = `${here}readme.ts`;
  const base = ts.createCompilerHost(config.options);
  const host: ts.CompilerHost = {
    ...base,
    fileExists: (name) => name === file || base.fileExists(name),
    getSourceFile: (name, options) =>
      name === file ? ts.createSourceFile(name, source, options) : base.getSourceFile(name, options),
  };
  const program = ts.createProgram([file], config.options, host);
  const found = ts
    .getPreEmitDiagnostics(program)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
  assert.deepEqual(found, []);
});
