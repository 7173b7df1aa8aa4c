import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  Server,
  ServerCredentials,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type MethodDefinition,
  type UntypedHandleCall,
} from "@grpc/grpc-js";

import {
  MintTokenRequestSchema,
  MintTokenResponseSchema,
  WatchTokenRequestSchema,
  WatchTokenResponseSchema,
  type MintTokenRequest,
  type MintTokenResponse,
  type WatchTokenRequest,
  type WatchTokenResponse,
} from "../src/gen/jotsmith/v1/token_service_pb.js";
import { connect, type Client, type Settings } from "../src/index.js";

/** What a server does; what is not there is UNIMPLEMENTED. */
export interface Handlers {
  mint?: handleUnaryCall<MintTokenRequest, MintTokenResponse>;
  watch?: handleServerStreamingCall<WatchTokenRequest, WatchTokenResponse>;
}

const mint: MethodDefinition<MintTokenRequest, MintTokenResponse> = {
  path: "/jotsmith.v1.TokenService/MintToken",
  requestStream: false,
  responseStream: false,
  requestSerialize: (message) => Buffer.from(toBinary(MintTokenRequestSchema, message)),
  requestDeserialize: (bytes) => fromBinary(MintTokenRequestSchema, bytes),
  responseSerialize: (message) => Buffer.from(toBinary(MintTokenResponseSchema, message)),
  responseDeserialize: (bytes) => fromBinary(MintTokenResponseSchema, bytes),
};

const watch: MethodDefinition<WatchTokenRequest, WatchTokenResponse> = {
  path: "/jotsmith.v1.TokenService/WatchToken",
  requestStream: false,
  responseStream: true,
  requestSerialize: (message) => Buffer.from(toBinary(WatchTokenRequestSchema, message)),
  requestDeserialize: (bytes) => fromBinary(WatchTokenRequestSchema, bytes),
  responseSerialize: (message) => Buffer.from(toBinary(WatchTokenResponseSchema, message)),
  responseDeserialize: (bytes) => fromBinary(WatchTokenResponseSchema, bytes),
};

/** A place for a socket, which ends with the test. */
export function socketOf(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "jot"));
  t.after(() => {
    rmSync(dir, { recursive: true });
  });
  return join(dir, "s");
}

/** Runs a server, which whoever calls this shuts down. */
export async function bind(
  address: string,
  credentials: ServerCredentials,
  handlers: Handlers,
): Promise<{ server: Server; port: number }> {
  const server = new Server();
  server.addService({ mint, watch }, handlers as Record<string, UntypedHandleCall>);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, credentials, (error, bound) => {
      if (error === null) {
        resolve(bound);
      } else {
        reject(error);
      }
    });
  });
  return { server, port };
}

/** Runs a server on a socket that ends with the test. */
export async function serve(t: TestContext, socket: string, handlers: Handlers): Promise<void> {
  const { server } = await bind(`unix://${socket}`, ServerCredentials.createInsecure(), handlers);
  t.after(() => {
    server.forceShutdown();
  });
}

/** A client of a socket, which ends with the test. */
export function clientOf(t: TestContext, socket: string, settings: Settings = {}): Client {
  const client = connect(`unix://${socket}`, settings);
  t.after(() => {
    client.close();
  });
  return client;
}

/** An answer with a token that lasts ten minutes, or whatever else is said. */
export function answer(token: string, other: MessageInitShape<typeof MintTokenResponseSchema> = {}): MintTokenResponse {
  const now = Date.now();
  return create(MintTokenResponseSchema, {
    token,
    kid: "kid",
    answerTime: timestampFromMs(now),
    refreshTime: timestampFromMs(now + 400_000),
    expireTime: timestampFromMs(now + 600_000),
    ...other,
  });
}
