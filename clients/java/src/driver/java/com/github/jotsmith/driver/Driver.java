package com.github.jotsmith.driver;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The driver of clients/conformance/driver.md: does what each line of standard input says, with the
 * library's public methods alone, and writes an answer to standard output.
 */
public final class Driver {
    private final PrintStream out;
    private final Map<Long, Runnable> running = new ConcurrentHashMap<>(); // how each is cancelled
    private final Operations operations = new Operations();

    private Driver(PrintStream out) {
        this.out = out;
    }

    /** Runs until the end of standard input. */
    public static void main(String[] args) throws IOException, InterruptedException {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        System.setOut(System.err); // whatever else prints is for people
        new Driver(out).run(new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)));
        System.exit(0); // OkHttp's threads would keep the process for a minute
    }

    private void run(BufferedReader in) throws IOException, InterruptedException {
        List<Thread> commands = new ArrayList<>();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonObject command = JsonParser.parseString(line).getAsJsonObject();
            long id = command.get("id").getAsLong();
            if (command.get("op").getAsString().equals("cancel")) {
                Runnable cancel = running.get(command.get("of").getAsLong());
                if (cancel != null) {
                    cancel.run();
                }
                answer(id, new JsonObject());
                continue;
            }
            Thread thread = new Thread(() -> perform(id, command), "command-" + id);
            thread.setDaemon(true);
            running.put(id, thread::interrupt);
            commands.add(thread);
            thread.start();
        }
        operations.close();
        for (Thread thread : commands) {
            thread.join(5_000);
        }
    }

    private void perform(long id, JsonObject command) {
        JsonObject result;
        try {
            result = operations.perform(
                    command, part -> answer(id, part), cancel -> running.computeIfPresent(id, (key, old) -> cancel));
        } catch (Exception | Error e) {
            result = new JsonObject();
            result.add("error", Answers.error(e));
        }
        running.remove(id);
        answer(id, result);
    }

    private void answer(long id, JsonObject result) {
        JsonObject line = new JsonObject();
        line.addProperty("id", id);
        for (Map.Entry<String, JsonElement> member : result.entrySet()) {
            line.add(member.getKey(), member.getValue());
        }
        synchronized (out) {
            out.println(line);
            out.flush();
        }
    }
}
