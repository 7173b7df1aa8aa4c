//! How a client reaches its server.

use std::{
    env, error::Error as StdError, ffi::OsString, fmt, net::SocketAddr, num::NonZeroUsize,
    path::PathBuf, time::Duration,
};

use crate::{
    Client,
    bearer::Bearer,
    connector::{Connector, Target},
    tls::FreshTls,
};

/// Where a client looks for a server that nobody names.
pub const DEFAULT_ADDRESS: &str = "unix:///run/jotsmith/jotsmith.sock";

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// No clock overflows with it.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 86400);
const DEFAULT_KEPT: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// How a client reaches its server and what it keeps. What is not set comes from the
/// environment, where a variable is named here.
///
/// ```no_run
/// # fn f() -> Result<(), jotsmith::SettingError> {
/// let client = jotsmith::Settings::new()
///     .address("jotsmith.example:8443")
///     .tls_ca("ca.pem")
///     .tls_identity("me.pem", "me.key")
///     .connect()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Settings {
    address: Option<String>,
    tls_ca: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_server_name: Option<String>,
    bearer: Option<String>,
    bearer_file: Option<PathBuf>,
    plaintext_loopback: bool,
    timeout: Option<Duration>,
    max_kept: Option<NonZeroUsize>,
}

impl Settings {
    /// Nothing is set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The server, `unix:///PATH` or `HOST:PORT` (`JOTSMITH_ADDRESS`, and without it
    /// [`DEFAULT_ADDRESS`]).
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// A PEM file of the CAs that the server's certificate must chain to
    /// (`JOTSMITH_TLS_CA`, and without it the system's).
    pub fn tls_ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.tls_ca = Some(file.into());
        self
    }

    /// PEM files of the client certificate and its key (`JOTSMITH_TLS_CERT`,
    /// `JOTSMITH_TLS_KEY`).
    pub fn tls_identity(self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls_cert(cert).tls_key(key)
    }

    /// The PEM file of the client certificate alone; it needs its key.
    pub fn tls_cert(mut self, cert: impl Into<PathBuf>) -> Self {
        self.tls_cert = Some(cert.into());
        self
    }

    /// The PEM file of the key of the client certificate alone; it needs its certificate.
    pub fn tls_key(mut self, key: impl Into<PathBuf>) -> Self {
        self.tls_key = Some(key.into());
        self
    }

    /// The name in the server's certificate, if it is not the host of the address
    /// (`JOTSMITH_TLS_SERVER_NAME`).
    pub fn tls_server_name(mut self, name: impl Into<String>) -> Self {
        self.tls_server_name = Some(name.into());
        self
    }

    /// A token that makes the caller known, as of Kubernetes or a CI system.
    pub fn bearer(mut self, token: impl Into<String>) -> Self {
        self.bearer = Some(token.into());
        self
    }

    /// A file with such a token, read again for each call (`JOTSMITH_BEARER_FILE`).
    pub fn bearer_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.bearer_file = Some(file.into());
        self
    }

    /// For a server at `127.0.0.1:PORT` or `[::1]:PORT` that has no TLS there: whoever listens
    /// there is taken for the server (`JOTSMITH_PLAINTEXT_LOOPBACK=true`).
    pub fn plaintext_loopback(mut self, yes: bool) -> Self {
        self.plaintext_loopback = yes;
        self
    }

    /// How long a call takes at most, retries included. 10 s if it is not set or zero.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// For how many different requests tokens are kept. 1024 if it is not set.
    pub fn max_kept(mut self, most: NonZeroUsize) -> Self {
        self.max_kept = Some(most);
        self
    }

    /// A client with these settings. Nobody is called yet: the first call makes the
    /// connection, and every later one mends it.
    ///
    /// # Errors
    /// A setting that is wrong, or a file that cannot be read.
    pub fn connect(self) -> Result<Client, SettingError> {
        let filled = self.fill(|name| env::var_os(name).filter(|value| !value.is_empty()));
        let timeout = filled.timeout.filter(|timeout| !timeout.is_zero());
        let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT).min(LONGEST_TIMEOUT);
        let most = filled.max_kept.unwrap_or(DEFAULT_KEPT);
        let (connector, bearer) = filled.check()?;
        Ok(Client::new(connector, bearer, timeout, most))
    }

    fn unix(&self) -> bool {
        self.address
            .as_ref()
            .is_some_and(|a| a.starts_with("unix:"))
    }

    /// Sets what is not set. A Unix socket takes nothing of TLS from the environment,
    /// which may be there for another server.
    fn fill(mut self, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
        let file = |name: &str| variable(name).map(PathBuf::from);
        self.address = self
            .address
            .filter(|address| !address.is_empty())
            .or_else(|| text("JOTSMITH_ADDRESS"))
            .or_else(|| Some(DEFAULT_ADDRESS.into()));
        if !self.unix() {
            self.tls_ca = self.tls_ca.or_else(|| file("JOTSMITH_TLS_CA"));
            if self.tls_cert.is_none() && self.tls_key.is_none() {
                self.tls_cert = file("JOTSMITH_TLS_CERT");
                self.tls_key = file("JOTSMITH_TLS_KEY");
            }
            let name = self.tls_server_name;
            self.tls_server_name = name.or_else(|| text("JOTSMITH_TLS_SERVER_NAME"));
        }
        if self.bearer.is_none() {
            self.bearer_file = self.bearer_file.or_else(|| file("JOTSMITH_BEARER_FILE"));
        }
        let plaintext = text("JOTSMITH_PLAINTEXT_LOOPBACK");
        self.plaintext_loopback |= plaintext.is_some_and(|value| value == "true");
        self
    }

    /// What makes connections and who calls, or what is wrong.
    fn check(self) -> Result<(Connector, Option<Bearer>), SettingError> {
        let unix = self.unix();
        let address = self.address.unwrap_or_default();
        let tls = self.tls_ca.is_some()
            || self.tls_cert.is_some()
            || self.tls_key.is_some()
            || self.tls_server_name.is_some();
        let carries = self.bearer.is_some() || self.bearer_file.is_some();
        let target = if self.plaintext_loopback {
            if tls {
                return Err(SettingError::new(
                    "the TLS settings and plaintext exclude each other",
                ));
            }
            if carries {
                return Err(SettingError::new("a bearer is not sent in plaintext"));
            }
            Target::Plaintext(loopback(&address)?)
        } else if unix {
            if tls {
                return Err(SettingError::new(format!(
                    "the TLS settings are for HOST:PORT; {address} is a Unix socket, which has no TLS"
                )));
            }
            match address.strip_prefix("unix://") {
                Some(path) if path.starts_with('/') => Target::Unix(path.into()),
                _ => return Err(neither(&address)),
            }
        } else {
            let (host, port) = host_and_port(&address).ok_or_else(|| neither(&address))?;
            if self.tls_cert.is_some() != self.tls_key.is_some() {
                return Err(SettingError::new(
                    "a client certificate and its key go together",
                ));
            }
            if self.tls_cert.is_none() && !carries {
                return Err(SettingError::new(
                    "a server at HOST:PORT wants a client certificate or a token; set tls_identity or bearer_file",
                ));
            }
            let name = self.tls_server_name.unwrap_or_else(|| host.clone());
            let identity = self.tls_cert.zip(self.tls_key);
            Target::Tls(host, port, FreshTls::new(self.tls_ca, identity, name)?)
        };
        let bearer = Bearer::new(self.bearer, self.bearer_file)?;
        Ok((Connector::new(target), bearer))
    }
}

