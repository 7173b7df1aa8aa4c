import { credentials, Metadata, type ChannelCredentials } from "@grpc/grpc-js";

import { SettingError } from "./errors.js";
import type { Token } from "./token.js";

/**
 * Channel credentials that carry a token with each call. gRPC would let call credentials
 * alone go over plaintext, so they come with their TLS: a token is as good as a password.
 */
export function carrying(
  token: () => Promise<Token>,
  base: ChannelCredentials = credentials.createSsl(),
): ChannelCredentials {
  if (!base._isSecure()) {
    throw new SettingError("a token is sent over TLS alone");
  }
  return base.compose(
    credentials.createFromMetadataGenerator((_, done) => {
      token().then(
        (got) => {
          const metadata = new Metadata();
          metadata.set("authorization", `Bearer ${got.reveal()}`);
          done(null, metadata);
        },
        (error: unknown) => {
          done(error as Error);
        },
      );
    }),
  );
}
