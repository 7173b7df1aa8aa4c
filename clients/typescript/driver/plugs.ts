import { readFile } from "node:fs/promises";

import type { Client } from "@jotsmith/client";
import { Client as GrpcClient, credentials, status } from "@grpc/grpc-js";

import type { Command } from "./command.js";

/** Makes a program's request through the plug of HTTP. */
export async function callHttp(
  command: Command,
  client: Client,
  signal: AbortSignal | undefined,
): Promise<{ status: number; body: string }> {
  const init: RequestInit = {
    headers: command.object("headers").entries() as [string, string][],
    signal: signal ?? null,
  };
  const method = command.text("method");
  const body = command.text("body");
  const response = await client.fetch(command.need("profile"))(command.need("url"), {
    ...init,
    ...(method === undefined ? {} : { method }),
    ...(body === undefined ? {} : { body }),
  });
  return { status: response.status, body: await response.text() };
}

/** Calls jotsmith.v1.KeyService/ListKeys through the plug of gRPC. */
export async function callGrpc(command: Command, client: Client): Promise<{ status: string }> {
  const ca = command.text("tls_ca");
  const tls = credentials.createSsl(ca === undefined ? null : await readFile(ca));
  const service = new GrpcClient(command.need("address"), client.channelCredentials(command.need("profile"), {}, tls));
  const empty = Buffer.alloc(0); // a ListKeysRequest that asks for all
  try {
    return await new Promise((resolve) => {
      const same = (bytes: Buffer) => bytes;
      service.makeUnaryRequest(
        "/jotsmith.v1.KeyService/ListKeys",
        same,
        same,
        empty,
        { deadline: Date.now() + 30_000 },
        (error) => {
          resolve({ status: status[error?.code ?? status.OK] });
        },
      );
    });
  } finally {
    service.close();
  }
}
