import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { compactVerify, importJWK, type JWK } from "jose";

/** The names and versions of the libraries that verify. */
export async function jose(): Promise<string[]> {
  const manifest = new URL("../../package.json", import.meta.resolve("jose"));
  const { version } = JSON.parse(await readFile(fileURLToPath(manifest), "utf8")) as { version: string };
  return [`jose ${version}`];
}

/** Verifies a token with a public key, in each library. */
export async function verify(jwt: string, jwk: string): Promise<{ verified: object[] }> {
  const key = await importJWK(JSON.parse(jwk) as JWK, "ES256");
  const { payload } = await compactVerify(jwt, key, { algorithms: ["ES256"] });
  const [header = ""] = jwt.split(".");
  const [by] = await jose();
  return {
    verified: [{ by, header: Buffer.from(header, "base64url").toString(), payload: Buffer.from(payload).toString() }],
  };
}
