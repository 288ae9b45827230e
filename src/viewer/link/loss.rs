//! Why there is no connection: what QUIC, TLS and the system say, as the control plane knows it.

use crate::io::net::{ConnectError, LostReason};
use crate::proto::session::client::Lost;
use crate::proto::wire::CloseCode;
use std::io;

pub(super) fn lost_from_error(error: &ConnectError) -> Lost {
    match error {
        ConnectError::Resolve { .. } => Lost::Unresolved,
        ConnectError::Socket { source, .. } => match source.kind() {
            // Without an address of the host's kind there is no way either.
            io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable => Lost::NoNetwork,
            _ => Lost::Unreachable,
        },
        ConnectError::Unreachable { .. } => Lost::Unreachable,
        ConnectError::HostCertificate { .. } => Lost::WrongHost,
        ConnectError::Incompatible { .. } => Lost::Closed(CloseCode::Version),
        ConnectError::Lost { reason, .. } => lost_from_reason(reason),
    }
}

pub(super) fn lost_from_reason(reason: &LostReason) -> Lost {
    match reason {
        LostReason::Closed(code) => Lost::Closed(*code),
        LostReason::DeviceRefused => Lost::DeviceRefused,
        LostReason::Incompatible(_) => Lost::Closed(CloseCode::Version),
        LostReason::Protocol(_)
        | LostReason::Stream { .. }
        | LostReason::Unfinished { .. }
        | LostReason::ClosedUnknown(_) => Lost::Broken,
        LostReason::HostRestarted => Lost::Restarted,
        LostReason::TimedOut | LostReason::Transport(_) | LostReason::Here => Lost::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_network_is_not_called_a_host_that_is_silent() {
        let address = "192.0.2.1:7474".parse().expect("an address");
        for (kind, expected) in [
            (io::ErrorKind::NetworkUnreachable, Lost::NoNetwork),
            (io::ErrorKind::HostUnreachable, Lost::NoNetwork),
            (io::ErrorKind::NetworkDown, Lost::NoNetwork),
            (io::ErrorKind::AddrNotAvailable, Lost::NoNetwork),
            (io::ErrorKind::PermissionDenied, Lost::Unreachable),
        ] {
            assert_eq!(lost_from_error(&ConnectError::Socket { address, source: kind.into() }), expected, "{kind}");
        }
        assert_eq!(lost_from_error(&ConnectError::Unreachable { address }), Lost::Unreachable);
        assert_eq!(lost_from_reason(&LostReason::HostRestarted), Lost::Restarted);
        assert_eq!(lost_from_reason(&LostReason::TimedOut), Lost::Unreachable);
    }

    #[test]
    fn a_host_that_takes_nothing_we_offer_is_not_asked_again() {
        let address = "192.0.2.1:7474".parse().expect("an address");
        let early = ConnectError::Incompatible { address, detail: String::new() };
        for lost in [lost_from_error(&early), lost_from_reason(&LostReason::Incompatible(String::new()))] {
            assert_eq!(lost, Lost::Closed(CloseCode::Version));
            assert!(!lost.is_passing());
        }
        let full = ConnectError::Lost { address, reason: LostReason::Closed(CloseCode::Full) };
        assert!(lost_from_error(&full).is_passing(), "a host may have room again");
    }
}
