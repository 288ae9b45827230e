//! The viewer's connection against a host that breaks its promises: real QUIC, nothing but this machine's loopback.

use bytes::Bytes;
use kachel::codec::format::FRAME_BYTES_MAX;
use kachel::io::net::devices::{Device, DeviceList};
use kachel::io::net::identity::{DeviceKey, HostIdentity};
use kachel::io::net::tls::Gate;
use kachel::io::net::trial::{TRIAL_LIFE, Trial};
use kachel::io::net::{
    Connector, LostReason, Received, Side, ViewerConnection, host_endpoint, server_config, transport,
};
use kachel::limits::HOST_UNFINISHED_BYTES_MAX;
use kachel::proto::wire::{CloseCode, STREAM_FRAME};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::time::timeout;

/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host that is only QUIC, and its viewer.
struct Pair {
    _dir: TempDir,
    _endpoint: quinn::Endpoint,
    host: quinn::Connection,
    viewer: ViewerConnection,
}

async fn pair() -> Pair {
    let dir = TempDir::new().expect("dir");
    let now = SystemTime::now();
    let identity = HostIdentity::load_or_create(&dir.path().join("identity"), now).expect("identity");
    let key = DeviceKey::generate().expect("key");
    let certificate = identity.certify_device(&key, "trial", now, TRIAL_LIFE).expect("certificate");
    let devices = DeviceList::new(dir.path().join("devices.toml"));
    devices.insert(Device::new(&key.hash(), "trial", "demo", now + TRIAL_LIFE)).expect("list");
    let gate = Gate::new(identity.ca(), identity.leaf().clone(), identity.leaf_key(), Arc::new(devices)).expect("gate");
    let config = server_config(gate.config().expect("profile").0, Arc::new(transport(Side::Host)));
    let endpoint =
        host_endpoint("127.0.0.1:0".parse().expect("address"), config, identity.reset_key()).expect("socket");
    let address = endpoint.local_addr().expect("address").to_string();
    let trial = Trial::new(vec![address], identity.host_id(), "demo", identity.ca_pem(), certificate, &key);
    let connector = Connector::new(&trial).expect("keys");
    let (host, viewer) =
        tokio::join!(async { endpoint.accept().await.expect("an attempt").await }, connector.connect());
    let (host, viewer) = (host.expect("handshake"), viewer.expect("handshake"));
    Pair { _dir: dir, _endpoint: endpoint, host, viewer }
}

#[tokio::test]
async fn frames_that_never_end_are_kept_up_to_a_bound() {
    let Pair { _dir, _endpoint, host, mut viewer } = pair().await;
    let longest = Bytes::from(vec![STREAM_FRAME; FRAME_BYTES_MAX + 1]);
    let lawful = HOST_UNFINISHED_BYTES_MAX / longest.len();
    let (sent, mut go_on) = tokio::sync::mpsc::channel(1);
    let hostile = tokio::spawn(async move {
        // All that can be in flight at once, and each frame ends at last.
        let mut streams = Vec::new();
        for _ in 0..lawful {
            let mut stream = host.open_uni().await.expect("stream");
            stream.write_all(&longest).await.expect("a viewer takes what can be in flight");
            streams.push(stream);
        }
        for stream in &mut streams {
            stream.finish().expect("open");
        }
        sent.send(()).await.expect("the test waits");
        // The same without an end, and a little more.
        let mut streams = Vec::new();
        loop {
            let Ok(mut stream) = host.open_uni().await else { break };
            if stream.write_all(&longest).await.is_err() {
                break;
            }
            streams.push(stream);
        }
        host.closed().await
    });
    for _ in 0..lawful {
        let received = timeout(PATIENCE, viewer.recv()).await.expect("a frame");
        assert!(matches!(&received, Received::Frame(frame) if frame.len() == FRAME_BYTES_MAX), "no frame");
    }
    go_on.recv().await.expect("the host lives");
    let received = timeout(PATIENCE, viewer.recv()).await.expect("an end");
    let Received::Closed(LostReason::Unfinished { bytes }) = received else { panic!("no end of that kind") };
    // One turn reads no more than flow control lets the host send.
    let most = HOST_UNFINISHED_BYTES_MAX + kachel::limits::HOST_CONNECTION_WINDOW as usize;
    assert!((HOST_UNFINISHED_BYTES_MAX + 1..=most).contains(&bytes), "{bytes} bytes were kept");
    let closed = timeout(PATIENCE, hostile).await.expect("an end").expect("the host ends in order");
    let quinn::ConnectionError::ApplicationClosed(close) = closed else { panic!("{closed}") };
    assert_eq!(close.error_code.into_inner(), CloseCode::Protocol as u64);
}
