// Verifies tokens with a JOSE library for JavaScript: verify.mjs MODULES
// jose|jsonwebtoken. The latter gets its keys by jwks-rsa. Standard input and
// output are those of verify.py.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const require = createRequire(`${process.argv[2]}/`);
const given = JSON.parse(await text(process.stdin));

const libraries = {
  jose() {
    const { createRemoteJWKSet, jwtVerify } = require("jose");
    const keys = createRemoteJWKSet(new URL(given.jwks));
    return async (token) => {
      const { payload } = await jwtVerify(token, keys, {
        algorithms: ["ES256"],
        issuer: given.issuer,
        audience: given.audience,
        requiredClaims: ["exp", "iat", "sub"],
      });
      return payload.sub;
    };
  },
  jsonwebtoken() {
    const jwt = require("jsonwebtoken");
    const client = require("jwks-rsa")({ jwksUri: given.jwks });
    const key = (header, done) =>
      client.getSigningKey(header.kid, (error, found) => done(error, found?.getPublicKey()));
    return (token) =>
      new Promise((resolve, reject) => {
        const options = { algorithms: ["ES256"], issuer: given.issuer, audience: given.audience };
        jwt.verify(token, key, options, (error, claims) => (error ? reject(error) : resolve(claims.sub)));
      });
  },
};

const verify = libraries[process.argv[3]]();
for (const token of given.tokens) {
  try {
    console.log("yes", await verify(token));
  } catch (error) {
    console.log("no", error.name, error.message.replaceAll("\n", " "));
  }
}
