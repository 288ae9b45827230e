//! QUIC and who may use it: endpoints with every limit set by hand, the TLS profile, identities, the viewer's connection.
//!
//! No words of the protocol are decided here. The host's side above a connection: `host::front`.

pub mod devices;
pub mod files;
pub mod identity;
mod outbox;
pub mod tls;
pub mod trial;
mod viewer;

pub use outbox::{Outbox, SendError};
pub use viewer::{ConnectError, Connector, LostReason, PathStats, Received, ViewerConnection};

use crate::limits;
use aws_lc_rs::hmac;
use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::udp::{UdpSockRef, UdpSocketState};
use quinn::{
    AckFrequencyConfig, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig,
    ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tracing::debug;

/// Bytes of a host's connection ids: too many to guess or to meet twice.
const HOST_ID_BYTES: usize = 8;
/// Of a viewer's: each connection has a socket of its own, so nothing must be told apart, and every packet is shorter.
const VIEWER_ID_BYTES: usize = 0;
/// The version of QUIC that is spoken: 1 (RFC 9000).
const QUIC_VERSIONS: [u32; 1] = [1];

/// Which end a connection's limits are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that shows.
    Viewer,
    /// The one that runs the desktop.
    Host,
}

/// All of QUIC's settings for a connection.
///
/// # Panics
/// Never: all limits fit QUIC's integers.
pub fn transport(side: Side) -> TransportConfig {
    let mut t = TransportConfig::default();
    t.max_idle_timeout(Some(IdleTimeout::try_from(limits::IDLE_TIMEOUT).expect("a minute fits")))
        .keep_alive_interval((side == Side::Viewer).then_some(limits::KEEP_ALIVE))
        .send_window(limits::SEND_WINDOW)
        .crypto_buffer_size(limits::CRYPTO_BUFFER)
        .datagram_receive_buffer_size(Some(limits::DATAGRAM_BUFFER))
        .datagram_send_buffer_size(limits::DATAGRAM_BUFFER)
        .mtu_discovery_config(Some(MtuDiscoveryConfig::default()))
        .congestion_controller_factory(Arc::new(CubicConfig::default()))
        // An older frame is worth more than a newer one: each is sent whole before the next.
        .send_fairness(false)
        .allow_spin(false);
    // What a viewer sends is small and mostly answered by a picture, which can carry the acknowledgement. A gap is told at
    // once, and the rest after QUIC's own 25 ms.
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(limits::ACKS_OWED_MAX.into()).reordering_threshold(1u32.into());
    match side {
        Side::Viewer => t
            .ack_frequency_config(Some(acks))
            .max_concurrent_bidi_streams(0u32.into())
            .max_concurrent_uni_streams(limits::HOST_UNI_STREAMS.into())
            .stream_receive_window(limits::HOST_STREAM_WINDOW.into())
            .receive_window(limits::HOST_CONNECTION_WINDOW.into()),
        Side::Host => t
            .max_concurrent_bidi_streams(limits::VIEWER_BIDI_STREAMS.into())
            .max_concurrent_uni_streams(limits::VIEWER_UNI_STREAMS.into())
            .stream_receive_window(limits::VIEWER_STREAM_WINDOW.into())
            .receive_window(limits::VIEWER_CONNECTION_WINDOW.into()),
    };
    t
}

/// QUIC's settings for one incoming connection.
pub fn server_config(tls: QuicServerConfig, transport: Arc<TransportConfig>) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config
        .transport_config(transport)
        .migration(true)
        .max_incoming(limits::HANDSHAKES_MAX)
        .incoming_buffer_size(limits::HANDSHAKE_BUFFER)
        .incoming_buffer_size_total(limits::HANDSHAKE_BUFFERS)
        .retry_token_lifetime(limits::HANDSHAKE_TIMEOUT);
    // Tokens for later visits would spare an address check that is cheap, and tell an observer who comes back.
    let mut tokens = quinn::ValidationTokenConfig::default();
    tokens.sent(0);
    config.validation_token_config(tokens);
    config
}

/// A host's endpoint.
///
/// `reset_key` must be the same at every start: then a viewer that was connected to the host's former process learns
/// from its next packet that it must connect again.
///
/// # Errors
/// What the system says to the socket.
pub fn host_endpoint(listen: SocketAddr, config: ServerConfig, reset_key: &[u8; 64]) -> io::Result<Endpoint> {
    let mut endpoint = endpoint_config(hmac::Key::new(hmac::HMAC_SHA256, reset_key), HOST_ID_BYTES);
    endpoint.min_reset_interval(limits::RESET_INTERVAL);
    Endpoint::new(endpoint, Some(config), udp_socket(listen)?, Arc::new(TokioRuntime))
}

/// A viewer's endpoint, for a host at `remote`.
fn viewer_endpoint(remote: SocketAddr) -> io::Result<Endpoint> {
    let mut key = [0; 64];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| io::Error::other("the system gives no randomness"))?;
    let config = endpoint_config(hmac::Key::new(hmac::HMAC_SHA256, &key), VIEWER_ID_BYTES);
    Endpoint::new(config, None, udp_socket(any_address(remote))?, Arc::new(TokioRuntime))
}

