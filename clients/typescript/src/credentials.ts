import { isIP, type Socket } from "node:net";
import { checkServerIdentity, connect, type ConnectionOptions, type SecureContext } from "node:tls";

import { CallCredentials, ChannelCredentials } from "@grpc/grpc-js";

import { readTLS, type TLSFiles } from "./files.js";

type Connector = ReturnType<ChannelCredentials["_createSecureConnector"]>;
type Connected = Awaited<ReturnType<Connector["connect"]>>;

/** How long a server may take for a connection before it is given up. */
const patienceMs = 5000;

/**
 * Credentials whose connections are given up where the server says nothing. gRPC itself
 * would wait for it without end.
 */
abstract class Patient extends ChannelCredentials {
  /** Makes of a new connection what carries HTTP/2. */
  protected abstract connected(socket: Socket): Promise<Connected>;

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(_target: unknown, _options: unknown, calls?: CallCredentials): Connector {
    const none = calls ?? CallCredentials.createEmpty();
    return {
      connect: (socket) => this.#inTime(socket),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => none,
      destroy: () => undefined,
    };
  }

  async #inTime(socket: Socket): Promise<Connected> {
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
    const connected = await Promise.race([this.connected(socket), late]);
    silent = () => !connected.secure && socket.bytesRead === 0;
    return connected;
  }
}

/**
 * Transport credentials that read their files for each connection, so that a certificate
 * that was renewed counts from the next one on. What cannot be read, because it is being
 * written just then, leaves what was read before.
 */
export class FreshTLS extends Patient {
  #last: SecureContext;

  /** `name` is that in the server's certificate. It fails with a SettingError. */
  constructor(
    private readonly files: TLSFiles,
    private readonly name: string,
  ) {
    super();
    this.#last = readTLS(files);
  }

  override _isSecure(): boolean {
    return true;
  }

  protected override connected(socket: Socket): Promise<Connected> {
    try {
      this.#last = readTLS(this.files);
    } catch {
      // what was read before stays
    }
    const { name } = this;
    const options: ConnectionOptions = {
      socket,
      secureContext: this.#last,
      ALPNProtocols: ["h2"],
      rejectUnauthorized: true, // whatever NODE_TLS_REJECT_UNAUTHORIZED says
      checkServerIdentity: (_, certificate) => checkServerIdentity(name, certificate),
    };
    if (isIP(name) === 0) {
      // an address is no name to ask for
      options.servername = name;
    }
    return new Promise((resolve, reject) => {
      const secured = connect(options, () => {
        resolve({ socket: secured, secure: true });
      });
      secured.on("error", reject);
      secured.once("close", () => {
        reject(new Error("the connection was closed in the TLS handshake"));
      });
    });
  }
}

/** Credentials of a connection that does not leave this machine. */
export class Plaintext extends Patient {
  override _isSecure(): boolean {
    return false;
  }

  protected override connected(socket: Socket): Promise<Connected> {
    return Promise.resolve({ socket, secure: false });
  }
}
