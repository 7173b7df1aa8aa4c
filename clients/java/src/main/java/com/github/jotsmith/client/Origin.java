package com.github.jotsmith.client;

import java.net.URI;
import java.util.Locale;

/**
 * Where a request goes: the answer of one server must not say that another gets the token.
 *
 * @param scheme in lower case
 * @param host in lower case
 * @param port the scheme's own where the URI names none
 */
record Origin(String scheme, String host, int port) {
    static Origin of(URI uri) {
        String scheme = uri.getScheme().toLowerCase(Locale.ROOT);
        int port = uri.getPort() >= 0 ? uri.getPort() : scheme.equals("https") ? 443 : 80;
        return new Origin(scheme, uri.getHost().toLowerCase(Locale.ROOT), port);
    }
}
