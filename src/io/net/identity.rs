//! Who a host is: its own CA, its certificate, and the keys that must outlive a restart; and the keys of devices.
//!
//! Everything is P-256. The CA is made once and kept; the host's certificate is renewed at start. The files lie in one
//! directory that only the host's user enters. Files for viewers: `trial`.

use crate::io::net::files::{private_dir, read_bounded, write_private};
use crate::io::net::tls;
use crate::limits::TRIAL_BYTES_MAX;
use aws_lc_rs::digest;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::fmt::{self, Write};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tracing::info;

/// Life of the CA.
const CA_LIFE: Duration = Duration::from_secs(3652 * DAY);
/// Life of the host's certificate.
const LEAF_LIFE: Duration = Duration::from_secs(365 * DAY);
/// The host's certificate is renewed at a start this long before its end.
const LEAF_RENEWAL: Duration = Duration::from_secs(30 * DAY);
/// Certificates begin this long before they are made: clocks differ.
const CLOCK_SLACK: Duration = Duration::from_secs(DAY / 24);
const DAY: u64 = 24 * 60 * 60;
/// Bytes of a host id, the front of the CA key's hash: enough that nobody makes another CA with the same.
const HOST_ID_BYTES: usize = 16;

/// Why there is no identity.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("{path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Only one half of a key and its certificate is there; a new one would lock every device out.
    #[error("{0} is missing although other parts of the identity are there: restore it, or remove the directory")]
    Incomplete(PathBuf),
    /// A file does not hold what it should.
    #[error("{0} does not hold a usable key or certificate")]
    Content(PathBuf),
    /// The CA's key and certificate do not belong together.
    #[error("key and certificate of the CA in {0} do not belong together")]
    Mismatch(PathBuf),
    /// A certificate cannot be made.
    #[error("a certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
}

