package com.github.jotsmith.client;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.Signature;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.InvalidKeySpecException;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Reads certificates and private keys from PEM files (RFC 7468). */
final class PemFiles {
    private static final Pattern BLOCK =
            Pattern.compile("-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\\s]+)-----END \\1-----");

    /** The OIDs of the keys that have a PEM form of their own, in DER with tag and length. */
    private static final byte[] RSA = {
        0x30, 0x0d, 0x06, 0x09, 0x2a, (byte) 0x86, 0x48, (byte) 0x86, (byte) 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00
    };

    private static final byte[] EC = {0x06, 0x07, 0x2a, (byte) 0x86, 0x48, (byte) 0xce, 0x3d, 0x02, 0x01};

    private PemFiles() {}

    /**
     * One block of a file.
     *
     * @param file the file
     * @param label what the block says it is
     * @param base64 its content, with white space
     */
    private record Block(Path file, String label, String base64) {
        byte[] der() throws GeneralSecurityException {
            try {
                return Base64.getMimeDecoder().decode(base64);
            } catch (IllegalArgumentException notBase64) {
                throw new GeneralSecurityException(file + " holds a PEM block that is cut off", notBase64);
            }
        }
    }

    /**
     * The certificates of a file, in its order.
     *
     * @throws GeneralSecurityException where it holds none
     */
    static X509Certificate[] certificates(Path file) throws IOException, GeneralSecurityException {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        List<X509Certificate> found = new ArrayList<>();
        for (Block block : blocks(file)) {
            if (block.label.equals("CERTIFICATE")) {
                found.add((X509Certificate) factory.generateCertificate(new ByteArrayInputStream(block.der())));
            }
        }
        if (found.isEmpty()) {
            throw new GeneralSecurityException(file + " holds no PEM certificate");
        }
        return found.toArray(new X509Certificate[0]);
    }

    /**
     * The private key of a file: PKCS #8, or what OpenSSL and cert-manager write as "EC PRIVATE KEY"
     * and "RSA PRIVATE KEY".
     *
     * @throws GeneralSecurityException where it holds none that can be used
     */
    static PrivateKey privateKey(Path file) throws IOException, GeneralSecurityException {
        for (Block block : blocks(file)) {
            switch (block.label) {
                case "PRIVATE KEY" -> {
                    return decode(file, block.der());
                }
                case "EC PRIVATE KEY" -> {
                    return decode(file, wrapped(sequence(EC, curve(file, block.der())), block.der()));
                }
                case "RSA PRIVATE KEY" -> {
                    return decode(file, wrapped(RSA, block.der()));
                }
                case "ENCRYPTED PRIVATE KEY" -> throw new GeneralSecurityException(
                        file + " holds an encrypted key, which nobody here can open");
                default -> {} // a certificate, or the parameters of a curve
            }
        }
        throw new GeneralSecurityException(file + " holds no PEM private key");
    }

    /**
     * Whether a private key is that of a certificate. While a pair is being replaced, it may not be.
     *
     * @throws GeneralSecurityException where the key is of a kind that cannot sign
     */
    static boolean together(X509Certificate certificate, PrivateKey key) throws GeneralSecurityException {
        if (!certificate.getPublicKey().getAlgorithm().equals(key.getAlgorithm())) {
            return false;
        }
        Signature signature = Signature.getInstance(
                switch (key.getAlgorithm()) {
                    case "EC" -> "SHA256withECDSA";
                    case "RSA" -> "SHA256withRSA";
                    default -> key.getAlgorithm();
                });
        byte[] text = {1};
        signature.initSign(key);
        signature.update(text);
        byte[] signed = signature.sign();
        signature.initVerify(certificate.getPublicKey());
        signature.update(text);
        return signature.verify(signed);
    }

    private static PrivateKey decode(Path file, byte[] pkcs8) throws GeneralSecurityException {
        for (String kind : List.of("EC", "RSA", "EdDSA")) {
            try {
                return KeyFactory.getInstance(kind).generatePrivate(new PKCS8EncodedKeySpec(pkcs8));
            } catch (InvalidKeySpecException ofAnotherKind) {
                // The next kind may be the one.
            }
        }
        throw new GeneralSecurityException(file + " holds a private key of no known kind");
    }

    private static List<Block> blocks(Path file) throws IOException {
        List<Block> found = new ArrayList<>();
        Matcher next = BLOCK.matcher(Files.readString(file, StandardCharsets.ISO_8859_1));
        while (next.find()) {
            found.add(new Block(file, next.group(1), next.group(2)));
        }
        return found;
    }

    /** The PKCS #8 (RFC 5208) of an algorithm and a key. */
    private static byte[] wrapped(byte[] algorithm, byte[] key) {
        return sequence(new byte[] {0x02, 0x01, 0x00}, algorithm, tagged(0x04, key));
    }

    /** The curve's OID, the [0] of an ECPrivateKey (RFC 5915), which stands after the secret. */
    private static byte[] curve(Path file, byte[] sec1) throws GeneralSecurityException {
        int secret = indexOf(sec1, (byte) 0x04); // the OCTET STRING after the version
        int at = secret < 0 || secret + 1 >= sec1.length ? sec1.length : secret + 2 + sec1[secret + 1];
        if (at + 4 > sec1.length || sec1[at] != (byte) 0xa0 || at + 2 + sec1[at + 1] > sec1.length) {
            throw new GeneralSecurityException(file + " holds an EC key that does not name its curve");
        }
        byte[] oid = new byte[sec1[at + 1]];
        System.arraycopy(sec1, at + 2, oid, 0, oid.length);
        return oid;
    }

    private static int indexOf(byte[] data, byte wanted) {
        for (int i = 0; i < Math.min(data.length, 8); i++) {
            if (data[i] == wanted) {
                return i;
            }
        }
        return -1;
    }

    private static byte[] sequence(byte[]... parts) {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            all.writeBytes(part);
        }
        return tagged(0x30, all.toByteArray());
    }

    private static byte[] tagged(int tag, byte[] content) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(tag);
        if (content.length < 0x80) {
            out.write(content.length);
        } else if (content.length < 0x100) {
            out.write(0x81);
            out.write(content.length);
        } else {
            out.write(0x82);
            out.write(content.length >> 8);
            out.write(content.length);
        }
        out.writeBytes(content);
        return out.toByteArray();
    }

    /** Why a file cannot be read, for people. */
    static String why(IOException e) {
        if (e instanceof NoSuchFileException) {
            return "no such file: " + e.getMessage();
        }
        if (e instanceof AccessDeniedException) {
            return "permission denied: " + e.getMessage();
        }
        return String.valueOf(e.getMessage());
    }
}
