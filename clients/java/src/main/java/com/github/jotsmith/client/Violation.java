package com.github.jotsmith.client;

/**
 * What is wrong with one field of a request.
 *
 * @param field as in "ttl" or "claims.sub"
 * @param description what is wrong with it, for people
 */
public record Violation(String field, String description) {}
