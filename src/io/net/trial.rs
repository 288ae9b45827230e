//! Trial files: all that a viewer needs to reach one session, for a day.
//!
//! TOML, written by the host, readable only by its owner because it holds a private key. Loading says in plain words
//! what is wrong. Who signs what: `identity`.

use crate::io::net::files::{open_to_others, read_bounded, write_private};
use crate::io::net::identity::{DeviceKey, host_id, unix_time};
use crate::io::net::tls::{Refusal, device_verifier};
use crate::limits::{ADDRESSES_MAX, NAME_BYTES_MAX, TRIAL_BYTES_MAX};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tracing::warn;

/// How long a trial's device may come in.
pub const TRIAL_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// The file's name in the directory that was asked for.
pub const TRIAL_FILE: &str = "trial.kachel";
/// Version of the file's form.
const FORMAT: u32 = 1;

/// Why a trial file cannot be used.
#[derive(Debug, Error)]
pub enum TrialError {
    /// There is no such file.
    #[error("there is no file {0}")]
    Missing(PathBuf),
    /// The file cannot be read or written.
    #[error("{path} cannot be read or written")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file is longer than any trial.
    #[error("{0} is too long for a trial file")]
    TooLong(PathBuf),
    /// The file is something else, or damaged.
    #[error("{path} is not a trial file")]
    Form {
        /// Which file.
        path: PathBuf,
        /// Where it goes wrong.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The file was written by another version of the host.
    #[error("{path} has format {format}, this program knows 1")]
    Version {
        /// Which file.
        path: PathBuf,
        /// What it says.
        format: u32,
    },
    /// A part of the file makes no sense.
    #[error("{path}: the field {field} is not usable")]
    Field {
        /// Which file.
        path: PathBuf,
        /// Its name in the file.
        field: &'static str,
    },
    /// Its day is over.
    #[error("{0} has expired: a trial is good for 24 hours, the host writes a new one when it starts")]
    Expired(PathBuf),
    /// Its day has not begun: this machine's clock, or the host's, is wrong.
    #[error("{0} is not valid yet: the clock of this machine or of the host is wrong")]
    NotYetValid(PathBuf),
    /// Its certificate does not belong to its host.
    #[error("{path}: the device certificate does not fit the host")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<Refusal>,
    },
}

/// Everything that a viewer needs to reach one session.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// Version of the form: 1.
    pub format: u32,
    /// Where the host may be reached, `host:port`, best first.
    pub addresses: Vec<String>,
    /// The host's id.
    pub host_id: String,
    /// The session's name.
    pub session: String,
    /// The host's CA, PEM.
    pub ca_certificate: String,
    /// The device's certificate, PEM.
    pub device_certificate: String,
    /// The device's private key, PEM.
    pub device_key: String,
}

/// A trial's parts as rustls takes them.
#[derive(Debug)]
pub struct Credentials {
    /// The host's CA.
    pub ca: CertificateDer<'static>,
    /// The device's certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl Trial {
    /// Puts a trial together.
    pub fn new(
        addresses: Vec<String>,
        host_id: &str,
        session: &str,
        ca_pem: &str,
        certificate_pem: String,
        key: &DeviceKey,
    ) -> Trial {
        Trial {
            format: FORMAT,
            addresses,
            host_id: host_id.to_owned(),
            session: session.to_owned(),
            ca_certificate: ca_pem.to_owned(),
            device_certificate: certificate_pem,
            device_key: key.to_pem(),
        }
    }

    /// Loads and checks a trial file, now.
    ///
    /// # Errors
    /// [`TrialError`], one variant for each thing that people can do something about.
    pub fn load(path: &Path) -> Result<Trial, TrialError> {
        let trial = Trial::read(path)?;
        trial.check(path, SystemTime::now())?;
        if open_to_others(path).unwrap_or(false) {
            warn!(path = %path.display(), "Others can read this trial file and come in with it; make it 0600");
        }
        Ok(trial)
    }

    /// Reads a trial file without looking at its certificates.
    ///
    /// # Errors
    /// [`TrialError`] if it cannot be read or is not one.
    pub fn read(path: &Path) -> Result<Trial, TrialError> {
        let at = || path.to_owned();
        let text = read_bounded(path, TRIAL_BYTES_MAX).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => TrialError::Missing(at()),
            io::ErrorKind::FileTooLarge => TrialError::TooLong(at()),
            _ => TrialError::File { path: at(), source },
        })?;
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let form = |source: toml::de::Error| TrialError::Form { path: at(), source: Box::new(source) };
        let Version { format } = toml::from_str(&text).map_err(form)?;
        if format != FORMAT {
            return Err(TrialError::Version { path: at(), format });
        }
        toml::from_str(&text).map_err(form)
    }

    /// Checks all fields, and the device's certificate at the time `now`. `path` is for the error.
    ///
    /// # Errors
    /// [`TrialError`] for the first thing that is wrong.
    pub fn check(&self, path: &Path, now: SystemTime) -> Result<(), TrialError> {
        let field = |field| TrialError::Field { path: path.to_owned(), field };
        let addresses = &self.addresses;
        if addresses.is_empty() || addresses.len() > ADDRESSES_MAX || !addresses.iter().all(|a| plausible_address(a)) {
            return Err(field("addresses"));
        }
        if self.session.len() > NAME_BYTES_MAX || self.session.chars().any(char::is_control) {
            return Err(field("session"));
        }
        let credentials = self.credentials().map_err(field)?;
        if host_id(&credentials.ca).as_ref() != Some(&self.host_id) {
            return Err(field("host_id"));
        }
        let verifier = device_verifier(&credentials.ca).map_err(|_| field("ca_certificate"))?;
        match verifier.verify_client_cert(&credentials.certificate, &[], unix_time(now)).map_err(Refusal::from) {
            Ok(_) => Ok(()),
            Err(Refusal::Expired) => Err(TrialError::Expired(path.to_owned())),
            Err(Refusal::NotYetValid) => Err(TrialError::NotYetValid(path.to_owned())),
            Err(other) => Err(TrialError::Certificate { path: path.to_owned(), source: Box::new(other) }),
        }
    }

    /// Takes certificates and key out of their PEM.
    ///
    /// # Errors
    /// The name of the field that is not what it should be.
    pub fn credentials(&self) -> Result<Credentials, &'static str> {
        let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes());
        Ok(Credentials {
            ca: certificate(&self.ca_certificate).map_err(|_| "ca_certificate")?,
            certificate: certificate(&self.device_certificate).map_err(|_| "device_certificate")?,
            key: PrivateKeyDer::from_pem_slice(self.device_key.as_bytes()).map_err(|_| "device_key")?,
        })
    }

    /// Writes the file, 0600, in one step.
    ///
    /// # Errors
    /// [`TrialError::File`].
    pub fn write(&self, path: &Path) -> Result<(), TrialError> {
        let text = toml::to_string(self).expect("plain texts and numbers");
        write_private(path, text.as_bytes()).map_err(|source| TrialError::File { path: path.to_owned(), source })
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial")
            .field("addresses", &self.addresses)
            .field("host_id", &self.host_id)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

fn plausible_address(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    !host.is_empty()
        && address.len() <= NAME_BYTES_MAX
        && port.parse::<u16>().is_ok_and(|port| port != 0)
        && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]%".contains(c))
}
