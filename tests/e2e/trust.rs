//! Who gets in, against the real front over real QUIC: everybody that should not, by a distinct reason in the log.
//!
//! The session's side of the front's socket is played by the test, which so sees every byte that passes the door.

use crate::support::process::wake_ups;
use bytes::{Bytes, BytesMut};
use kachel::geom::{Point, Size};
use kachel::io::net::devices::{Device, DeviceList};
use kachel::io::net::identity::{DeviceKey, HostIdentity};
use kachel::io::net::tls::host_name;
use kachel::io::net::trial::{TRIAL_LIFE, Trial};
use kachel::io::net::{ConnectError, Connector, LostReason, Received, ViewerConnection};
use kachel::limits;
use kachel::proto::wire::print::PrintWish;
use kachel::proto::wire::{
    CloseCode, Hello, HostMessage, InputEvent, InputMessage, LockKeys, Progress, Relay, ViewerMessage,
};
use quinn::crypto::rustls::QuicClientConfig;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{RootCertStore, SignatureAlgorithm, SignatureScheme};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Nothing here takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running front with one trial, named "desk".
struct Host {
    dir: TempDir,
    child: Child,
    address: SocketAddr,
}

impl Host {
    fn start() -> (Host, UnixListener) {
        Host::start_with(&[])
    }

    fn start_with(arguments: &[&str]) -> (Host, UnixListener) {
        let dir = TempDir::new().expect("dir");
        let session = dir.path().join("state/sessions/desk");
        fs::create_dir_all(&session).expect("session directory");
        let listener = UnixListener::bind(session.join("session.sock")).expect("session socket");
        let (child, address) = Host::spawn(&dir, "127.0.0.1:0", arguments);
        (Host { dir, child, address }, listener)
    }

    fn spawn(dir: &TempDir, listen: &str, arguments: &[&str]) -> (Child, SocketAddr) {
        let log = fs::File::options().create(true).append(true).open(dir.path().join("log")).expect("log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_kachel-host"))
            .arg("serve")
            .args(arguments)
            .args(["--listen", listen, "--trial"])
            .arg(dir.path().join("desk"))
            .arg("--state")
            .arg(dir.path().join("state"))
            .env("KACHEL_LOG", "kachel=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("kachel-host");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("ready line");
        let address = line.trim().strip_prefix("kachel-host: ready on ").expect("ready").parse().expect("address");
        (child, address)
    }

    fn restart(&mut self) {
        (self.child, self.address) = Host::spawn(&self.dir, &self.address.to_string(), &[]);
    }

    fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("gone");
    }

    fn trial(&self) -> Trial {
        Trial::load(&self.dir.path().join("desk/trial.kachel")).expect("trial")
    }

    fn identity(&self) -> HostIdentity {
        HostIdentity::load_or_create(&self.dir.path().join("state/identity"), SystemTime::now()).expect("identity")
    }

    fn devices(&self) -> DeviceList {
        DeviceList::new(self.dir.path().join("state/devices.toml"))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).expect("log")
    }

    async fn wait_for_log(&self, from: usize, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.log()[from..].contains(text) {
            assert!(Instant::now() < end, "no {text:?} in the log:\n{}", &self.log()[from..]);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The session's end of the front's socket.
struct Session {
    stream: UnixStream,
    inbox: BytesMut,
}

impl Session {
    async fn accept(listener: &UnixListener) -> Session {
        let (stream, _) = timeout(PATIENCE, listener.accept()).await.expect("front comes").expect("accept");
        Session { stream, inbox: BytesMut::new() }
    }

    async fn next(&mut self) -> Relay {
        timeout(PATIENCE, async {
            loop {
                if let Some(message) = Relay::decode(&mut self.inbox).expect("relay") {
                    return message;
                }
                assert!(self.stream.read_buf(&mut self.inbox).await.expect("read") > 0, "the front closed");
            }
        })
        .await
        .expect("a message from the front")
    }

    /// The next message that is not about the path.
    async fn next_word(&mut self) -> Relay {
        loop {
            match self.next().await {
                Relay::Path(_) => {}
                other => return other,
            }
        }
    }

    async fn send(&mut self, message: &Relay) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.stream.write_all(&bytes).await.expect("write");
    }

    async fn say(&mut self, message: &HostMessage) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.send(&Relay::Control(bytes.into())).await;
    }

    /// Takes the words with which a viewer is introduced.
    async fn expect_viewer(&mut self) {
        loop {
            match self.next_word().await {
                Relay::Attached { device, frames, inputs } => {
                    assert_eq!(device, "trial desk");
                    self.send(&Relay::Attached { device, frames, inputs }).await;
                    break;
                }
                Relay::Detached => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(self.next_word().await, Relay::Control(framed(&ViewerMessage::Hello(hello()))));
    }

    fn assert_silent(&mut self, who: &str) {
        match self.stream.try_read_buf(&mut self.inbox) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => assert!(self.inbox.is_empty(), "{who}"),
            other => panic!("{who} reached the session: {other:?} {:?}", self.inbox),
        }
    }
}

fn hello() -> Hello {
    Hello {
        version: 1,
        capabilities: 0,
        viewport: Size::new(800, 600),
        scale_percent: 100,
        layout: "de".to_owned(),
        variant: "nodeadkeys".to_owned(),
        locale: "de-DE".to_owned(),
    }
}

fn framed(message: &ViewerMessage) -> Bytes {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes.into()
}

fn motion(number: u32) -> InputMessage {
    InputMessage { number, event: InputEvent::Motion(Point { x: number, y: 1 }) }
}

async fn enter(trial: &Trial) -> ViewerConnection {
    let mut viewer = Connector::new(trial).expect("connector").connect().await.expect("connection");
    viewer.send_control(&ViewerMessage::Hello(hello())).expect("hello");
    viewer
}

async fn recv(viewer: &mut ViewerConnection) -> Received {
    timeout(PATIENCE, viewer.recv()).await.expect("something from the host")
}

/// A client that need not keep to the profile.
struct Intruder {
    provider: rustls::crypto::CryptoProvider,
    chain: Vec<CertificateDer<'static>>,
    key: Option<PrivateKeyDer<'static>>,
    alpn: &'static [u8],
    /// Signs with its key whatever the host asks for.
    stubborn: bool,
}

/// Ignores which signatures the other side takes.
#[derive(Debug)]
struct StubbornKey(Arc<dyn SigningKey>);

impl SigningKey for StubbornKey {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        use SignatureScheme::{ECDSA_NISTP256_SHA256, ED25519, RSA_PSS_SHA256};
        self.0.choose_scheme(&[ED25519, RSA_PSS_SHA256, ECDSA_NISTP256_SHA256])
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

/// Offers its certificate to everybody.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl rustls::client::ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl Intruder {
    /// A client in order, with these credentials.
    fn with(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Intruder {
        let provider = (*kachel::io::net::tls::provider()).clone();
        Intruder { provider, chain, key: Some(key), alpn: limits::ALPN, stubborn: false }
    }

    fn of(trial: &Trial) -> Intruder {
        let credentials = trial.credentials().expect("credentials");
        Intruder::with(vec![credentials.certificate], credentials.key)
    }

    fn tls(&self, ca: &CertificateDer<'static>) -> rustls::ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone()).expect("root");
        let provider = Arc::new(self.provider.clone());
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots);
        let mut tls = match &self.key {
            None => builder.with_no_client_auth(),
            Some(key) => {
                // Not every pair here fits together, so it is put together without rustls' check.
                let signer = default_provider().key_provider.load_private_key(key.clone_key()).expect("key");
                let signer = if self.stubborn { Arc::new(StubbornKey(signer)) } else { signer };
                let pair = Arc::new(CertifiedKey::new(self.chain.clone(), signer));
                builder.with_client_cert_resolver(Arc::new(Always(pair)))
            }
        };
        tls.alpn_protocols = vec![self.alpn.to_vec()];
        tls
    }

    fn config(&self, ca: &CertificateDer<'static>) -> quinn::ClientConfig {
        let tls = self.tls(ca);
        let initial = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
        let initial = initial.tls13().and_then(|suite| suite.quic_suite()).expect("QUIC's first suite");
        let quic = QuicClientConfig::with_initial(Arc::new(tls), initial).expect("configuration");
        quinn::ClientConfig::new(Arc::new(quic))
    }

    /// Tries to get in and to be answered; says why not.
    async fn try_to_enter(&self, host: &Host, ca: &CertificateDer<'static>, name: &str) -> Result<usize, String> {
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().expect("address")).expect("endpoint");
        let attempt = async {
            let connection = endpoint
                .connect_with(self.config(ca), host.address, name)
                .map_err(|e| e.to_string())?
                .await
                .map_err(|e| e.to_string())?;
            // TLS 1.3 lets a client speak before the host has looked at its certificate.
            let (mut out, mut answer) = connection.open_bi().await.map_err(|e| e.to_string())?;
            let _ = out.write_all(&framed(&ViewerMessage::Hello(hello()))).await;
            let mut bytes = [0; 100];
            tokio::select! {
                read = answer.read(&mut bytes) => match read {
                    Ok(read) => Ok(read.unwrap_or(0)),
                    Err(_) => Err(connection.closed().await.to_string()),
                },
                stream = connection.accept_uni() => match stream {
                    Ok(_) => Ok(usize::MAX),
                    Err(error) => Err(error.to_string()),
                },
            }
        };
        timeout(PATIENCE, attempt).await.expect("an end")
    }
}

