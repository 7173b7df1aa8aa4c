import { X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import tls from "node:tls";

import { SettingError } from "./errors.js";

/** The PEM files of a connection; what is not set is undefined. */
export interface TLSFiles {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

const certificate = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Where the systems have the CAs that they trust, if the environment does not say. */
const systemBundles = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/** Reads the files into what TLS 1.3 needs. It fails with a SettingError. */
export function readTLS({ ca, cert, key }: TLSFiles): tls.SecureContext {
  if ((cert === undefined) !== (key === undefined)) {
    throw new SettingError("a client certificate and its key go together");
  }
  const options: tls.SecureContextOptions = { minVersion: "TLSv1.3" };
  const roots = ca === undefined ? systemRoots() : rootsOf(ca);
  if (roots !== undefined) {
    options.ca = roots;
  }
  if (cert === undefined || key === undefined) {
    return tls.createSecureContext(options);
  }
  options.cert = read("client certificate", cert);
  options.key = read("client certificate", key);
  try {
    return tls.createSecureContext(options);
  } catch (error) {
    throw new SettingError(`client certificate: ${cert} and ${key}: ${(error as Error).message}`);
  }
}

function rootsOf(file: string): string[] {
  const found = certificatesOf(read("CA of the server", file));
  if (found.length === 0) {
    throw new SettingError(`CA of the server: ${file} holds no PEM certificate`);
  }
  return found;
}

/** What of a PEM file can be a CA; a bundle may hold what this Node.js cannot read. */
function certificatesOf(pem: string): string[] {
  return (pem.match(certificate) ?? []).filter((one) => {
    try {
      return new X509Certificate(one).fingerprint256 !== "";
    } catch {
      return false;
    }
  });
}

/** The CAs of the system; undefined leaves those that come with Node.js. */
function systemRoots(): string[] | undefined {
  if ("getCACertificates" in tls) {
    // since Node.js 22.15
    const get = tls.getCACertificates as (of: "system" | "extra") => string[];
    const roots = [...get("system"), ...get("extra")];
    return roots.length > 0 ? roots : undefined;
  }
  const file = process.env.SSL_CERT_FILE ?? systemBundles.find((bundle) => existsSync(bundle));
  return file === undefined ? undefined : rootsOf(file);
}

function read(what: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new SettingError(`${what}: ${(error as Error).message}`);
  }
}
