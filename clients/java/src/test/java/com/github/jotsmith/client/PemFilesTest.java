package com.github.jotsmith.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.interfaces.ECPrivateKey;
import java.security.spec.ECGenParameterSpec;
import java.util.Arrays;
import java.util.Base64;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PemFilesTest {
    /** The curves and their OIDs. */
    private static final Map<String, String> CURVES = Map.of(
            "secp256r1", "06082a8648ce3d030107", "secp384r1", "06052b81040022", "secp521r1", "06052b81040023");

    @TempDir
    private Path dir;

    private Path file(String label, byte[] der, String before) throws Exception {
        String text = Base64.getMimeEncoder(64, new byte[] {'\r', '\n'}).encodeToString(der);
        String pem = before + "-----BEGIN " + label + "-----\r\n" + text + "\r\n-----END " + label + "-----";
        return Files.writeString(dir.resolve("key.pem"), pem);
    }

    private static PrivateKey generate(String kind, String curve) throws GeneralSecurityException {
        KeyPairGenerator generator = KeyPairGenerator.getInstance(kind);
        if (curve != null) {
            generator.initialize(new ECGenParameterSpec(curve));
        }
        return generator.generateKeyPair().getPrivate();
    }

    /** The ECPrivateKey of RFC 5915, as OpenSSL writes it, without the public half. */
    private static byte[] sec1(ECPrivateKey key, byte[] oid) {
        int size = (key.getParams().getCurve().getField().getFieldSize() + 7) / 8;
        byte[] secret = new byte[size];
        byte[] s = key.getS().toByteArray();
        int n = Math.min(s.length, size);
        System.arraycopy(s, s.length - n, secret, size - n, n);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(0x30);
        out.write(3 + 2 + size + (oid == null ? 0 : 2 + oid.length));
        out.writeBytes(new byte[] {2, 1, 1, 4, (byte) size});
        out.writeBytes(secret);
        if (oid != null) {
            out.write(0xa0);
            out.write(oid.length);
            out.writeBytes(oid);
        }
        return out.toByteArray();
    }

    @Test
    void everyFormOfAPrivateKeyIsRead() throws Exception {
        for (var curve : CURVES.entrySet()) {
            ECPrivateKey key = (ECPrivateKey) generate("EC", curve.getKey());
            byte[] oid = new BigInteger(curve.getValue(), 16).toByteArray();
            Path sec1 = file("EC PRIVATE KEY", sec1(key, oid), "");
            assertEquals(key.getS(), ((ECPrivateKey) PemFiles.privateKey(sec1)).getS());
            assertEquals(key.getParams(), ((ECPrivateKey) PemFiles.privateKey(sec1)).getParams());
            assertEquals(key, PemFiles.privateKey(file("PRIVATE KEY", key.getEncoded(), "a comment\n")));
            GeneralSecurityException e = assertThrows(
                    GeneralSecurityException.class,
                    () -> PemFiles.privateKey(file("EC PRIVATE KEY", sec1(key, null), "")));
            assertTrue(e.getMessage().contains("does not name its curve"), e.getMessage());
        }
        PrivateKey rsa = generate("RSA", null);
        byte[] pkcs8 = rsa.getEncoded();
        byte[] pkcs1 = Arrays.copyOfRange(pkcs8, 26, pkcs8.length); // after the algorithm and the tag
        assertEquals(rsa, PemFiles.privateKey(file("RSA PRIVATE KEY", pkcs1, "")));
        PrivateKey ed = generate("Ed25519", null);
        assertEquals(ed, PemFiles.privateKey(file("PRIVATE KEY", ed.getEncoded(), "")));
    }

    @Test
    void whatIsNoKeySaysSo() throws Exception {
        byte[] junk = {1, 2, 3};
        for (var wrong : Map.of(
                        "PRIVATE KEY", "no known kind",
                        "EC PRIVATE KEY", "does not name its curve",
                        "RSA PRIVATE KEY", "no known kind",
                        "ENCRYPTED PRIVATE KEY", "encrypted",
                        "CERTIFICATE", "no PEM private key")
                .entrySet()) {
            Path file = file(wrong.getKey(), junk, "");
            Exception e = assertThrows(GeneralSecurityException.class, () -> PemFiles.privateKey(file), wrong.getKey());
            assertTrue(e.getMessage().contains(wrong.getValue()) && e.getMessage().contains("key.pem"), e.getMessage());
        }
        Path cut = Files.writeString(dir.resolve("cut.pem"), "-----BEGIN PRIVATE KEY-----\nAAAA");
        assertThrows(GeneralSecurityException.class, () -> PemFiles.privateKey(cut));
        assertThrows(GeneralSecurityException.class, () -> PemFiles.certificates(cut));
    }
}
