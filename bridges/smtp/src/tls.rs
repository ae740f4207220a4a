//! TLS by the settings: the server's certificate, read again when its files change. Opens no connection and starts no task.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use bridge_api::SettingsFault;
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::settings::TlsSettings;

/// The server's side of TLS, as its files are now.
#[derive(Debug)]
pub(crate) struct ServerTls {
    files: TlsSettings,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    stamps: Stamps,
    looked: Instant,
}

/// Time and size of both files; `None` for one that cannot be seen.
type Stamps = [Option<(SystemTime, u64)>; 2];

impl ServerTls {
    pub(crate) fn load(files: &TlsSettings, now: Instant) -> Result<Self, SettingsFault> {
        let stamps = stamps(files);
        let config = server_config(files)?;
        Ok(Self { files: files.clone(), current: Mutex::new(Current { config, stamps, looked: now }) })
    }

    /// For the next connection. A look at the files is good for so long. While changed files make no sense, for example because only one of them is written yet, the
    /// certificate that was read before stays.
    pub(crate) fn config(&self, now: Instant, good_for: Duration) -> Arc<ServerConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(current.looked) >= good_for {
            current.looked = now;
            let stamps = stamps(&self.files);
            if stamps != current.stamps {
                current.stamps = stamps;
                match server_config(&self.files) {
                    Ok(config) => current.config = config,
                    Err(fault) => {
                        tracing::warn!(
                            fault = fault.to_string(),
                            "the changed certificate cannot be used, the former one stays"
                        );
                    }
                }
            }
        }
        current.config.clone()
    }
}

fn stamps(files: &TlsSettings) -> Stamps {
    [&files.cert_file, &files.key_file].map(|file| {
        let facts = std::fs::metadata(file).ok()?;
        Some((facts.modified().ok()?, facts.len()))
    })
}

fn server_config(files: &TlsSettings) -> Result<Arc<ServerConfig>, SettingsFault> {
    let chain = certificates("tls.cert_file", &files.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&files.key_file)
        .map_err(|error| SettingsFault::new("tls.key_file", format!("{}: {error}", files.key_file.display())))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| SettingsFault::new("tls", error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| SettingsFault::new("tls.key_file", format!("{}: {error}", files.key_file.display())))?;
    Ok(Arc::new(config))
}

pub(crate) fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, SettingsFault> {
    let fault = |reason: String| SettingsFault::new(key, format!("{}: {reason}", file.display()));
    let found = CertificateDer::pem_file_iter(file).map_err(|error| fault(error.to_string()))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| fault(error.to_string()))?;
    if found.is_empty() { Err(fault("holds no certificate".to_owned())) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const GOOD_FOR: Duration = Duration::from_secs(5);

    fn write(files: &TlsSettings, names: &[&str]) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        fs::write(&files.cert_file, made.cert.pem()).unwrap();
        fs::write(&files.key_file, made.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn files_are_read_again_when_they_change_and_kept_while_they_make_no_sense() {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsSettings { cert_file: folder.path().join("cert.pem"), key_file: folder.path().join("key.pem") };
        let start = Instant::now();
        assert_eq!(ServerTls::load(&files, start).unwrap_err().key, "tls.cert_file");
        write(&files, &["a.test"]);
        fs::write(&files.key_file, "none").unwrap();
        assert_eq!(ServerTls::load(&files, start).unwrap_err().key, "tls.key_file");
        write(&files, &["a.test"]);
        let tls = ServerTls::load(&files, start).unwrap();
        let first = tls.config(start, GOOD_FOR);
        write(&files, &["a-much-longer-name.test", "another.test"]);
        assert!(Arc::ptr_eq(&first, &tls.config(start + GOOD_FOR / 2, GOOD_FOR)), "it looks seldom");
        let second = tls.config(start + GOOD_FOR, GOOD_FOR);
        assert!(!Arc::ptr_eq(&first, &second));
        fs::write(&files.key_file, "half a file").unwrap();
        assert!(Arc::ptr_eq(&second, &tls.config(start + GOOD_FOR * 2, GOOD_FOR)));
        fs::write(&files.cert_file, "").unwrap();
        assert_eq!(ServerTls::load(&files, start).unwrap_err().key, "tls.cert_file");
    }
}
