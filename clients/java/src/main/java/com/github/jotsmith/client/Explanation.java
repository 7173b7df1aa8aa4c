package com.github.jotsmith.client;

import java.time.Duration;
import java.util.List;
import java.util.Optional;

/**
 * What a token would be, or why there would be none.
 *
 * @param grant the name of the grant that lets the caller have it
 * @param refusals all reasons why token would fail; none where it would not
 * @param header a JSON object; empty where the request itself is refused
 * @param claims a JSON object in which random values are examples; empty like header
 * @param decisions where each header parameter and claim comes from
 * @param ttl how long it would be valid; empty where it would not expire
 * @param limits the profile's, in words
 * @param generation the name of the configuration that the server decided under
 */
public record Explanation(
        String grant,
        List<JotsmithException> refusals,
        String header,
        String claims,
        List<Decision> decisions,
        Optional<Duration> ttl,
        List<String> limits,
        String generation) {

    /**
     * Where one header parameter or claim comes from.
     *
     * @param name of the claim, or "header." and that of a header parameter
     * @param rule in words
     * @param doc the document of the verifier that demands it; empty where none is known
     * @param present whether the token would have it
     */
    public record Decision(String name, String rule, String doc, boolean present) {}
}
