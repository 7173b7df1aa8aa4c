import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import {
  Client as GrpcClient,
  Metadata,
  type CallOptions as GrpcOptions,
  type ChannelOptions,
  type ServiceError,
} from "@grpc/grpc-js";

import type { Bearer } from "./bearer.js";
import type { Clock, Reading } from "./clock.js";
import { FreshTLS, Plaintext } from "./credentials.js";
import { expired, fromService, plain, type JotsmithError } from "./errors.js";
import type { Scope } from "./scope.js";
import type { Transport } from "./settings.js";

/** A message of a stream, and when it came. */
export interface Arrived<T> {
  readonly message: T;
  readonly at: Reading;
}

/** The channel to a server. gRPC makes its connections, and mends them. */
export class Connection {
  readonly #client: GrpcClient;
  readonly #bearer: Bearer | undefined;
  readonly #clock: Clock;

  constructor(transport: Transport, bearer: Bearer | undefined, clock: Clock) {
    this.#bearer = bearer;
    this.#clock = clock;
    const credentials = transport.kind === "tls" ? new FreshTLS(transport.files, transport.name) : new Plaintext();
    this.#client = new GrpcClient(transport.target, credentials, channelOptions(transport));
  }

  /** Makes one call, within its scope. It fails with a JotsmithError. */
  unary<I extends DescMessage, O extends DescMessage>(
    scope: Scope,
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>> {
    return new Promise((resolve, reject) => {
      const metadata = this.metadata();
      const call = this.#client.makeUnaryRequest(
        pathOf(method),
        encoder(method.input),
        decoder(method.output),
        create(method.input, request),
        metadata,
        options(scope),
        (error, response) => {
          scope.signal.removeEventListener("abort", cancel);
          if (error !== null) {
            reject(problem(scope, error));
          } else if (response === undefined) {
            reject(plain("INTERNAL", "the server answered nothing"));
          } else {
            resolve(response);
          }
        },
      );
      const cancel = () => {
        call.cancel();
      };
      onAbort(scope.signal, cancel);
    });
  }

  /**
   * Makes a call whose answers are a stream, within its scope, and says of each when it
   * came. The iteration fails with a JotsmithError, or ends where the server has ended
   * the stream.
   */
  async *stream<I extends DescMessage, O extends DescMessage>(
    scope: Scope,
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
  ): AsyncGenerator<Arrived<MessageShape<O>>, void, undefined> {
    const call = this.#client.makeServerStreamRequest(
      pathOf(method),
      encoder(method.input),
      decoder(method.output),
      create(method.input, request),
      this.metadata(),
      options(scope),
    );
    const cancel = () => {
      call.cancel();
    };
    const arrived: Arrived<MessageShape<O>>[] = [];
    const arrive = (message: MessageShape<O>) => {
      arrived.push({ message, at: this.#clock.now() });
    };
    let end: { error?: JotsmithError } | undefined;
    let wake: () => void = () => undefined;
    call.on("data", (message: MessageShape<O>) => {
      arrive(message);
      wake();
    });
    call.on("error", (error: ServiceError) => {
      // What came before the error counts; the stream may not have passed it on yet.
      for (let message: unknown = call.read(); message !== null; message = call.read()) {
        arrive(message as MessageShape<O>);
      }
      end ??= { error: problem(scope, error) };
      wake();
    });
    call.on("end", () => {
      end ??= {};
      wake();
    });
    onAbort(scope.signal, cancel);
    try {
      for (;;) {
        const next = arrived.shift();
        if (next !== undefined) {
          yield next;
        } else if (end !== undefined) {
          break;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
      if (end.error !== undefined) {
        throw end.error;
      }
    } finally {
      scope.signal.removeEventListener("abort", cancel);
      cancel();
    }
  }

  close(): void {
    this.#client.close();
  }

  private metadata(): Metadata {
    const metadata = new Metadata();
    if (this.#bearer !== undefined) {
      // Call credentials are not for a Unix socket; the settings keep it off plaintext.
      try {
        metadata.set("authorization", `Bearer ${this.#bearer.read()}`);
      } catch (error) {
        throw plain("UNAUTHENTICATED", (error as Error).message);
      }
    }
    return metadata;
  }
}

function channelOptions(transport: Transport): ChannelOptions {
  const common: ChannelOptions = {
    "grpc.primary_user_agent": "jotsmith-typescript",
    // What is tried again, and how, is decided here and not by gRPC or DNS.
    "grpc.enable_retries": 0,
    "grpc.service_config_disable_resolution": 1,
    "grpc.keepalive_time_ms": 45_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 5000,
    // No other part of the program has its connections closed with these, or the reverse.
    "grpc.use_local_subchannel_pool": 1,
  };
  if (transport.kind !== "tls") {
    return { ...common, "grpc.enable_http_proxy": 0 };
  }
  return transport.authority === undefined ? common : { ...common, "grpc.default_authority": transport.authority };
}

function onAbort(signal: AbortSignal, call: () => void): void {
  if (signal.aborted) {
    call();
  } else {
    signal.addEventListener("abort", call, { once: true });
  }
}

/** The scope ends the call by itself; the deadline is for the server to know. */
function options(scope: Scope): GrpcOptions {
  const left = scope.leftMs();
  return left === Infinity ? {} : { deadline: Date.now() + left };
}

/**
 * The error of a call: that of its scope, where it has ended. Where nobody has given it
 * up, and the server gives no reason, a call that is cancelled is a stream that was cut
 * off, as a server does with one whose deadline it sees pass first.
 */
function problem(scope: Scope, error: ServiceError): JotsmithError {
  const found = scope.error ?? fromService(error);
  if (found.code !== "CANCELLED" || found.reason !== "" || scope.error !== undefined) {
    return found;
  }
  return scope.late ? expired() : plain("UNAVAILABLE", `the stream was cut off: ${found.message}`);
}

function pathOf(method: { parent: { typeName: string }; name: string }): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function encoder<Desc extends DescMessage>(schema: Desc): (message: MessageShape<Desc>) => Buffer {
  return (message) => Buffer.from(toBinary(schema, message));
}

function decoder<Desc extends DescMessage>(schema: Desc): (bytes: Buffer) => MessageShape<Desc> {
  return (bytes) => fromBinary(schema, bytes);
}
