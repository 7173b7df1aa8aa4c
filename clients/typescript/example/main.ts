// Lists one's apps in App Store Connect. The library puts a token of Jotsmith into every
// request; there is no key here and nothing to renew.
//
//     export JOTSMITH_ADDRESS=unix:///run/jotsmith/jotsmith.sock
//     clients/typescript/run example --profile asc
//
// With --api it asks another server than Apple's, as the stand-in in
// clients/conformance/standin.
import { parseArgs } from "node:util";

import { connect } from "@jotsmith/client";

interface Apps {
  data: { id: string; attributes: { name: string; bundleId: string } }[];
}

async function list(profile: string, api: string): Promise<void> {
  const client = connect(); // the address in JOTSMITH_ADDRESS
  try {
    const fetch = client.fetch(profile);
    const response = await fetch(`${api}/v1/apps`, { signal: AbortSignal.timeout(30_000) });
    if (!response.ok) {
      throw new Error(`${response.status} ${response.statusText}: ${await response.text()}`);
    }
    const { data } = (await response.json()) as Apps;
    for (const { id, attributes } of data) {
      process.stdout.write(`${id}\t${attributes.bundleId}\t${attributes.name}\n`);
    }
  } finally {
    client.close();
  }
}

try {
  const { values } = parseArgs({
    options: {
      profile: { type: "string", default: "asc" },
      api: { type: "string", default: "https://api.appstoreconnect.apple.com" },
    },
  });
  await list(values.profile, values.api);
} catch (error) {
  process.stderr.write(`example: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
