//! The operations on a client.

use std::time::Duration;

use jotsmith::Settings;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    Driver,
    answer::{self, Failure, millis},
    command::{Command, Request},
    locked,
};

impl Driver {
    pub fn connect(&self, command: Command) -> Result<Value, Failure> {
        let given = command.settings;
        let mut settings = Settings::new();
        if let Some(address) = command.address {
            settings = settings.address(address);
        }
        if let Some(file) = given.tls_ca {
            settings = settings.tls_ca(file);
        }
        if let Some(file) = given.tls_cert {
            settings = settings.tls_cert(file);
        }
        if let Some(file) = given.tls_key {
            settings = settings.tls_key(file);
        }
        if let Some(name) = given.tls_server_name {
            settings = settings.tls_server_name(name);
        }
        if let Some(yes) = given.plaintext_loopback {
            settings = settings.plaintext_loopback(yes);
        }
        if let Some(text) = given.bearer {
            settings = settings.bearer(text);
        }
        if let Some(file) = given.bearer_file {
            settings = settings.bearer_file(file);
        }
        if let Some(timeout) = given.timeout {
            settings = settings.timeout(Duration::from_millis(timeout));
        }
        let client = settings.connect()?;
        locked(&self.clients).insert(command.client, client);
        Ok(json!({}))
    }

    pub async fn token(&self, command: Command) -> Result<Value, Failure> {
        let client = self.client(&command)?;
        let mut callers = JoinSet::new();
        for _ in 0..command.callers.unwrap_or(1) {
            let client = client.clone();
            let request = command.request.native();
            let timeout = command.timeout;
            callers.spawn(async move {
                let mut call = client.token(request);
                if let Some(timeout) = timeout {
                    call = call.timeout(Duration::from_millis(timeout));
                }
                call.await
            });
        }
        let mut tokens = Vec::new();
        while let Some(done) = callers.join_next().await {
            let token = done.map_err(|e| Failure::other("panic", e))??;
            tokens.push(answer::token(&token));
        }
        Ok(json!({"tokens": tokens}))
    }

    pub async fn batch(&self, command: Command) -> Result<Value, Failure> {
        let client = self.client(&command)?;
        let results = client
            .batch(command.requests.iter().map(Request::native))
            .await?;
        let results = results.iter().map(|result| match result {
            Ok(token) => json!({"token": answer::token(token)}),
            Err(e) => json!({"error": answer::error(e)}),
        });
        Ok(json!({"results": results.collect::<Vec<_>>()}))
    }

    pub async fn watch(&self, command: Command) -> Result<Value, Failure> {
        let mut watch = self.client(&command)?.watch(command.request.native());
        while let Some(token) = watch.next().await {
            self.answer(command.id, json!({"token": answer::token(&token?)}));
        }
        Ok(json!({"end": true}))
    }

    pub async fn explain(&self, command: Command) -> Result<Value, Failure> {
        let client = self.client(&command)?;
        let found = client.explain(command.request.native()).await?;
        let mut answer = json!({
            "grant": found.grant,
            "refusals": found.refusals.iter().map(answer::error).collect::<Vec<_>>(),
            "header": found.header,
            "claims": found.claims,
        });
        if let Some(ttl) = found.ttl {
            answer["ttl"] = millis(ttl).into();
        }
        Ok(answer)
    }

    pub async fn keys(&self, command: Command) -> Result<Value, Failure> {
        let keys = self
            .client(&command)?
            .keys(&command.request.profile)
            .await?;
        let keys = keys.into_iter().map(|key| {
            json!({"kid": key.kid, "algorithm": key.algorithm, "jwk": key.jwk, "profiles": key.profiles})
        });
        Ok(json!({"keys": keys.collect::<Vec<_>>()}))
    }

    pub async fn show(&self, command: Command) -> Result<Value, Failure> {
        let client = self.client(&command)?;
        let token = client.token(command.request.native()).await?;
        let encoded = serde_json::to_string(&token).map_err(|e| Failure::other("json", e))?;
        Ok(json!({"shown": format!("{token} {token:?} {token:#?} {encoded}")}))
    }
}