/// The text of a bearer is not among it.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("address", &self.address)
            .field("tls_ca", &self.tls_ca)
            .field("tls_cert", &self.tls_cert)
            .field("tls_key", &self.tls_key)
            .field("tls_server_name", &self.tls_server_name)
            .field("bearer", &self.bearer.as_ref().map(|_| "redacted"))
            .field("bearer_file", &self.bearer_file)
            .field("plaintext_loopback", &self.plaintext_loopback)
            .field("timeout", &self.timeout)
            .field("max_kept", &self.max_kept)
            .finish()
    }
}

fn neither(address: &str) -> SettingError {
    SettingError::new(format!(
        "address {address:?} is neither unix:///PATH nor HOST:PORT"
    ))
}

/// An address that is this machine's own, in digits.
fn loopback(address: &str) -> Result<SocketAddr, SettingError> {
    match address.parse::<SocketAddr>() {
        // One of IPv4 in IPv6's clothes is not among them.
        Ok(at) if at.ip().is_loopback() => Ok(at),
        _ => Err(SettingError::new(format!(
            "plaintext is for 127.0.0.1:PORT or [::1]:PORT, not for {address:?}"
        ))),
    }
}

/// HOST without the brackets of IPv6, and PORT.
fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let wrong = |c: char| c.is_whitespace() || matches!(c, '/' | '@' | '[' | ']');
    if host.is_empty() || host.contains(wrong) {
        return None;
    }
    Some((host.into(), port.parse().ok()?))
}