#[tokio::test]
async fn nobody_gets_in_who_should_not() {
    let (host, listener) = Host::start();
    let mut session = Session::accept(&listener).await;
    let (trial, identity, now) = (host.trial(), host.identity(), SystemTime::now());
    let ca = identity.ca().clone();
    let name = host_name(identity.host_id());
    let other_dir = TempDir::new().expect("dir");
    let stranger = HostIdentity::load_or_create(other_dir.path(), now).expect("identity");

    // Keys that are on the list, so that only what the case is about can refuse them.
    let listed = |begin: SystemTime| {
        let key = DeviceKey::generate().expect("key");
        host.devices().insert(Device::new(&key.hash(), "x", "desk", now + DAY)).expect("insert");
        let certificate = identity.certify_device(&key, "x", begin, TRIAL_LIFE).expect("certificate");
        let trial =
            Trial::new(vec!["127.0.0.1:1".to_owned()], identity.host_id(), "", identity.ca_pem(), certificate, &key);
        Intruder::of(&trial)
    };
    let unlisted = || {
        let key = DeviceKey::generate().expect("key");
        let certificate = identity.certify_device(&key, "x", now, TRIAL_LIFE).expect("certificate");
        let trial =
            Trial::new(vec!["127.0.0.1:1".to_owned()], identity.host_id(), "", identity.ca_pem(), certificate, &key);
        Intruder::of(&trial)
    };
    let strange = || {
        let key = DeviceKey::generate().expect("key");
        host.devices().insert(Device::new(&key.hash(), "x", "desk", now + DAY)).expect("insert");
        let certificate = stranger.certify_device(&key, "x", now, TRIAL_LIFE).expect("certificate");
        let ca = stranger.ca_pem();
        Intruder::of(&Trial::new(vec!["127.0.0.1:1".to_owned()], "", "", ca, certificate, &key))
    };
    let list = |spki: &[u8]| {
        let key = kachel::io::net::identity::KeyHash::of_key(spki);
        host.devices().insert(Device::new(&key, "x", "desk", now + DAY)).expect("insert");
    };
    let client_params = || {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params
    };
    let pkcs8 = |key: &KeyPair| PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS #8");
    let self_signed = || {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("key");
        list(&rcgen::PublicKeyData::subject_public_key_info(&key));
        Intruder::with(vec![client_params().self_signed(&key).expect("sign").der().clone()], pkcs8(&key))
    };
    // A device that plays CA with its own certificate, which is none.
    let device_as_issuer = || {
        let credentials = trial.credentials().expect("credentials");
        let issuer_key = KeyPair::from_pem(&trial.device_key).expect("key");
        let mut issuer = CertificateParams::default();
        issuer.distinguished_name.push(rcgen::DnType::CommonName, "trial desk");
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("key");
        list(&rcgen::PublicKeyData::subject_public_key_info(&key));
        let leaf = client_params().signed_by(&key, &Issuer::new(issuer, issuer_key)).expect("sign");
        Intruder::with(vec![leaf.der().clone(), credentials.certificate], pkcs8(&key))
    };
    // Certified by the true CA, on the list, but with a key that is not in the profile.
    let other_key = |algorithm: &'static rcgen::SignatureAlgorithm, stubborn: bool| {
        let key = KeyPair::generate_for(algorithm).expect("key");
        list(&rcgen::PublicKeyData::subject_public_key_info(&key));
        let ca_key = fs::read_to_string(host.dir.path().join("state/identity/ca.key")).expect("CA key");
        let mut issuer = CertificateParams::default();
        issuer.distinguished_name.push(rcgen::DnType::CommonName, format!("Kachel host {}", identity.host_id()));
        let issuer = Issuer::new(issuer, KeyPair::from_pem(&ca_key).expect("key"));
        let leaf = client_params().signed_by(&key, &issuer).expect("sign");
        Intruder { stubborn, ..Intruder::with(vec![leaf.der().clone()], pkcs8(&key)) }
    };
    let offering = |change: &dyn Fn(&mut rustls::crypto::CryptoProvider)| {
        let mut intruder = listed(now);
        intruder.provider = default_provider();
        change(&mut intruder.provider);
        intruder
    };
    let wrong_key = || {
        let mut intruder = listed(now);
        intruder.key = Some(trial.credentials().expect("credentials").key);
        intruder
    };
    let host_as_device = || Intruder::with(vec![identity.leaf().clone()], identity.leaf_key());

    let cases: Vec<(&str, Intruder, &str)> = vec![
        ("no certificate", Intruder { key: None, ..listed(now) }, "peer sent no certificates"),
        ("expired", listed(now - 3 * DAY), "device certificate has expired"),
        ("not yet valid", listed(now + 2 * DAY), "device certificate is not yet valid"),
        ("another host's device", strange(), "not of this host's CA"),
        ("self-signed", self_signed(), "not of this host's CA"),
        ("device as issuer", device_as_issuer(), "EndEntityUsedAsCa"),
        ("host certificate as device", host_as_device(), "is not for a client"),
        ("not on the list", unlisted(), "is not on the list"),
        ("key of another device", wrong_key(), "BadSignature"),
        ("RSA device", other_key(&rcgen::PKCS_RSA_SHA256, false), "peer sent no certificates"),
        ("stubborn RSA device", other_key(&rcgen::PKCS_RSA_SHA256, true), "SignedHandshakeWithUnadvertisedSigScheme"),
        ("Ed25519 device", other_key(&rcgen::PKCS_ED25519, false), "peer sent no certificates"),
        ("stubborn Ed25519 device", other_key(&rcgen::PKCS_ED25519, true), "SignedHandshakeWithUnadvertisedSigScheme"),
        ("X25519 only", offering(&|p| p.kx_groups = vec![kx_group::X25519]), "NoKxGroupsInCommon"),
        ("P-256 only", offering(&|p| p.kx_groups = vec![kx_group::SECP256R1]), "NoKxGroupsInCommon"),
        ("pure ML-KEM", offering(&|p| p.kx_groups = vec![kx_group::MLKEM768]), "NoKxGroupsInCommon"),
        (
            "ChaCha20 only",
            offering(&|p| p.cipher_suites = vec![cipher_suite::TLS13_CHACHA20_POLY1305_SHA256]),
            "NoCipherSuitesInCommon",
        ),
        ("another protocol", Intruder { alpn: b"h3", ..listed(now) }, "known protocol"),
        ("next version of ours", Intruder { alpn: b"kachel/2", ..listed(now) }, "known protocol"),
    ];
    for (case, intruder, reason) in cases {
        let from = host.log().len();
        let result = intruder.try_to_enter(&host, &ca, &name).await;
        assert!(result.is_err(), "{case}: {result:?}");
        eprintln!("{case}: {}", result.expect_err("refused"));
        host.wait_for_log(from, "Refused").await;
        assert!(host.log()[from..].contains(reason), "{case}: expected {reason:?} in\n{}", &host.log()[from..]);
        session.assert_silent(case);
    }

    // The same door opens for the right one, so the cases above failed for their own reasons.
    let mut viewer = enter(&trial).await;
    session.expect_viewer().await;
    session.say(&HostMessage::Locks(LockKeys::default())).await;
    assert!(matches!(recv(&mut viewer).await, Received::Control(_)));
}

