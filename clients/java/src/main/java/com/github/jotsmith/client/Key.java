package com.github.jotsmith.client;

import java.security.interfaces.ECPublicKey;
import java.util.List;

/**
 * The public half of a key that signs tokens.
 *
 * @param kid as in the tokens' header
 * @param algorithm always "ES256"
 * @param publicKey the key
 * @param jwk the key as the text of a JSON Web Key
 * @param profiles those of its profiles that the caller may mint
 */
public record Key(String kid, String algorithm, ECPublicKey publicKey, String jwk, List<String> profiles) {}
