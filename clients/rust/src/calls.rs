//! The calls beside `token` and `watch`.

use std::time::Duration;

use crate::{
    Client, Error, Request, Token,
    lifetime::Reading,
    proto::{
        BatchMintTokensRequest, ExplainTokenRequest, ListKeysRequest,
        batch_mint_tokens_result::Outcome, key_service_client::KeyServiceClient,
        token_service_client::TokenServiceClient,
    },
};

/// What a token would be, or why there would be none.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The name of the grant that lets the caller have it.
    pub grant: String,
    /// All reasons why [`Client::token`] would fail. None where it would not.
    pub refusals: Vec<Error>,
    /// The header, a JSON object. Random values are examples.
    pub header: String,
    /// The claims, a JSON object. Random values are examples.
    pub claims: String,
    /// Where each header parameter and claim comes from.
    pub decisions: Vec<Decision>,
    /// How long it would be valid. None where it would not expire.
    pub ttl: Option<Duration>,
    /// The profile's limits, in words.
    pub limits: Vec<String>,
    /// The name of the configuration that the server decided under.
    pub generation: String,
}

/// Where one header parameter or claim comes from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Decision {
    /// The name of the claim, or `header.` and the name of a header parameter.
    pub name: String,
    /// The rule in words.
    pub rule: String,
    /// The document of the verifier that demands the rule. Empty where none is known.
    pub doc: String,
    /// Whether the token would have it.
    pub present: bool,
}

/// The public half of a key that signs tokens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Key {
    /// The name that the tokens carry in their header.
    pub kid: String,
    /// The JWS algorithm, always `ES256`.
    pub algorithm: String,
    /// The key as a DER `SubjectPublicKeyInfo` (RFC 5280).
    pub spki: Vec<u8>,
    /// The key as a JSON Web Key (RFC 7517), as JSON.
    pub jwk: String,
    /// The profiles whose tokens it signs, of those that the caller may mint.
    pub profiles: Vec<String>,
}

impl Client {
    /// Asks for up to 256 tokens at once. The result has a token or an error for each
    /// request, in their order. Nothing of it is kept.
    ///
    /// # Errors
    /// That of the call as a whole.
    pub async fn batch<R: Into<Request>>(
        &self,
        requests: impl IntoIterator<Item = R>,
    ) -> Result<Vec<Result<Token, Error>>, Error> {
        let messages: Result<Vec<_>, Error> = requests
            .into_iter()
            .map(|request| request.into().message())
            .collect();
        let message = BatchMintTokensRequest {
            requests: messages?,
        };
        let asked_for = message.requests.len();
        let mut asked = Reading::now();
        let answer = self
            .call(|conn, left| {
                asked = Reading::now();
                let request = limited(message.clone(), left);
                async move {
                    TokenServiceClient::new(conn)
                        .batch_mint_tokens(request)
                        .await
                }
            })
            .await?;
        if answer.results.len() != asked_for {
            return Err(Error::nonsense(format!(
                "{} results for {asked_for} requests",
                answer.results.len()
            )));
        }
        let results = answer
            .results
            .into_iter()
            .map(|result| match result.outcome {
                Some(Outcome::Token(token)) => Ok(Token::received(token, asked)),
                Some(Outcome::Error(status)) => Err(Error::of_proto(&status)),
                None => Err(Error::nonsense("a result without an outcome")),
            });
        Ok(results.collect())
    }

    /// Says what [`token`](Self::token) would get from the server. Nothing is signed or
    /// kept.
    ///
    /// # Errors
    /// That of this call: the token's are in the answer.
    pub async fn explain(&self, request: impl Into<Request>) -> Result<Explanation, Error> {
        let message = ExplainTokenRequest {
            request: Some(request.into().message()?),
        };
        let answer = self
            .call(|conn, left| {
                let request = limited(message.clone(), left);
                async move { TokenServiceClient::new(conn).explain_token(request).await }
            })
            .await?;
        let decisions = answer.decisions.into_iter().map(|d| Decision {
            name: d.name,
            rule: d.rule,
            doc: d.doc,
            present: d.present,
        });
        Ok(Explanation {
            grant: answer.grant,
            refusals: answer.refusals.iter().map(Error::of_proto).collect(),
            header: answer.header,
            claims: answer.claims,
            decisions: decisions.collect(),
            ttl: answer.ttl.and_then(|ttl| Duration::try_from(ttl).ok()),
            limits: answer.limits,
            generation: answer.config_generation,
        })
    }

    /// The keys of the profiles that the caller may mint, of one profile alone where it is
    /// not empty.
    ///
    /// # Errors
    /// That of the call.
    pub async fn keys(&self, profile: &str) -> Result<Vec<Key>, Error> {
        let message = ListKeysRequest {
            profile: profile.into(),
        };
        let answer = self
            .call(|conn, left| {
                let request = limited(message.clone(), left);
                async move { KeyServiceClient::new(conn).list_keys(request).await }
            })
            .await?;
        let keys = answer.keys.into_iter().map(|key| Key {
            kid: key.kid,
            algorithm: key.algorithm,
            spki: key.spki,
            jwk: key.jwk,
            profiles: key.profiles,
        });
        Ok(keys.collect())
    }
}

/// A request that tells the server how long it has.
fn limited<T>(message: T, left: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(left);
    request
}