#[tokio::test]
async fn refused_device_learns_only_that_it_is_refused() {
    let (host, _listener) = Host::start();
    let trial = host.trial();
    let id = host.devices().devices().expect("list")[0].id.clone();
    host.devices().revoke(&id).expect("revoke");
    let mut viewer = enter(&trial).await;
    assert_eq!(recv(&mut viewer).await, Received::Closed(LostReason::DeviceRefused));

    // A viewer that expects another host ends the handshake itself.
    let other = TempDir::new().expect("dir");
    let stranger = HostIdentity::load_or_create(other.path(), SystemTime::now()).expect("identity");
    let key = DeviceKey::generate().expect("key");
    let certificate = stranger.certify_device(&key, "x", SystemTime::now(), TRIAL_LIFE).expect("certificate");
    let trial = Trial::new(trial.addresses, stranger.host_id(), "desk", stranger.ca_pem(), certificate, &key);
    let error = Connector::new(&trial).expect("connector").connect().await.expect_err("another host");
    assert!(matches!(error, ConnectError::HostCertificate { .. }), "{error:?}");
}

/// A machine without any network, which is a namespace that nothing was set up in: this test calls itself in one.
#[tokio::test]
async fn a_machine_without_a_network_says_so_and_not_that_the_host_is_silent() {
    const NAME: &str = "trust::a_machine_without_a_network_says_so_and_not_that_the_host_is_silent";
    const INSIDE: &str = "KACHEL_TEST_NO_NETWORK";
    if std::env::var_os(INSIDE).is_none() {
        let mut inside = Command::new("unshare");
        inside.args(["--map-root-user", "--net"]).arg(std::env::current_exe().expect("this test's program"));
        let status = inside.args(["--exact", NAME]).env(INSIDE, "yes").status().expect("unshare runs");
        assert!(status.success(), "{status}");
        return;
    }
    let dir = TempDir::new().expect("dir");
    let identity = HostIdentity::load_or_create(dir.path(), SystemTime::now()).expect("identity");
    let key = DeviceKey::generate().expect("key");
    let certificate = identity.certify_device(&key, "x", SystemTime::now(), TRIAL_LIFE).expect("certificate");
    for address in ["192.0.2.1:7474", "[2001:db8::1]:7474"] {
        let addresses = vec![address.to_owned()];
        let trial = Trial::new(addresses, identity.host_id(), "desk", identity.ca_pem(), certificate.clone(), &key);
        let error = Connector::new(&trial).expect("connector").connect().await.expect_err("no way there");
        let ConnectError::Socket { source, .. } = &error else { panic!("{address}: {error:?}") };
        let kinds = [ErrorKind::NetworkUnreachable, ErrorKind::AddrNotAvailable];
        assert!(kinds.contains(&source.kind()), "{address}: {error:?}");
    }
}

