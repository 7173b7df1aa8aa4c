//! TLS whose files may be renewed.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{net::TcpStream, task::spawn_blocking};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        version::TLS13,
    },
};

use crate::SettingError;

/// TLS that reads its files for each connection, so that a certificate that was renewed
/// counts from the next one on. What cannot be read, because it is being written just
/// then, leaves what was read before.
#[derive(Clone)]
pub(crate) struct FreshTls {
    files: Files,
    name: ServerName<'static>,
    last: Arc<Mutex<Arc<ClientConfig>>>,
}

#[derive(Clone)]
struct Files {
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
}

impl FreshTls {
    pub(crate) fn new(
        ca: Option<PathBuf>,
        identity: Option<(PathBuf, PathBuf)>,
        name: String,
    ) -> Result<Self, SettingError> {
        let files = Files { ca, identity };
        let last = Arc::new(Mutex::new(files.read()?));
        let name =
            ServerName::try_from(name).map_err(|e| SettingError::by("the server's name", e))?;
        Ok(Self { files, name, last })
    }

    pub(crate) async fn handshake(&self, tcp: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let files = self.files.clone();
        let read = spawn_blocking(move || files.read()).await;
        let config = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if let Ok(Ok(config)) = read {
                *last = config;
            }
            last.clone()
        };
        let tls = TlsConnector::from(config);
        tls.connect(self.name.clone(), tcp).await
    }
}

impl Files {
    fn read(&self) -> Result<Arc<ClientConfig>, SettingError> {
        let failed = |e| SettingError::by("TLS", e);
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .map_err(failed)?
            .with_root_certificates(self.roots()?);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let what = "client certificate";
                let chain = certificates(cert, what)?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|e| SettingError::by(format!("{what}: {}", key.display()), e))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|e| SettingError::by(what, e))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, SettingError> {
        let mut roots = RootCertStore::empty();
        let Some(ca) = &self.ca else {
            let system = rustls_native_certs::load_native_certs();
            let (taken, _) = roots.add_parsable_certificates(system.certs);
            if taken == 0 {
                return Err(SettingError::new(
                    "CA of the server: the system has none; set tls_ca",
                ));
            }
            return Ok(roots);
        };
        let what = "CA of the server";
        for certificate in certificates(ca, what)? {
            roots
                .add(certificate)
                .map_err(|e| SettingError::by(format!("{what}: {}", ca.display()), e))?;
        }
        Ok(roots)
    }
}

/// The certificates of a PEM file, one at least.
fn certificates(path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>, SettingError> {
    let failed = |e| SettingError::by(format!("{what}: {}", path.display()), e);
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect();
    let all = all.map_err(failed)?;
    if all.is_empty() {
        let none = format!("{what}: {} holds no PEM certificate", path.display());
        return Err(SettingError::new(none));
    }
    Ok(all)
}
