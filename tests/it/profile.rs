//! The viewer's half of the one TLS profile and of QUIC's version, against hosts that do not keep to it: real QUIC, nothing
//! but this machine's loopback.
//!
//! The host's half, against intruders: `tests/e2e/trust.rs`.

use bytes::Bytes;
use kachel::io::net::devices::DeviceList;
use kachel::io::net::identity::{DeviceKey, HostIdentity};
use kachel::io::net::tls::{Gate, host_name};
use kachel::io::net::trial::{TRIAL_LIFE, Trial};
use kachel::io::net::{ConnectError, Connector, Received, Side, host_endpoint, server_config, transport};
use kachel::limits;
use kachel::proto::wire::STREAM_FRAME;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, ServerConfig};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs::{ALL_KX_GROUPS, cipher_suite, default_provider, kx_group};
use rustls::crypto::{ActiveKeyExchange, CompletedKeyExchange, CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, StoresServerSessions};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{CipherSuite, NamedGroup, SignatureAlgorithm, SignatureScheme};
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::time::timeout;

/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// QUIC version 2 (RFC 9369).
const QUIC_2: u32 = 0x6b33_43cf;
/// QUIC's shortest first packet, with the whole datagram (RFC 9000, section 14.1).
const FIRST_PACKET_BYTES: usize = 1200;

/// What a test's hosts and its viewer are made of.
struct Stage {
    dir: TempDir,
    identity: HostIdentity,
}

impl Stage {
    fn new() -> Stage {
        let dir = TempDir::new().expect("dir");
        let identity = HostIdentity::load_or_create(&dir.path().join("identity"), SystemTime::now()).expect("identity");
        Stage { dir, identity }
    }

    /// A viewer that knows our host, and looks for it at this address.
    fn viewer(&self, host: SocketAddr) -> Connector {
        let key = DeviceKey::generate().expect("key");
        let certificate = self.identity.certify_device(&key, "x", SystemTime::now(), TRIAL_LIFE).expect("certificate");
        let (id, ca) = (self.identity.host_id(), self.identity.ca_pem());
        Connector::new(&Trial::new(vec![host.to_string()], id, "demo", ca, certificate, &key)).expect("keys")
    }

    /// A host in order, but that it lets everybody in, and takes all that rustls has.
    fn impostor(&self) -> Impostor {
        Impostor::new(vec![self.identity.leaf().clone()], self.identity.leaf_key())
    }

    /// The same with a certificate of our CA that these parameters make, and the key of this algorithm.
    fn certified(&self, params: &CertificateParams, algorithm: &'static rcgen::SignatureAlgorithm) -> Impostor {
        let ca_key = std::fs::read_to_string(self.dir.path().join("identity/ca.key")).expect("CA key");
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, format!("Kachel host {}", self.identity.host_id()));
        let issuer = Issuer::new(ca, KeyPair::from_pem(&ca_key).expect("key"));
        let key = KeyPair::generate_for(algorithm).expect("key");
        Impostor::new(vec![params.signed_by(&key, &issuer).expect("sign").der().clone()], pkcs8(&key))
    }

    /// A host's certificate in order.
    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::new(vec![host_name(self.identity.host_id())]).expect("a name");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params
    }
}

fn pkcs8(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS #8")
}

/// A host that need not keep to the profile.
struct Impostor {
    provider: CryptoProvider,
    certificate: Arc<Shown>,
    alpn: Vec<Vec<u8>>,
    sessions: Option<Arc<Sessions>>,
}

impl Impostor {
    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Impostor {
        let provider = CryptoProvider { kx_groups: ALL_KX_GROUPS.to_vec(), ..default_provider() };
        let signer = provider.key_provider.load_private_key(key).expect("key");
        // Not every pair here fits together, so it is put together without rustls' check.
        let pair = Arc::new(CertifiedKey::new(chain, Arc::new(StubbornKey(signer))));
        let certificate = Arc::new(Shown { pair, heard: Mutex::default() });
        Impostor { provider, certificate, alpn: vec![limits::ALPN.to_vec()], sessions: None }
    }

