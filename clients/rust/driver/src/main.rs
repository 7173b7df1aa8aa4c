//! The driver of clients/conformance/driver.md: it does what it is told with the
//! library's public API, and nothing that the library should do itself.

mod answer;
mod calls;
mod command;
mod plugs;
mod verify;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::{AbortHandle, abortable};
use jotsmith::Client;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, stdin, stdout},
    sync::mpsc,
};

use crate::{answer::Failure, command::Command};

/// What commands share.
#[derive(Clone)]
struct Driver {
    clients: Arc<Mutex<HashMap<String, Client>>>,
    running: Arc<Mutex<HashMap<u64, AbortHandle>>>,
    answers: mpsc::UnboundedSender<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    verify::install();
    let (answers, mut written) = mpsc::unbounded_channel::<String>();
    let writer = tokio::spawn(async move {
        let mut out = stdout();
        while let Some(line) = written.recv().await {
            out.write_all(line.as_bytes()).await?;
            out.flush().await?;
        }
        std::io::Result::Ok(())
    });
    let driver = Driver {
        clients: Arc::default(),
        running: Arc::default(),
        answers,
    };
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let command: Command = serde_json::from_str(&line)?;
        driver.begin(command);
    }
    for (_, client) in locked(&driver.clients).drain() {
        client.close();
    }
    drop(driver);
    writer.await??;
    Ok(())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Driver {
    /// Begins a command as it is read, and answers it when it is done.
    fn begin(&self, command: Command) {
        let id = command.id;
        let watch = command.op == "watch";
        if command.op == "cancel" {
            if let Some(running) = command.of.and_then(|of| locked(&self.running).remove(&of)) {
                running.abort();
            }
            self.answer(id, json!({}));
            return;
        }
        let driver = self.clone();
        let (work, handle) = abortable(async move { driver.run(command).await });
        locked(&self.running).insert(id, handle);
        let driver = self.clone();
        tokio::spawn(async move {
            let done = work.await;
            locked(&driver.running).remove(&id);
            let answer = match done {
                Ok(Ok(answer)) => answer,
                Ok(Err(failure)) if watch => json!({"end": true, "error": failure.to_json()}),
                Ok(Err(failure)) => json!({"error": failure.to_json()}),
                Err(_) if watch => json!({"end": true}),
                Err(e) => json!({"error": answer::aborted(e)}),
            };
            driver.answer(id, answer);
        });
    }

    async fn run(&self, command: Command) -> Result<Value, Failure> {
        match command.op.as_str() {
            "hello" => Ok(json!({
                "language": "rust",
                "library": format!("jotsmith-client {}", env!("CARGO_PKG_VERSION")),
                "jose": [verify::BY],
                "http": [plugs::HTTP],
                "grpc": [plugs::GRPC],
            })),
            "connect" => self.connect(command),
            "close" => {
                let client = self.client(&command)?;
                locked(&self.clients).remove(&command.client);
                client.close();
                locked(&self.clients).insert(command.client, client);
                Ok(json!({}))
            }
            "token" => self.token(command).await,
            "batch" => self.batch(command).await,
            "watch" => self.watch(command).await,
            "explain" => self.explain(command).await,
            "keys" => self.keys(command).await,
            "invalidate" => {
                self.client(&command)?.invalidate(&command.request.profile);
                Ok(json!({}))
            }
            "show" => self.show(command).await,
            "verify" => verify::verify(&command.jwt, &command.jwk),
            "http" => plugs::http(&self.client(&command)?, command).await,
            "grpc" => plugs::grpc(&self.client(&command)?, command).await,
            other => Err(Failure::other("driver", format!("there is no {other}"))),
        }
    }

    fn client(&self, command: &Command) -> Result<Client, Failure> {
        let found = locked(&self.clients).get(&command.client).cloned();
        found.ok_or_else(|| Failure::other("driver", format!("no client {}", command.client)))
    }

    fn answer(&self, id: u64, mut answer: Value) {
        answer["id"] = id.into();
        // Nobody reads any more where this fails.
        let _ = self.answers.send(format!("{answer}\n"));
    }
}