#[tokio::test]
async fn revoked_viewer_is_cut_off_at_once() {
    let (host, listener) = Host::start();
    let mut session = Session::accept(&listener).await;
    let mut viewer = enter(&host.trial()).await;
    session.expect_viewer().await;
    let id = host.devices().devices().expect("list")[0].id.clone();
    let state = host.dir.path().join("state");
    let begin = Instant::now();
    let revoked = Command::new(env!("CARGO_BIN_EXE_kachel-host"))
        .args(["device", "revoke", &id, "--state"])
        .arg(&state)
        .status()
        .expect("kachel-host");
    assert!(revoked.success());
    assert_eq!(recv(&mut viewer).await, Received::Closed(LostReason::DeviceRefused));
    eprintln!("revoked within {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(session.next_word().await, Relay::Detached);
}

#[tokio::test]
async fn what_was_said_to_a_former_viewer_reaches_no_other() {
    let (host, listener) = Host::start();
    let mut session = Session::accept(&listener).await;
    let trial = host.trial();
    let mut former = enter(&trial).await;
    session.expect_viewer().await;
    let locks = |caps| HostMessage::Locks(LockKeys { caps, ..LockKeys::default() });
    session.say(&locks(false)).await;
    assert!(matches!(recv(&mut former).await, Received::Control(_)));
    let mut viewer = enter(&trial).await;
    assert_eq!(recv(&mut former).await, Received::Closed(LostReason::Closed(CloseCode::TakenOver)));
    // The session has not heard of it yet.
    session.send(&Relay::Frame(vec![1, 2, 3].into())).await;
    session.send(&Relay::Cursor(vec![1, 2, 3].into())).await;
    session.say(&locks(true)).await;
    session.send(&Relay::Close(CloseCode::Protocol as u32)).await;
    session.expect_viewer().await;
    session.say(&locks(false)).await;
    let Received::Control(message) = recv(&mut viewer).await else { panic!("something else came first") };
    assert_eq!(HostMessage::decode(&message).expect("ours"), locks(false));
}

#[tokio::test]
async fn viewer_leaves_when_its_time_is_over() {
    let (host, listener) = Host::start();
    let mut session = Session::accept(&listener).await;
    let mut viewer = enter(&host.trial()).await;
    session.expect_viewer().await;
    let mut device = host.devices().devices().expect("list")[0].clone();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    assert!(device.expires > now + 60 * 60, "a trial is good for a day");
    device.expires = now + 2;
    host.devices().insert(device).expect("list");
    // Heard of, and still welcome.
    session.say(&HostMessage::Locks(LockKeys::default())).await;
    assert!(matches!(recv(&mut viewer).await, Received::Control(_)));
    assert_eq!(recv(&mut viewer).await, Received::Closed(LostReason::DeviceRefused));
    let left = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    assert!((now + 2..now + 10).contains(&left), "left after {} s", left - now);
    assert_eq!(session.next_word().await, Relay::Detached);
}

#[tokio::test]
async fn every_connection_is_a_full_handshake() {
    let (host, listener) = Host::start();
    let mut session = Session::accept(&listener).await;
    let (trial, identity) = (host.trial(), host.identity());
    let mut tls = Intruder::of(&trial).tls(identity.ca());
    tls.resumption = Resumption::in_memory_sessions(16);
    tls.enable_early_data = true;
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("configuration")));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().expect("address")).expect("endpoint");
    for round in 0..3 {
        let name = host_name(identity.host_id());
        let connecting = endpoint.connect_with(config.clone(), host.address, &name).expect("connect");
        let connecting = match connecting.into_0rtt() {
            Ok(_) => panic!("round {round}: the host gave out a ticket for early data"),
            Err(connecting) => connecting,
        };
        let connection = connecting.await.expect("connection");
        let (mut out, _answer) = connection.open_bi().await.expect("stream");
        out.write_all(&framed(&ViewerMessage::Hello(hello()))).await.expect("hello");
        // Its being attached shows that everything the host sends after a handshake has had its time.
        session.expect_viewer().await;
    }
    // With the device off the list no memory of earlier visits helps.
    let id = host.devices().devices().expect("list")[0].id.clone();
    host.devices().revoke(&id).expect("revoke");
    let result = Intruder::of(&trial).try_to_enter(&host, identity.ca(), &host_name(identity.host_id())).await;
    assert!(result.is_err(), "{result:?}");
}

