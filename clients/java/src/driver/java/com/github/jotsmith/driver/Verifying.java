package com.github.jotsmith.driver;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.ToNumberPolicy;
import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JWSObject;
import com.nimbusds.jose.crypto.ECDSAVerifier;
import com.nimbusds.jose.jwk.ECKey;
import com.nimbusds.jose.util.Base64URL;
import io.jsonwebtoken.Jwts;
import io.jsonwebtoken.gson.io.GsonDeserializer;
import io.jsonwebtoken.security.Jwks;
import io.jsonwebtoken.security.PublicJwk;
import java.security.Key;
import java.security.PublicKey;
import java.text.ParseException;

/** Verifies tokens with the JOSE libraries that Java's programs have. */
final class Verifying {
    private static final Gson EXACT = new GsonBuilder()
            .setObjectToNumberStrategy(ToNumberPolicy.LAZILY_PARSED_NUMBER)
            .create();

    private Verifying() {}

    static JsonArray libraries() {
        JsonArray all = new JsonArray();
        all.add("nimbus-jose-jwt " + version(JWSObject.class, "10.10"));
        all.add("jjwt " + version(Jwts.class, "0.13.0"));
        return all;
    }

    private static String version(Class<?> of, String otherwise) {
        String said = of.getPackage().getImplementationVersion();
        return said == null ? otherwise : said;
    }

    static JsonObject verify(String jwt, String jwk) throws ParseException, JOSEException {
        JsonArray verified = new JsonArray();
        verified.add(nimbus(jwt, jwk));
        verified.add(jjwt(jwt, jwk));
        JsonObject o = new JsonObject();
        o.add("verified", verified);
        return o;
    }

    private static JsonObject nimbus(String jwt, String jwk) throws ParseException, JOSEException {
        JWSObject jws = JWSObject.parse(jwt);
        if (!jws.verify(new ECDSAVerifier(ECKey.parse(jwk)))) {
            throw new JOSEException("nimbus-jose-jwt: the signature is not the key's");
        }
        return verified(
                "nimbus-jose-jwt", jws.getHeader().toBase64URL(), jws.getPayload().toBase64URL());
    }

    /** It says what it verified as objects; the texts that they are of are those that were signed. */
    private static JsonObject jjwt(String jwt, String jwk) {
        Key key = ((PublicJwk<?>) Jwks.parser().build().parse(jwk)).toKey();
        Jwts.parser()
                .verifyWith((PublicKey) key)
                .clockSkewSeconds(365L * 24 * 3600) // a signature is what is asked about
                .json(new GsonDeserializer<>(EXACT))
                .build()
                .parseSignedClaims(jwt);
        int dot = jwt.indexOf('.');
        return verified(
                "jjwt",
                new Base64URL(jwt.substring(0, dot)),
                new Base64URL(jwt.substring(dot + 1, jwt.lastIndexOf('.'))));
    }

    private static JsonObject verified(String by, Base64URL header, Base64URL payload) {
        JsonObject o = new JsonObject();
        o.addProperty("by", by);
        o.addProperty("header", header.decodeToString());
        o.addProperty("payload", payload.decodeToString());
        return o;
    }
}