fn endpoint_config(reset_key: hmac::Key, id_bytes: usize) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config
        .cid_generator(move || Box::new(RandomIds { length: id_bytes }))
        .supported_versions(QUIC_VERSIONS.to_vec())
        .grease_quic_bit(true);
    config
}

/// The unspecified address of the same family.
fn any_address(remote: SocketAddr) -> SocketAddr {
    let ip: std::net::IpAddr = match remote {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(ip, 0)
}

fn udp_socket(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(local)?;
    // The system may allow less; that costs speed, nothing else.
    let asked = UdpSocketState::new(UdpSockRef::from(&socket)).and_then(|state| {
        state.set_recv_buffer_size(UdpSockRef::from(&socket), limits::UDP_BUFFER)?;
        state.set_send_buffer_size(UdpSockRef::from(&socket), limits::UDP_BUFFER)
    });
    if let Err(error) = asked {
        debug!(%error, "The system does not set the socket's buffers");
    }
    Ok(socket)
}

/// Random connection ids without a mark of their own.
///
/// quinn's default marks its ids with a key that changes at every start and then ignores packets with a former one: no
/// viewer would ever be told of a restart.
struct RandomIds {
    /// Bytes of an id.
    length: usize,
}

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; HOST_ID_BYTES];
        let id = &mut id[..self.length];
        aws_lc_rs::rand::fill(id).expect("aws-lc's generator does not fail once it has been seeded");
        ConnectionId::new(id)
    }

    fn cid_len(&self) -> usize {
        self.length
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn var_int(code: crate::proto::wire::CloseCode) -> VarInt {
    VarInt::from_u32(code as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quic_gets_every_limit() {
        // What is not set by hand is quinn's own, which may be without a bound.
        let field = |side, name: &str, value: String| {
            let text = format!("{:?}", transport(side));
            assert!(text.contains(&format!("{name}: {value},")), "{side:?}: {name} is not {value}: {text}");
        };
        let (host, viewer) = (Side::Host, Side::Viewer);
        field(host, "max_concurrent_bidi_streams", limits::VIEWER_BIDI_STREAMS.to_string());
        field(host, "max_concurrent_uni_streams", limits::VIEWER_UNI_STREAMS.to_string());
        field(host, "stream_receive_window", limits::VIEWER_STREAM_WINDOW.to_string());
        field(host, "receive_window", limits::VIEWER_CONNECTION_WINDOW.to_string());
        field(viewer, "max_concurrent_bidi_streams", "0".to_owned());
        field(viewer, "max_concurrent_uni_streams", limits::HOST_UNI_STREAMS.to_string());
        field(viewer, "stream_receive_window", limits::HOST_STREAM_WINDOW.to_string());
        field(viewer, "receive_window", limits::HOST_CONNECTION_WINDOW.to_string());
        field(viewer, "keep_alive_interval", format!("Some({:?})", limits::KEEP_ALIVE));
        field(host, "keep_alive_interval", "None".to_owned());
        for side in [host, viewer] {
            field(side, "send_window", limits::SEND_WINDOW.to_string());
            field(side, "crypto_buffer_size", limits::CRYPTO_BUFFER.to_string());
            field(side, "datagram_receive_buffer_size", format!("Some({})", limits::DATAGRAM_BUFFER));
            field(side, "datagram_send_buffer_size", limits::DATAGRAM_BUFFER.to_string());
            field(side, "max_idle_timeout", format!("Some({})", limits::IDLE_TIMEOUT.as_millis()));
            field(side, "send_fairness", "false".to_owned());
            field(side, "allow_spin", "false".to_owned());
        }
    }

    #[test]
    fn a_hosts_endpoint_gets_every_limit() {
        // None of it is about TLS, which here has no certificate.
        let mut tls = rustls::ServerConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
        tls.max_early_data_size = 0;
        let tls = QuicServerConfig::try_from(tls).expect("the profile has QUIC's first suite");
        let text = format!("{:?}", server_config(tls, Arc::new(transport(Side::Host))));
        for (name, value) in [
            ("max_incoming", limits::HANDSHAKES_MAX.to_string()),
            ("incoming_buffer_size", limits::HANDSHAKE_BUFFER.to_string()),
            ("incoming_buffer_size_total", limits::HANDSHAKE_BUFFERS.to_string()),
            ("retry_token_lifetime", format!("{:?}", limits::HANDSHAKE_TIMEOUT)),
            ("migration", "true".to_owned()),
            ("max_concurrent_uni_streams", limits::VIEWER_UNI_STREAMS.to_string()),
            // Tokens for later visits.
            ("sent", "0".to_owned()),
        ] {
            assert!(text.contains(&format!(" {name}: {value},")), "{name} is not {value}: {text}");
        }
    }
}