#[tokio::test]
async fn restart_after_a_kill_is_noticed_by_the_next_packet() {
    let (mut host, listener) = Host::start();
    let mut session = Session::accept(&listener).await;
    let trial = host.trial();
    let mut times = Vec::new();
    for round in 0..5 {
        let mut viewer = enter(&trial).await;
        session.expect_viewer().await;
        host.kill();
        host.restart();
        let begin = Instant::now();
        viewer.send_input(&[motion(1)]).expect("send");
        assert_eq!(recv(&mut viewer).await, Received::Closed(LostReason::HostRestarted), "round {round}");
        times.push(begin.elapsed());
        // The session went on, and the new front has found it.
        session = Session::accept(&listener).await;
    }
    times.sort();
    eprintln!("noticed after {times:?}");
    assert!(times[4] < Duration::from_millis(500), "{times:?}");
    let mut viewer = enter(&trial).await;
    session.expect_viewer().await;
    session.send(&Relay::Frame(Bytes::from_static(b"picture"))).await;
    assert_eq!(recv(&mut viewer).await, Received::Frame(Bytes::from_static(b"picture")));
}

#[tokio::test]
async fn messages_pass_both_ways_unchanged() {
    let (host, listener) = Host::start();
    let mut session = Session::accept(&listener).await;
    let mut viewer = enter(&host.trial()).await;
    session.expect_viewer().await;
    assert_eq!(host.trial().session, "desk");

    // Input arrives cut into messages, in order, each as on the stream.
    let messages: Vec<InputMessage> = (1..=200).map(motion).collect();
    viewer.send_input(&messages).expect("send");
    let answered = async {
        for message in &messages {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            assert_eq!(session.next_word().await, Relay::Input(bytes.into()));
        }
        session.send(&Relay::Cursor(Bytes::from_static(b"shape"))).await;
        for size in [0, 1, 70_000, 4 << 20] {
            session.send(&Relay::Frame(Bytes::from(vec![7; size]))).await;
        }
        session.say(&HostMessage::Cursor(3)).await;
    };
    let (mut frames, mut cursors, mut controls) = (Vec::new(), 0, 0);
    let heard = async {
        while frames.len() < 4 || cursors == 0 || controls == 0 {
            match recv(&mut viewer).await {
                Received::Frame(bytes) => {
                    assert!(bytes.iter().all(|b| *b == 7));
                    frames.push(bytes.len());
                }
                Received::Cursor(bytes) => {
                    assert_eq!(&bytes[..], b"shape");
                    cursors += 1;
                }
                Received::Control(message) => {
                    assert_eq!(HostMessage::decode(&message), Ok(HostMessage::Cursor(3)));
                    controls += 1;
                }
                other @ (Received::Datagram(_)
                | Received::Document { .. }
                | Received::DocumentBytes(_)
                | Received::Closed(_)) => panic!("{other:?}"),
            }
        }
    };
    tokio::join!(answered, heard);
    frames.sort();
    assert_eq!(frames, [0, 1, 70_000, 4 << 20]);

    // A new socket is a new address: the connection lives on.
    viewer.rebind().expect("rebind");
    viewer.send_input(&[motion(201)]).expect("send");
    let heard = async {
        tokio::select! { r = viewer.recv() => panic!("{r:?}"), word = session.next_word() => word }
    };
    assert!(matches!(heard.await, Relay::Input(_)));

    // Round trips through front and socket, as a key and its answer make them.
    let mut times = Vec::new();
    for round in 0..200 {
        let begin = Instant::now();
        viewer.send_input(&[motion(202 + round)]).expect("send");
        let answer = async {
            session.next_word().await;
            session.send(&Relay::Frame(Bytes::from_static(&[1; 2000]))).await;
        };
        let (_, received) = tokio::join!(answer, recv(&mut viewer));
        assert!(matches!(received, Received::Frame(_)));
        times.push(begin.elapsed());
    }
    times.sort();
    eprintln!("input to frame: p50 {:?} p95 {:?}, {:?}", times[100], times[190], viewer.stats());
}

