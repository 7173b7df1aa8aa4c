//! What the JOSE library of the language finds in a token.

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    crypto::{CryptoProvider, JwtVerifier, KeyUtils},
    decode,
    errors::{ErrorKind, Result},
    jwk::Jwk,
};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json, value::RawValue};
use signature::{Error, Verifier};

use crate::answer::Failure;

pub const BY: &str = "jsonwebtoken 11.1.0";

/// The cryptography that jsonwebtoken is to use.
static RING: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: es256,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Tells jsonwebtoken of it, once in a process.
pub fn install() {
    RING.install_default().expect("nobody else has");
}

struct Es256(Vec<u8>);

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature is jsonwebtoken's
fn es256(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    match algorithm {
        Algorithm::ES256 => Ok(Box::new(Es256(key.try_get_as_bytes()?.to_vec()))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

impl Verifier<Vec<u8>> for Es256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.0)
            .verify(message, signature)
            .map_err(|_| Error::new())
    }
}

impl JwtVerifier for Es256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }
}

/// The header and payload of a token that a key verifies.
pub fn verify(jwt: &str, jwk: &str) -> std::result::Result<Value, Failure> {
    let failed = |e| Failure::other("json", e);
    let jwk: Jwk = serde_json::from_str(jwk).map_err(failed)?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let found = DecodingKey::from_jwk(&jwk)
        .and_then(|key| decode::<Box<RawValue>>(jwt, &key, &validation))
        .map_err(|e| Failure::other("jsonwebtoken", e))?;
    let header = serde_json::to_string(&found.header).map_err(failed)?;
    let payload = found.claims.get();
    Ok(json!({"verified": [{"by": BY, "header": header, "payload": payload}]}))
}