    fn config(&self) -> ServerConfig {
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(self.provider.clone()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.certificate) as Arc<dyn ResolvesServerCert>);
        tls.alpn_protocols = self.alpn.clone();
        if let Some(sessions) = &self.sessions {
            tls.session_storage = Arc::clone(sessions) as Arc<dyn StoresServerSessions>;
            tls.max_early_data_size = u32::MAX;
        }
        let initial = cipher_suite::TLS13_AES_128_GCM_SHA256;
        let initial = initial.tls13().and_then(|suite| suite.quic_suite()).expect("QUIC's first suite");
        server_config(
            QuicServerConfig::with_initial(Arc::new(tls), initial).expect("configuration"),
            Arc::new(transport(Side::Host)),
        )
    }

    /// Listens, and says one frame to everybody that takes it for its host.
    fn listen(&self) -> Endpoint {
        let endpoint = Endpoint::server(self.config(), "127.0.0.1:0".parse().expect("address")).expect("socket");
        let hosts = endpoint.clone();
        tokio::spawn(async move {
            while let Some(incoming) = hosts.accept().await {
                tokio::spawn(async move {
                    let Ok(connection) = incoming.await else { return };
                    if let Ok(mut stream) = connection.open_uni().await {
                        // Who does not want it goes.
                        let _ = (stream.write_all(&[STREAM_FRAME, 7]).await, stream.finish());
                    }
                    connection.closed().await;
                });
            }
        });
        endpoint
    }
}

/// The host's certificate; notes what is offered to whom it is shown.
#[derive(Debug)]
struct Shown {
    pair: Arc<CertifiedKey>,
    heard: Mutex<Vec<Offer>>,
}

/// What a viewer offers in its first message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Offer {
    suites: Vec<CipherSuite>,
    groups: Vec<NamedGroup>,
    signatures: Vec<SignatureScheme>,
    alpn: Vec<Vec<u8>>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offer = Offer {
            suites: hello.cipher_suites().to_vec(),
            groups: hello.named_groups().unwrap_or_default().to_vec(),
            signatures: hello.signature_schemes().to_vec(),
            alpn: hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect(),
        };
        self.heard.lock().expect("no panic").push(offer);
        Some(Arc::clone(&self.pair))
    }
}

/// Signs whatever the viewer takes.
#[derive(Debug)]
struct StubbornKey(Arc<dyn SigningKey>);

impl SigningKey for StubbornKey {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        use SignatureScheme::{ECDSA_NISTP256_SHA256, ED25519, RSA_PSS_SHA256};
        self.0.choose_scheme(&[ED25519, RSA_PSS_SHA256, ECDSA_NISTP256_SHA256])
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        // Every viewer takes a host that says so, until it sees the signature.
        SignatureAlgorithm::ECDSA
    }
}