/// SHA-256 of a public key (SubjectPublicKeyInfo, DER).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Hashes a SubjectPublicKeyInfo.
    pub fn of_key(spki_der: &[u8]) -> KeyHash {
        let hash = digest::digest(&digest::SHA256, spki_der);
        KeyHash(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// Hashes the key in a certificate; `None` if it is not one.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Option<KeyHash> {
        let leaf = webpki::EndEntityCert::try_from(certificate).ok()?;
        Some(KeyHash::of_key(&leaf.subject_public_key_info()))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The id of the host with this CA; `None` if it is not a certificate.
pub fn host_id(ca: &CertificateDer<'_>) -> Option<String> {
    // The CA is its own end entity here: only its key is read.
    KeyHash::of_certificate(ca).map(|hash| hex(&hash.0[..HOST_ID_BYTES]))
}

/// A device's private key.
pub struct DeviceKey(KeyPair);

impl DeviceKey {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`] if the system gives no randomness.
    pub fn generate() -> Result<DeviceKey, IdentityError> {
        Ok(DeviceKey(new_key()?))
    }

    /// Reads one from PEM; `None` if it is not a P-256 key.
    pub fn parse(pem: &str) -> Option<DeviceKey> {
        let key = KeyPair::from_pkcs8_pem_and_sign_algo(pem, &rcgen::PKCS_ECDSA_P256_SHA256).ok()?;
        Some(DeviceKey(key))
    }

    /// PKCS #8 in PEM.
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// What the host's list knows it by.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of_key(&self.0.subject_public_key_info())
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey({})", self.hash())
    }
}

/// A host's CA, certificate and lasting keys.
pub struct HostIdentity {
    host_id: String,
    ca: CertificateDer<'static>,
    ca_pem: String,
    ca_key: KeyPair,
    leaf: CertificateDer<'static>,
    leaf_key: KeyPair,
    reset_key: [u8; 64],
}

impl HostIdentity {
    /// Loads the identity in `dir`, or makes one there; renews the host's certificate when it is near its end.
    ///
    /// # Errors
    /// [`IdentityError`]; an existing but damaged identity is never replaced.
    pub fn load_or_create(dir: &Path, now: SystemTime) -> Result<HostIdentity, IdentityError> {
        private_dir(dir).map_err(|source| IdentityError::File { path: dir.to_owned(), source })?;
        let at = |name: &str| dir.join(name);
        let (ca_key, ca_pem) = match (read(&at("ca.key"))?, read(&at("ca.pem"))?) {
            (Some(key), Some(pem)) => (parse_key(&key, &at("ca.key"))?, pem),
            (None, None) => {
                let key = new_key()?;
                let id = hex(&KeyHash::of_key(&key.subject_public_key_info()).0[..HOST_ID_BYTES]);
                let pem = ca_params(&id, now)?.self_signed(&key)?.pem();
                write(&at("ca.key"), key.serialize_pem().as_bytes())?;
                write(&at("ca.pem"), pem.as_bytes())?;
                info!(host = id, "New host identity");
                (key, pem)
            }
            (None, Some(_)) => return Err(IdentityError::Incomplete(at("ca.key"))),
            (Some(_), None) => return Err(IdentityError::Incomplete(at("ca.pem"))),
        };
        let ca = parse_certificate(&ca_pem, &at("ca.pem"))?;
        let ca_hash = KeyHash::of_certificate(&ca).ok_or_else(|| IdentityError::Content(at("ca.pem")))?;
        if ca_hash != KeyHash::of_key(&ca_key.subject_public_key_info()) {
            return Err(IdentityError::Mismatch(dir.to_owned()));
        }
        let host_id = hex(&ca_hash.0[..HOST_ID_BYTES]);

        let known = match (read(&at("host.key"))?, read(&at("host.pem"))?) {
            (Some(key), Some(pem)) => {
                let leaf = parse_certificate(&pem, &at("host.pem"))?;
                let key = parse_key(&key, &at("host.key"))?;
                // Checked as viewers will check it, at the time by which it must have been renewed.
                let good = tls::check_host(&ca, &leaf, &host_id, unix_time(now + LEAF_RENEWAL)).is_ok()
                    && KeyHash::of_certificate(&leaf) == Some(KeyHash::of_key(&key.subject_public_key_info()));
                good.then_some((leaf, key))
            }
            _ => None,
        };
        let (leaf, leaf_key) = match known {
            Some(known) => known,
            None => {
                let key = new_key()?;
                let mut params = leaf_params(&host_id, now, now + LEAF_LIFE, ExtendedKeyUsagePurpose::ServerAuth);
                params.subject_alt_names = CertificateParams::new(vec![tls::host_name(&host_id)])?.subject_alt_names;
                let leaf = params.signed_by(&key, &Issuer::new(ca_params(&host_id, now)?, &ca_key))?;
                write(&at("host.key"), key.serialize_pem().as_bytes())?;
                write(&at("host.pem"), leaf.pem().as_bytes())?;
                info!(host = host_id, "New host certificate");
                (leaf.der().clone(), key)
            }
        };

        let reset_file = at("reset.key");
        let reset_key = match std::fs::read(&reset_file) {
            Ok(bytes) => bytes.try_into().map_err(|_| IdentityError::Content(reset_file))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut key = [0; 64];
                aws_lc_rs::rand::fill(&mut key).map_err(|_| rcgen::Error::RingUnspecified)?;
                write(&reset_file, &key)?;
                key
            }
            Err(source) => return Err(IdentityError::File { path: reset_file, source }),
        };
        Ok(HostIdentity { host_id, ca, ca_pem, ca_key, leaf, leaf_key, reset_key })
    }

    /// Makes a device's certificate, good from now for `life`.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`] if it cannot be signed.
    pub fn certify_device(
        &self,
        key: &DeviceKey,
        name: &str,
        now: SystemTime,
        life: Duration,
    ) -> Result<String, IdentityError> {
        let params = leaf_params(name, now, now + life, ExtendedKeyUsagePurpose::ClientAuth);
        Ok(params.signed_by(&key.0, &Issuer::new(ca_params(&self.host_id, now)?, &self.ca_key))?.pem())
    }

    /// The host's id: 32 hexadecimal digits, from the CA's key.
    pub fn host_id(&self) -> &str {
        &self.host_id
    }

    /// The CA's certificate.
    pub fn ca(&self) -> &CertificateDer<'static> {
        &self.ca
    }

    /// The CA's certificate in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The host's certificate.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.leaf
    }

    /// The key of the host's certificate.
    ///
    /// # Panics
    /// Never: the key was made or read as PKCS #8.
    pub fn leaf_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.leaf_key.serialize_der()).expect("rcgen writes PKCS #8")
    }

    /// The key of QUIC's stateless resets. It outlives restarts, so that viewers learn of one at once.
    pub fn reset_key(&self) -> &[u8; 64] {
        &self.reset_key
    }
}

impl fmt::Debug for HostIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostIdentity({})", self.host_id)
    }
}

/// Makes rustls' kind of time.
pub fn unix_time(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

fn ca_params(host_id: &str, now: SystemTime) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, format!("Kachel host {host_id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now - CLOCK_SLACK).into();
    params.not_after = (now + CA_LIFE).into();
    Ok(params)
}

fn leaf_params(name: &str, now: SystemTime, end: SystemTime, purpose: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    params.not_before = (now - CLOCK_SLACK).into();
    params.not_after = end.into();
    params
}

fn new_key() -> Result<KeyPair, IdentityError> {
    Ok(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?)
}

fn parse_key(pem: &str, path: &Path) -> Result<KeyPair, IdentityError> {
    KeyPair::from_pkcs8_pem_and_sign_algo(pem, &rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(|_| IdentityError::Content(path.to_owned()))
}

fn parse_certificate(pem: &str, path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| IdentityError::Content(path.to_owned()))
}

fn read(path: &Path) -> Result<Option<String>, IdentityError> {
    match read_bounded(path, TRIAL_BYTES_MAX) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::File { path: path.to_owned(), source }),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    write_private(path, bytes).map_err(|source| IdentityError::File { path: path.to_owned(), source })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
