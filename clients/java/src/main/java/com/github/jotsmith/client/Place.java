package com.github.jotsmith.client;

import java.time.Duration;

/**
 * Where a token is kept: requests that differ in nothing else can have the same token.
 *
 * @param profile the profile's name
 * @param claims the claims in their canonical form
 * @param ttl how long the token is to be valid, or null
 */
record Place(String profile, String claims, Duration ttl) {}