#[tokio::test]
async fn a_patched_viewer_gets_no_print_job_round_the_policy() {
    let printers = ViewerMessage::Print(PrintWish::Printers(Vec::new()));
    for (arguments, allowed) in [(&[][..], true), (&["--deny", "printing"], false)] {
        let (host, listener) = Host::start_with(arguments);
        let mut session = Session::accept(&listener).await;
        let mut viewer = enter(&host.trial()).await;
        session.expect_viewer().await;
        // Even a session process that would print gets nothing through a front that may not.
        session.send(&Relay::DocumentBegin([&[7; 16][..], &[0]].concat().into())).await;
        session.send(&Relay::Document(Bytes::from_static(b"%PDF"))).await;
        session.send(&Relay::DocumentEnd).await;
        session.send(&Relay::Frame(Bytes::from_static(b"picture"))).await;
        let mut document = false;
        loop {
            match recv(&mut viewer).await {
                Received::Frame(bytes) => {
                    assert_eq!(&bytes[..], b"picture");
                    if document == allowed {
                        break;
                    }
                }
                Received::Document { job, offset } => assert_eq!((job.0, offset), ([7; 16], 0)),
                Received::DocumentBytes(bytes) => {
                    assert_eq!(&bytes[..], b"%PDF");
                    document = true;
                    if allowed {
                        break;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(document, allowed);
        viewer.send_control(&printers).expect("send");
        if allowed {
            let mut bytes = Vec::new();
            printers.encode(&mut bytes);
            assert_eq!(session.next_word().await, Relay::Control(bytes.into()));
        } else {
            assert_eq!(recv(&mut viewer).await, Received::Closed(LostReason::Closed(CloseCode::Protocol)));
            assert_eq!(session.next_word().await, Relay::Detached);
        }
    }
}

#[tokio::test]
async fn newer_viewer_takes_over() {
    let (host, listener) = Host::start();
    let mut session = Session::accept(&listener).await;
    let mut first = enter(&host.trial()).await;
    session.expect_viewer().await;
    let mut second = enter(&host.trial()).await;
    session.expect_viewer().await;
    assert_eq!(recv(&mut first).await, Received::Closed(LostReason::Closed(CloseCode::TakenOver)));
    session.say(&HostMessage::Cursor(1)).await;
    assert!(matches!(recv(&mut second).await, Received::Control(_)));
    second.close(CloseCode::Bye);
    assert_eq!(session.next_word().await, Relay::Detached);
}

#[tokio::test]
async fn viewer_stays_while_its_session_process_is_replaced() {
    let (host, listener) = Host::start();
    let mut session = Session::accept(&listener).await;
    let mut viewer = enter(&host.trial()).await;
    session.expect_viewer().await;
    let viewport = ViewerMessage::Viewport(Size::new(1234, 567));
    viewer.send_control(&viewport).expect("send");
    assert_eq!(session.next_word().await, Relay::Control(framed(&viewport)));
    drop(session);
    let Received::Control(message) = recv(&mut viewer).await else { panic!("no word about it") };
    assert_eq!(HostMessage::decode(&message), Ok(HostMessage::Progress(Progress::ResumingDesktop)));
    let mut session = Session::accept(&listener).await;
    session.expect_viewer().await;
    assert_eq!(session.next_word().await, Relay::Control(framed(&viewport)), "what it said last is said again");
    session.send(&Relay::Close(CloseCode::Ended as u32)).await;
    assert_eq!(recv(&mut viewer).await, Received::Closed(LostReason::Closed(CloseCode::Ended)));
}

#[tokio::test]
async fn slow_or_odd_hello_stays_outside() {
    let (host, listener) = Host::start();
    let mut session = Session::accept(&listener).await;
    let (trial, identity) = (host.trial(), host.identity());
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().expect("address")).expect("endpoint");
    // Too long, empty, padded length, and nothing at all.
    let cases: [(&[u8], CloseCode); 4] = [
        (&[0xff, 0xff, 0x7f, 1], CloseCode::Protocol),
        (&[0], CloseCode::Protocol),
        (&[0x81, 0x00], CloseCode::Protocol),
        (&[], CloseCode::Timeout),
    ];
    for (bytes, code) in cases {
        let config = Intruder::of(&trial).config(identity.ca());
        let name = host_name(identity.host_id());
        let connection =
            endpoint.connect_with(config, host.address, &name).expect("connect").await.expect("connection");
        let (mut out, _answer) = connection.open_bi().await.expect("stream");
        out.write_all(bytes).await.expect("write");
        match timeout(PATIENCE, connection.closed()).await.expect("an end") {
            quinn::ConnectionError::ApplicationClosed(close) => {
                assert_eq!(close.error_code.into_inner(), code as u64, "{bytes:?}");
            }
            other => panic!("{bytes:?}: {other}"),
        }
        session.assert_silent("a hello that is none");
    }
}

#[tokio::test]
async fn handshake_flood_costs_strangers_a_proof_of_address() {
    let (host, listener) = Host::start();
    let mut session = Session::accept(&listener).await;
    let (trial, identity) = (host.trial(), host.identity());
    // Packets reach the host, answers reach nobody: the handshakes stay open.
    let (mouth, throat) =
        (UdpSocket::bind("127.0.0.1:0").expect("socket"), UdpSocket::bind("127.0.0.1:0").expect("socket"));
    let mouth_address = mouth.local_addr().expect("address");
    let target = host.address;
    std::thread::spawn(move || {
        let mut packet = [0; 2000];
        while let Ok(count) = mouth.recv(&mut packet) {
            let _ = throat.send_to(&packet[..count], target);
        }
    });
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().expect("address")).expect("endpoint");
    let config = Intruder::of(&trial).config(identity.ca());
    let name = host_name(identity.host_id());
    let mut pending = Vec::new();
    while pending.len() < 400 {
        pending.push(endpoint.connect_with(config.clone(), mouth_address, &name).expect("connect"));
        if pending.len() % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    host.wait_for_log(0, "Address must be proven first").await;
    let begin = Instant::now();
    let mut viewer = enter(&trial).await;
    session.expect_viewer().await;
    eprintln!("let in during the flood after {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(2));
    session.say(&HostMessage::Cursor(1)).await;
    assert!(matches!(recv(&mut viewer).await, Received::Control(_)));
}

#[tokio::test]
async fn silent_address_is_passed_over() {
    let (host, listener) = Host::start();
    let mut session = Session::accept(&listener).await;
    let mut trial = host.trial();
    let hole = UdpSocket::bind("127.0.0.1:0").expect("socket");
    trial.addresses.insert(0, hole.local_addr().expect("address").to_string());
    trial.addresses.insert(0, "no-such-host.invalid:1".to_owned());
    let begin = Instant::now();
    let _viewer = enter(&trial).await;
    session.expect_viewer().await;
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn stopping_the_front_says_that_it_comes_back() {
    let (mut host, listener) = Host::start();
    let mut session = Session::accept(&listener).await;
    let mut viewer = enter(&host.trial()).await;
    session.expect_viewer().await;
    let id = host.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
    assert_eq!(recv(&mut viewer).await, Received::Closed(LostReason::Closed(CloseCode::Restarting)));
    assert!(host.child.wait().expect("end").success());
}

#[tokio::test]
async fn second_front_on_the_same_state_is_refused() {
    let (host, _listener) = Host::start();
    let second = Command::new(env!("CARGO_BIN_EXE_kachel-host"))
        .args(["serve", "--listen", "127.0.0.1:0", "--state"])
        .arg(host.dir.path().join("state"))
        .output()
        .expect("kachel-host");
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another kachel-host serves"));
}

#[tokio::test]
async fn idle_front_sends_and_does_nothing() {
    let (host, listener) = Host::start();
    let mut session = Session::accept(&listener).await;
    let mut viewer = enter(&host.trial()).await;
    session.expect_viewer().await;
    // The handshake's tail and the search for the path's packet size come first.
    let _ = timeout(Duration::from_secs(2), viewer.recv()).await;
    let front = host.child.id();
    let (before, packets) = (wake_ups(front), viewer.stats());
    let _ = timeout(Duration::from_secs(5), viewer.recv()).await;
    let (woken, now) = (wake_ups(front) - before, viewer.stats());
    eprintln!("woken {woken} times, {} packets", now.packets_received - packets.packets_received);
    assert!(woken <= 2, "{woken}");
    assert_eq!(now.packets_received, packets.packets_received);
}
