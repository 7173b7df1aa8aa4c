package com.github.jotsmith.client;

import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.Flow;

/**
 * The body of an answer: what the program's handler made of it, or its bytes, as long as it is not
 * known whether the program is to have them.
 */
final class Held<T> {
    private final T body; // the program's, where there are no bytes
    private final byte[] bytes; // or null
    private final HttpResponse.ResponseInfo info; // what the program's handler is still to be asked about

    private Held(T body, byte[] bytes, HttpResponse.ResponseInfo info) {
        this.body = body;
        this.bytes = bytes;
        this.info = info;
    }

    /** A handler of the program's, whose bodies are handed through. */
    static <T> HttpResponse.BodySubscriber<Held<T>> through(
            HttpResponse.BodyHandler<T> handler, HttpResponse.ResponseInfo info) {
        return HttpResponse.BodySubscribers.mapping(handler.apply(info), body -> new Held<>(body, null, null));
    }

    /** The bytes, for later. */
    static <T> HttpResponse.BodySubscriber<Held<T>> back(HttpResponse.ResponseInfo info) {
        return HttpResponse.BodySubscribers.mapping(
                HttpResponse.BodySubscribers.ofByteArray(), bytes -> new Held<>(null, bytes, info));
    }

    /** Nothing: the body of a redirect that is followed. */
    static <T> HttpResponse.BodySubscriber<Held<T>> dropped() {
        return HttpResponse.BodySubscribers.replacing(new Held<>(null, null, null));
    }

    /** The program's handler of what a server pushes, which gets no token and is not repeated. */
    static <T> HttpResponse.PushPromiseHandler<Held<T>> pushed(HttpResponse.PushPromiseHandler<T> handler) {
        return (request, push, accept) -> handler.applyPushPromise(
                request,
                push,
                bodies -> accept.apply(info -> through(bodies, info))
                        .thenApply(response -> new HeldResponse<>(response, response.body().body)));
    }

    /** The body as the handler makes it of the bytes that were held. */
    T body(HttpResponse.BodyHandler<T> handler) {
        if (bytes == null) {
            return body;
        }
        HttpResponse.BodySubscriber<T> subscriber = handler.apply(info);
        subscriber.onSubscribe(new Flow.Subscription() {
            private boolean given;

            @Override
            public void request(long n) {
                if (!given) {
                    given = true;
                    if (bytes.length > 0) {
                        subscriber.onNext(List.of(ByteBuffer.wrap(bytes).asReadOnlyBuffer()));
                    }
                    subscriber.onComplete();
                }
            }

            @Override
            public void cancel() {
                given = true;
            }
        });
        return subscriber.getBody().toCompletableFuture().join();
    }
}