/// What is wrong with a setting or a file that it names.
#[derive(Debug)]
pub struct SettingError {
    message: String,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl SettingError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            cause: None,
        }
    }

    pub(crate) fn by(
        message: impl Into<String>,
        cause: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            message: message.into(),
            cause: Some(cause.into()),
        }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Some(cause) => write!(f, "{}: {cause}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl StdError for SettingError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&**self.cause.as_ref()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(settings: Settings) -> String {
        match settings.fill(|_| None).check() {
            Ok(_) => panic!("nothing is wrong"),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn wrong_settings_are_errors_at_once() {
        let at = |address: &str| Settings::new().address(address);
        let tcp = || at("here.example:8443");
        let here = || at("127.0.0.1:1").plaintext_loopback(true);
        for (settings, says) in [
            (at("unix:///s").tls_ca("ca.pem"), "no TLS"),
            (at("unix:///s").tls_server_name("here"), "no TLS"),
            (at("unix:s"), "neither"),
            (at("somewhere").bearer("x"), "neither"),
            (at(":8443").bearer("x"), "neither"),
            (at("here:port").bearer("x"), "neither"),
            (at("::1:8443").bearer("x"), "neither"),
            (at("https://here:8443").bearer("x"), "neither"),
            (tcp(), "wants a client certificate or a token"),
            (tcp().tls_cert("me.pem"), "go together"),
            (tcp().tls_ca("/nowhere.pem").bearer("x"), "/nowhere.pem"),
            (tcp().tls_ca("Cargo.toml").bearer("x"), "no PEM certificate"),
            (at("unix:///s").bearer("two tokens"), "not a token alone"),
            (at("unix:///s").bearer_file("/nowhere"), "bearer file"),
            (at("unix:///s").bearer_file("src"), "not a regular file"),
            (at("unix:///s").bearer_file("Cargo.lock"), "longer than"),
            (at("unix:///s").bearer_file("run"), "a token alone"),
            (at("localhost:1").plaintext_loopback(true), "127.0.0.1:PORT"),
            (at("192.0.2.1:1").plaintext_loopback(true), "127.0.0.1:PORT"),
            (at("unix:///s").plaintext_loopback(true), "127.0.0.1:PORT"),
            (
                at("[::ffff:127.0.0.1]:1").plaintext_loopback(true),
                "127.0.0.1:PORT",
            ),
            (here().tls_ca("ca.pem"), "exclude each other"),
            (here().bearer("x"), "not sent in plaintext"),
        ] {
            let shown = format!("{settings:?}");
            let message = wrong(settings);
            assert!(message.contains(says), "{shown}: {message}");
        }
        for address in ["127.0.0.1:1", "[::1]:1"] {
            let settings = at(address).plaintext_loopback(true);
            assert!(settings.fill(|_| None).check().is_ok());
        }
    }

    #[test]
    fn what_is_not_set_comes_from_the_environment() {
        let env = |name: &str| Some(OsString::from(format!("of {name}")));
        let all = Settings::new().fill(env);
        assert_eq!(all.address.as_deref(), Some("of JOTSMITH_ADDRESS"));
        assert_eq!(all.tls_ca, Some("of JOTSMITH_TLS_CA".into()));
        assert_eq!(all.tls_cert, Some("of JOTSMITH_TLS_CERT".into()));
        assert_eq!(all.tls_key, Some("of JOTSMITH_TLS_KEY".into()));
        let name = all.tls_server_name.as_deref();
        assert_eq!(name, Some("of JOTSMITH_TLS_SERVER_NAME"));
        assert_eq!(all.bearer_file, Some("of JOTSMITH_BEARER_FILE".into()));
        assert!(!all.plaintext_loopback);
        let set = Settings::new()
            .address("a:1")
            .tls_cert("c")
            .bearer("b")
            .fill(env);
        assert_eq!(set.address.as_deref(), Some("a:1"));
        assert_eq!((set.tls_key, set.bearer_file), (None, None));
        let unix = Settings::new().address("unix:///s").fill(env);
        assert!(unix.tls_ca.is_none() && unix.tls_cert.is_none() && unix.tls_server_name.is_none());
        let nothing = Settings::new().fill(|_| None);
        assert_eq!(nothing.address.as_deref(), Some(DEFAULT_ADDRESS));
        let plain = Settings::new().fill(|_| Some("true".into()));
        assert!(plain.plaintext_loopback);
    }

    #[test]
    fn no_setting_shows_a_bearer() {
        let shown = format!("{:?}", Settings::new().bearer("secret").bearer_file("/id"));
        assert!(
            !shown.contains("secret") && shown.contains("/id"),
            "{shown}"
        );
    }
}
