//! The one TLS profile, without room to negotiate: TLS 1.3, AES-GCM, hybrid key agreement, ECDSA, both ends certified.
//!
//! Certificates are checked by rustls' ordinary path validation against the host's own CA; the host looks besides at its
//! list of devices at every connection. No early data, no tickets, no resumption, so that every connection is checked.

use crate::io::net::devices::{Device, DeviceList, ListError};
use crate::io::net::identity::KeyHash;
use crate::limits;
use rustls::client::Resumption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme, version};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use thiserror::Error;
use webpki::aws_lc_rs::{ECDSA_P256_SHA256, ECDSA_P384_SHA384};

/// Why no TLS configuration can be made of our own keys and certificates.
#[derive(Debug, Error)]
pub enum TlsError {
    /// rustls does not take a certificate or key.
    #[error("a key or certificate cannot be used")]
    Rustls(#[from] rustls::Error),
    /// The CA certificate cannot be the root of a check.
    #[error("the host's CA certificate cannot be used")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
    /// The profile lacks what QUIC's first packets need.
    #[error(transparent)]
    Quic(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

/// Why a device was not let in. For the host's own log; the device is told the same for all of them.
#[derive(Debug, Error)]
pub enum Refusal {
    /// Its certificate has ended.
    #[error("device certificate has expired")]
    Expired,
    /// Its certificate has not begun.
    #[error("device certificate is not yet valid")]
    NotYetValid,
    /// Its certificate does not lead to our CA.
    #[error("device certificate is not of this host's CA")]
    UnknownIssuer,
    /// The signature in its certificate is wrong.
    #[error("device certificate carries a wrong signature")]
    Signature,
    /// Its certificate is for something else.
    #[error("device certificate is not for a client")]
    Purpose,
    /// Its certificate is otherwise not in order.
    #[error("device certificate is not in order: {0:?}")]
    Certificate(CertificateError),
    /// Path validation failed for another reason.
    #[error("device certificate cannot be checked")]
    Check(#[source] rustls::Error),
    /// The certificate is good, but its key is not, or no longer, on the list.
    #[error("device key {0} is not on the list")]
    NotListed(KeyHash),
    /// The list cannot be read: nobody comes in.
    #[error("the device list cannot be read")]
    List(#[from] ListError),
}

/// What the check of one connection's device found; empty until there was a check.
pub type Verdict = Arc<Mutex<Option<Result<Device, Refusal>>>>;

/// The name by which certificates and TLS know a host.
pub fn host_name(host_id: &str) -> String {
    format!("{host_id}.kachel.invalid")
}

/// aws-lc-rs, reduced to the profile.
pub fn provider() -> Arc<CryptoProvider> {
    static ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
        all: &[ECDSA_P256_SHA256, ECDSA_P384_SHA384],
        mapping: &[
            (SignatureScheme::ECDSA_NISTP256_SHA256, &[ECDSA_P256_SHA256]),
            (SignatureScheme::ECDSA_NISTP384_SHA384, &[ECDSA_P384_SHA384]),
        ],
    };
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| {
        Arc::new(CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384, cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![kx_group::SECP256R1MLKEM768, kx_group::X25519MLKEM768],
            signature_verification_algorithms: ALGORITHMS,
            ..rustls::crypto::aws_lc_rs::default_provider()
        })
    }))
}

/// The only root: one host's CA.
///
/// # Errors
/// [`TlsError::Rustls`] if it is no certificate.
pub fn roots(ca: &CertificateDer<'static>) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone())?;
    Ok(Arc::new(roots))
}

/// A viewer's side of TLS.
///
/// # Errors
/// [`TlsError`] if the certificates or the key cannot be used.
pub fn viewer_config(
    ca: &CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<rustls::ClientConfig, TlsError> {
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots(ca)?, provider()).build()?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![limits::ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

/// rustls' check of a device certificate against the host's CA.
///
/// # Errors
/// [`TlsError`] if the CA cannot be used.
pub fn device_verifier(ca: &CertificateDer<'static>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    Ok(WebPkiClientVerifier::builder_with_provider(roots(ca)?, provider()).build()?)
}

/// Checks a host's certificate at a time, with the very rules that viewers use.
///
/// # Errors
/// [`rustls::Error`] as a viewer would see it; [`TlsError`] values become a general one.
pub fn check_host(
    ca: &CertificateDer<'static>,
    leaf: &CertificateDer<'static>,
    host_id: &str,
    now: UnixTime,
) -> Result<(), rustls::Error> {
    let general = |error: TlsError| rustls::Error::General(error.to_string());
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots(ca).map_err(general)?, provider())
        .build()
        .map_err(|error| general(error.into()))?;
    let name = ServerName::try_from(host_name(host_id)).map_err(|e| rustls::Error::General(e.to_string()))?;
    rustls::client::danger::ServerCertVerifier::verify_server_cert(&*verifier, leaf, &[], &name, &[], now)?;
    Ok(())
}

/// A host's side of TLS: who it is and whom it lets in.
#[derive(Debug)]
pub struct Gate {
    certificate: Arc<SingleCertAndKey>,
    chain: Arc<dyn ClientCertVerifier>,
    devices: Arc<DeviceList>,
}

impl Gate {
    /// Takes the host's certificate, its key and the list of devices.
    ///
    /// # Errors
    /// [`TlsError`] if the certificates or the key cannot be used.
    pub fn new(
        ca: &CertificateDer<'static>,
        leaf: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
        devices: Arc<DeviceList>,
    ) -> Result<Gate, TlsError> {
        let key = CertifiedKey::from_der(vec![leaf], key, &provider())?;
        Ok(Gate { certificate: Arc::new(SingleCertAndKey::from(key)), chain: device_verifier(ca)?, devices })
    }

    /// Makes the configuration for one connection, and the place where its verdict will stand.
    ///
    /// One per connection, so that the log can name the address and the reason in one line while the peer learns only
    /// that it was refused.
    ///
    /// # Errors
    /// [`TlsError`] if the profile cannot be met.
    pub fn config(&self) -> Result<(quinn::crypto::rustls::QuicServerConfig, Verdict), TlsError> {
        let verdict = Verdict::default();
        let verifier = Arc::new(DeviceVerifier {
            chain: Arc::clone(&self.chain),
            devices: Arc::clone(&self.devices),
            verdict: Arc::clone(&verdict),
        });
        let certificate = Arc::clone(&self.certificate);
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(certificate);
        config.alpn_protocols = vec![limits::ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok((config.try_into()?, verdict))
    }
}

/// Path validation, then the list; whatever fails, the peer sees the same alert.
#[derive(Debug)]
struct DeviceVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    devices: Arc<DeviceList>,
    verdict: Verdict,
}

impl DeviceVerifier {
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Device, Refusal> {
        self.chain.verify_client_cert(leaf, others, now).map_err(Refusal::from)?;
        let key = KeyHash::of_certificate(leaf).ok_or(Refusal::Certificate(CertificateError::BadEncoding))?;
        self.devices.find(&key)?.ok_or(Refusal::NotListed(key))
    }
}

impl ClientCertVerifier for DeviceVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Nobody who asks needs to learn which host this is.
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verdict = self.check(leaf, others, now);
        let admitted = verdict.is_ok();
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
        if admitted {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

impl From<rustls::Error> for Refusal {
    fn from(error: rustls::Error) -> Refusal {
        let rustls::Error::InvalidCertificate(certificate) = error else { return Refusal::Check(error) };
        match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Refusal::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Refusal::NotYetValid,
            CertificateError::UnknownIssuer => Refusal::UnknownIssuer,
            CertificateError::BadSignature => Refusal::Signature,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Refusal::Purpose,
            other => Refusal::Certificate(other),
        }
    }
}
