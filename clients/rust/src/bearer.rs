//! A token that makes the caller known.

use std::{
    fmt,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use http::HeaderValue;
use tokio::task::spawn_blocking;
use tonic::Status;

use crate::SettingError;

/// The longest token that the server reads.
const LONGEST: u64 = 8 << 10;

/// A text, or a file, which whoever wrote it may replace at any time, as Kubernetes does.
#[derive(Clone)]
pub(crate) enum Bearer {
    Text(HeaderValue),
    File(PathBuf),
}

impl Bearer {
    /// None where neither is set. What cannot be read is better said before anybody is
    /// called.
    pub(crate) fn new(
        text: Option<String>,
        file: Option<PathBuf>,
    ) -> Result<Option<Self>, SettingError> {
        match (file, text) {
            (Some(file), _) => {
                read(&file)?;
                Ok(Some(Self::File(file)))
            }
            (None, Some(text)) => match authorization(&text) {
                Some(value) => Ok(Some(Self::Text(value))),
                None => Err(SettingError::new("bearer: not a token alone")),
            },
            (None, None) => Ok(None),
        }
    }

    /// The `authorization` of a call.
    pub(crate) async fn header(&self) -> Result<HeaderValue, Status> {
        let file = match self {
            Self::Text(value) => return Ok(value.clone()),
            Self::File(file) => file.clone(),
        };
        let found = spawn_blocking(move || read(&file))
            .await
            .map_err(|e| Status::internal(format!("bearer file: {e}")))?;
        found.map_err(|e| Status::unauthenticated(e.to_string()))
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bearer (redacted)")
    }
}

fn read(path: &Path) -> Result<HeaderValue, SettingError> {
    let failed = |e| SettingError::by("bearer file", e);
    let wrong = |what| SettingError::new(format!("bearer file: {} {what}", path.display()));
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(wrong("is not a regular file")); // a pipe could be read only once
    }
    let mut data = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(LONGEST + 2)
        .read_to_end(&mut data)
        .map_err(failed)?;
    if data.len() as u64 > LONGEST + 1 {
        return Err(wrong("is longer than a token can be"));
    }
    let text = String::from_utf8(data).unwrap_or_default();
    authorization(text.trim()).ok_or_else(|| wrong("does not hold a token alone"))
}

/// The header of a text that can be a token and nothing else.
pub(crate) fn authorization(token: &str) -> Option<HeaderValue> {
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