/// Keeps sessions for who wants to come back without a handshake, and counts who does.
#[derive(Debug, Default)]
struct Sessions {
    kept: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    asked: Mutex<u32>,
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.kept.lock().expect("no panic").insert(key, value);
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        *self.asked.lock().expect("no panic") += 1;
        self.kept.lock().expect("no panic").get(key).cloned()
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        *self.asked.lock().expect("no panic") += 1;
        self.kept.lock().expect("no panic").remove(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Takes a share of a hybrid group and answers its classical part alone: rightly, but for what was asked.
#[derive(Debug)]
struct Halved {
    hybrid: NamedGroup,
    classical: &'static dyn SupportedKxGroup,
    /// Where it lies in the viewer's share (draft-ietf-tls-ecdhe-mlkem, section 4.1).
    part: Range<usize>,
}

impl SupportedKxGroup for Halved {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, rustls::Error> {
        unreachable!("hosts only complete")
    }

    fn start_and_complete(&self, share: &[u8]) -> Result<CompletedKeyExchange, rustls::Error> {
        self.classical.start_and_complete(&share[self.part.clone()])
    }

    fn name(&self) -> NamedGroup {
        self.hybrid
    }
}

/// Meets the host at the endpoint, up to its first frame.
async fn meet(viewer: &Connector) -> Result<(), ConnectError> {
    let mut connection = timeout(PATIENCE, viewer.connect()).await.expect("an end")?;
    match timeout(PATIENCE, connection.recv()).await.expect("a frame") {
        Received::Frame(frame) => assert_eq!(frame, Bytes::from_static(&[7])),
        other => panic!("{other:?} is no frame"),
    }
    Ok(())
}

#[tokio::test]
async fn nobody_is_taken_for_the_host_who_is_not() {
    let stage = Stage::new();
    let other = Stage::new();
    let p256 = &rcgen::PKCS_ECDSA_P256_SHA256;
    let offering = |change: &dyn Fn(&mut CryptoProvider)| {
        let mut impostor = stage.impostor();
        change(&mut impostor.provider);
        impostor
    };
    let with = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = stage.params();
        change(&mut params);
        stage.certified(&params, p256)
    };
    let self_signed = || {
        let key = KeyPair::generate_for(p256).expect("key");
        Impostor::new(vec![stage.params().self_signed(&key).expect("sign").der().clone()], pkcs8(&key))
    };
    // The host's own certificate plays CA, which it is none, for the very name.
    let host_as_issuer = || {
        let leaf_key = KeyPair::try_from(stage.identity.leaf_key().secret_der()).expect("key");
        let mut issuer = CertificateParams::default();
        issuer.distinguished_name.push(DnType::CommonName, stage.identity.host_id());
        let key = KeyPair::generate_for(p256).expect("key");
        let leaf = stage.params().signed_by(&key, &Issuer::new(issuer, leaf_key)).expect("sign");
        Impostor::new(vec![leaf.der().clone(), stage.identity.leaf().clone()], pkcs8(&key))
    };
    // The right certificate, which everybody gets who asks the host, but not its key.
    let without_its_key = || {
        let key = KeyPair::generate_for(p256).expect("key");
        Impostor::new(vec![stage.identity.leaf().clone()], pkcs8(&key))
    };

    const ANOTHER: fn(&ConnectError) -> bool = |error| matches!(error, ConnectError::HostCertificate { .. });
    const UNFIT: fn(&ConnectError) -> bool = |error| matches!(error, ConnectError::Incompatible { .. });
    type Case = (&'static str, Impostor, Option<fn(&ConnectError) -> bool>);
    let cases: Vec<Case> = vec![
        ("our host", stage.impostor(), None),
        ("a host that is certified here", with(&|_| {}), None),
        ("another host", other.impostor(), Some(ANOTHER)),
        ("self-signed", self_signed(), Some(ANOTHER)),
        ("the host's certificate as issuer", host_as_issuer(), Some(ANOTHER)),
        ("without its key", without_its_key(), Some(ANOTHER)),
        ("another name", with(&|p| p.subject_alt_names = other.params().subject_alt_names), Some(ANOTHER)),
        ("expired", with(&|p| p.not_after = date_time_ymd(2020, 1, 1)), Some(ANOTHER)),
        ("not yet valid", with(&|p| p.not_before = date_time_ymd(2200, 1, 1)), Some(ANOTHER)),
        (
            "a device's certificate",
            with(&|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            Some(ANOTHER),
        ),
        ("RSA key", stage.certified(&stage.params(), &rcgen::PKCS_RSA_SHA256), Some(UNFIT)),
        ("Ed25519 key", stage.certified(&stage.params(), &rcgen::PKCS_ED25519), Some(UNFIT)),
        ("X25519 only", offering(&|p| p.kx_groups = vec![kx_group::X25519]), Some(UNFIT)),
        ("P-256 only", offering(&|p| p.kx_groups = vec![kx_group::SECP256R1]), Some(UNFIT)),
        ("pure ML-KEM", offering(&|p| p.kx_groups = vec![kx_group::MLKEM768]), Some(UNFIT)),
        (
            "ChaCha20 only",
            offering(&|p| p.cipher_suites = vec![cipher_suite::TLS13_CHACHA20_POLY1305_SHA256]),
            Some(UNFIT),
        ),
        ("another protocol", Impostor { alpn: vec![b"h3".to_vec()], ..stage.impostor() }, Some(UNFIT)),
        ("next version of ours", Impostor { alpn: vec![b"kachel/2".to_vec()], ..stage.impostor() }, Some(UNFIT)),
        ("no protocol named", Impostor { alpn: Vec::new(), ..stage.impostor() }, Some(UNFIT)),
    ];
    for (case, impostor, expected) in cases {
        let endpoint = impostor.listen();
        let result = meet(&stage.viewer(endpoint.local_addr().expect("address"))).await;
        match (expected, result) {
            (None, result) => assert!(result.is_ok(), "{case}: {result:?}"),
            (Some(_), Ok(())) => panic!("{case} is taken for the host"),
            (Some(expected), Err(error)) => assert!(expected(&error), "{case}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn a_viewer_offers_the_profile_and_nothing_else() {
    let stage = Stage::new();
    let impostor = stage.impostor();
    let endpoint = impostor.listen();
    meet(&stage.viewer(endpoint.local_addr().expect("address"))).await.expect("our host");
    let offer = Offer {
        suites: vec![CipherSuite::TLS13_AES_256_GCM_SHA384, CipherSuite::TLS13_AES_128_GCM_SHA256],
        groups: vec![NamedGroup::secp256r1MLKEM768, NamedGroup::X25519MLKEM768],
        signatures: vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ECDSA_NISTP384_SHA384],
        alpn: vec![limits::ALPN.to_vec()],
    };
    assert_eq!(*impostor.certificate.heard.lock().expect("no panic"), [offer]);
}

/// A host that is asked for a hybrid and answers with its classical half is refused, and leaves nothing behind that would
/// have the viewer begin with that half the next time (CVE-2026-123611 in rustls before 0.23.46).
#[tokio::test]
async fn a_classical_answer_is_refused_and_is_no_hint_for_the_next_time() {
    let stage = Stage::new();
    let hybrids: [(NamedGroup, &'static dyn SupportedKxGroup, Range<usize>); 2] = [
        (NamedGroup::secp256r1MLKEM768, kx_group::SECP256R1, 0..65),
        (NamedGroup::X25519MLKEM768, kx_group::X25519, 1184..1216),
    ];
    for (hybrid, classical, part) in hybrids {
        let honest = stage.impostor();
        let mut hostile = stage.impostor();
        hostile.provider.kx_groups = vec![Box::leak(Box::new(Halved { hybrid, classical, part }))];
        let endpoint = hostile.listen();
        let viewer = stage.viewer(endpoint.local_addr().expect("address"));
        let error = meet(&viewer).await.expect_err("half an answer");
        assert!(matches!(error, ConnectError::Incompatible { .. }), "{hybrid:?}: {error:?}");
        // The same viewer, at the same address, where now everything is taken that rustls has.
        endpoint.set_server_config(Some(honest.config()));
        meet(&viewer).await.expect("our host");
        let heard = honest.certificate.heard.lock().expect("no panic").clone();
        // One hello: its share was of the group that is taken first, so it was not asked for another.
        assert_eq!(heard.len(), 1, "{hybrid:?}: {heard:?}");
        assert_eq!(heard[0].groups, [NamedGroup::secp256r1MLKEM768, NamedGroup::X25519MLKEM768], "{hybrid:?}");
    }
}

#[tokio::test]
async fn a_viewer_takes_no_ticket_of_a_host_that_gives_some() {
    let stage = Stage::new();
    let sessions = Arc::new(Sessions::default());
    let impostor = Impostor { sessions: Some(Arc::clone(&sessions)), ..stage.impostor() };
    let endpoint = impostor.listen();
    let viewer = stage.viewer(endpoint.local_addr().expect("address"));
    for round in 0..3 {
        meet(&viewer).await.expect("our host");
        assert!(!sessions.kept.lock().expect("no panic").is_empty(), "the host gives tickets");
        assert_eq!(*sessions.asked.lock().expect("no panic"), 0, "round {round}");
    }
}

#[tokio::test]
async fn a_host_speaks_no_other_version_of_quic() {
    let stage = Stage::new();
    let devices = Arc::new(DeviceList::new(stage.dir.path().join("devices.toml")));
    let (leaf, key) = (stage.identity.leaf().clone(), stage.identity.leaf_key());
    let gate = Gate::new(stage.identity.ca(), leaf, key, devices).expect("gate");
    let config = server_config(gate.config().expect("profile").0, Arc::new(transport(Side::Host)));
    let local = "127.0.0.1:0".parse().expect("address");
    let endpoint = host_endpoint(local, config, stage.identity.reset_key()).expect("socket");
    let scan = tokio::net::UdpSocket::bind(local).await.expect("socket");
    scan.connect(endpoint.local_addr().expect("address")).await.expect("loopback");
    for version in [QUIC_2, 0xff00_001d, 0xff00_0022, 0x0a0a_0a0a] {
        scan.send(&first_packet(version)).await.expect("loopback");
        let mut answer = [0; FIRST_PACKET_BYTES];
        let count = timeout(PATIENCE, scan.recv(&mut answer)).await.expect("an answer").expect("loopback");
        let versions = negotiation(&answer[..count]).expect("Version Negotiation");
        // Versions of this form mean nothing and are there so that nobody relies on the list's length (section 15).
        let real: Vec<u32> = versions.into_iter().filter(|version| version & 0x0f0f_0f0f != 0x0a0a_0a0a).collect();
        assert_eq!(real, [1], "version {version:#x}");
    }
}

#[tokio::test]
async fn a_viewer_speaks_no_other_version_of_quic() {
    let stage = Stage::new();
    let host = UdpSocket::bind("127.0.0.1:0").expect("socket");
    host.set_nonblocking(true).expect("socket");
    let host = tokio::net::UdpSocket::from_std(host).expect("socket");
    let viewer = stage.viewer(host.local_addr().expect("address"));
    let answer = async {
        let mut packet = [0; 2048];
        let (count, peer) = host.recv_from(&mut packet).await.expect("a first packet");
        assert!(count >= FIRST_PACKET_BYTES);
        assert_eq!(packet[1..5], 1u32.to_be_bytes(), "its version");
        // RFC 9000, section 17.2.1: the ids change places.
        let (to, from) = ids(&packet).expect("two ids");
        let mut answer = vec![0x80, 0, 0, 0, 0];
        for id in [from, to] {
            answer.push(id.len() as u8);
            answer.extend_from_slice(id);
        }
        answer.extend_from_slice(&QUIC_2.to_be_bytes());
        host.send_to(&answer, peer).await.expect("loopback");
    };
    let (result, ()) = tokio::join!(viewer.connect(), answer);
    let error = result.expect_err("no common version");
    assert!(matches!(error, ConnectError::Incompatible { .. }), "{error:?}");
}

/// A first packet of a client of this version, as far as every version has it (RFC 8999).
fn first_packet(version: u32) -> Vec<u8> {
    let mut packet = vec![0xc0];
    packet.extend_from_slice(&version.to_be_bytes());
    packet.extend_from_slice(&[8, 1, 2, 3, 4, 5, 6, 7, 8]);
    packet.extend_from_slice(&[4, 9, 9, 9, 9]);
    packet.resize(FIRST_PACKET_BYTES, 0);
    packet
}

/// The versions in a Version Negotiation packet; `None` if it is another one.
fn negotiation(packet: &[u8]) -> Option<Vec<u32>> {
    let (to, from) = ids(packet)?;
    if packet[0] & 0x80 == 0 || packet[1..5] != [0; 4] {
        return None;
    }
    let versions = packet[7 + to.len() + from.len()..].chunks_exact(4);
    Some(versions.map(|bytes| u32::from_be_bytes(bytes.try_into().expect("four"))).collect())
}

/// The ids in a long header: whom it is for, whom it is from.
fn ids(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = packet.get(5..)?.split_first()?;
    let (to, rest) = rest.split_at_checked(usize::from(*count))?;
    let (count, rest) = rest.split_first()?;
    Some((to, rest.get(..usize::from(*count))?))
}
