// A real OpenID Connect provider for tests: npm's oidc-provider over HTTPS on
// 127.0.0.1, with the client `ci` (secret `secret`) that may have JWT access
// tokens by client credentials, for any resource.
//
//   node provider.mjs MODULES CERT KEY [PORT]
//
// It prints a line of JSON when it is ready and one for each line that it reads:
// `rotate` replaces its keys by others. It ends with its standard input.
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [modules, cert, key, port = "0"] = process.argv.slice(2);
console.info = console.warn = console.error; // standard output is for answers
const { default: Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`));

function jwk(type, options, alg) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: "jwk" }), alg, use: "sig", kid: randomUUID() };
}

function provider(issuer) {
  return new Provider(issuer, {
    jwks: { keys: [jwk("rsa", { modulusLength: 2048 }, "RS256"), jwk("ec", { namedCurve: "P-256" }, "ES256")] },
    clients: [{ client_id: "ci", client_secret: "secret", grant_types: ["client_credentials"], redirect_uris: [], response_types: [] }],
    cookies: { keys: [randomUUID()] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource) => ({
          scope: "mint",
          audience: resource,
          accessTokenFormat: "jwt",
          accessTokenTTL: 600,
          // What a test asks for by the path of its resource.
          jwt: { sign: { alg: resource.endsWith("/es256") ? "ES256" : "RS256" } },
        }),
      },
    },
    extraTokenClaims: () => ({ ref: "refs/heads/main", attempt: 3, protected: true }),
  });
}

const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) });
server.listen(Number(port), "127.0.0.1", () => {
  const issuer = `https://127.0.0.1:${server.address().port}`;
  let answer = provider(issuer).callback();
  server.on("request", (req, res) => answer(req, res));
  console.log(JSON.stringify({ issuer }));
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    if (line === "rotate") answer = provider(issuer).callback();
    console.log(JSON.stringify({ done: line }));
  });
  lines.on("close", () => process.exit(0));
});
