import type { Socket } from "node:net";
import type { SecureContext } from "node:tls";

import { ChannelCredentials } from "@grpc/grpc-js";

import { readTLS, type TLSFiles } from "./files.js";

type Connecting = Parameters<ChannelCredentials["_createSecureConnector"]>;
type Connector = ReturnType<ChannelCredentials["_createSecureConnector"]>;
type Connected = Awaited<ReturnType<Connector["connect"]>>;

/** How long a server may take for a connection before it is given up. */
const patienceMs = 5000;

/**
 * Credentials that have others for each connection. gRPC itself would wait without end
 * for a server that takes a connection and says nothing.
 */
abstract class PerConnection extends ChannelCredentials {
  /** The credentials of the next connection. */
  protected abstract now(): ChannelCredentials;

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(...args: Connecting): Connector {
    const first = this.now()._createSecureConnector(...args);
    return {
      connect: (socket) => patient(socket, this.now()._createSecureConnector(...args)),
      waitForReady: () => first.waitForReady(),
      getCallCredentials: () => first.getCallCredentials(),
      destroy: () => {
        first.destroy();
      },
    };
  }
}

/**
 * Transport credentials that read their files for each connection, so that a certificate
 * that was renewed counts from the next one on. What cannot be read, because it is being
 * written just then, leaves what was read before.
 */
export class FreshTLS extends PerConnection {
  #last: SecureContext;

  /** Fails with a SettingError. */
  constructor(private readonly files: TLSFiles) {
    super();
    this.#last = readTLS(files);
  }

  override _isSecure(): boolean {
    return true;
  }

  protected override now(): ChannelCredentials {
    try {
      this.#last = readTLS(this.files);
    } catch {
      // what was read before stays
    }
    return ChannelCredentials.createFromSecureContext(this.#last);
  }
}

/** Credentials of a connection that does not leave this machine. */
export class Plaintext extends PerConnection {
  override _isSecure(): boolean {
    return false;
  }

  protected override now(): ChannelCredentials {
    return ChannelCredentials.createInsecure();
  }
}

/** Makes a connection, unless its server says nothing in time. */
async function patient(socket: Socket, connector: Connector): Promise<Connected> {
  let silent = () => true; // with TLS, until its handshake is done
  const late = new Promise<never>((_, reject) => {
    const timer = setTimeout(() => {
      if (silent()) {
        const error = new Error(`the server said nothing in ${patienceMs} ms`);
        socket.destroy(error);
        reject(error);
      }
    }, patienceMs);
    timer.unref();
    socket.once("close", () => {
      clearTimeout(timer);
    });
  });
  const connected = await Promise.race([connector.connect(socket), late]);
  silent = () => !connected.secure && socket.bytesRead === 0;
  late.catch(() => undefined); // the closed connection says it to gRPC
  return connected;
}
