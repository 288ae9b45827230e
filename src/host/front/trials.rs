//! Trial files: for each directory a session, a device on the list, and the file that a viewer comes with.
//!
//! A directory keeps its session and its device's key over restarts of the front, so that viewers which already run come
//! back without a new file.

use crate::host::front::ServeError;
use crate::host::place::session_name;
use crate::io::net::devices::{Device, DeviceList};
use crate::io::net::identity::{DeviceKey, HostIdentity};
use crate::io::net::trial::{TRIAL_FILE, TRIAL_LIFE, Trial};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::SystemTime;
use tracing::info;

/// Addresses of documentation networks (RFC 5737, RFC 3849): the way to them shows which of our own faces the network.
const FAR_AWAY: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9),
];

/// Writes the trial of one directory and says which session it is for.
pub(super) fn write(
    devices: &DeviceList,
    identity: &HostIdentity,
    dir: &Path,
    attach: Option<&str>,
    listening: SocketAddr,
) -> Result<String, ServeError> {
    let dir = dir.canonicalize().map_err(|source| ServeError::File { path: dir.to_owned(), source })?;
    let file = dir.join(TRIAL_FILE);
    let known = devices.devices()?;
    let session = free_name(&known, &dir);
    let key = Trial::read(&file)
        .ok()
        .and_then(|old| DeviceKey::parse(&old.device_key))
        .filter(|key| known.iter().any(|d| d.key == key.hash().to_string() && d.trial.as_ref() == Some(&dir)));
    let key = match key {
        Some(key) => key,
        None => DeviceKey::generate()?,
    };

    let now = SystemTime::now();
    let name = format!("trial {session}");
    let certificate = identity.certify_device(&key, &name, now, TRIAL_LIFE)?;
    let mut device = Device::new(&key.hash(), &name, &session, now + TRIAL_LIFE);
    (device.attach, device.trial) = (attach.map(str::to_owned), Some(dir.clone()));
    info!(device = device.id, session, file = %file.display(), "Trial written");
    devices.insert(device)?;
    Trial::new(addresses(listening), identity.host_id(), &session, identity.ca_pem(), certificate, &key)
        .write(&file)?;
    Ok(session)
}

/// The directory's name, or the session it already has; numbered when another directory has taken it.
fn free_name(known: &[Device], dir: &Path) -> String {
    if let Some(device) = known.iter().find(|device| device.trial.as_deref() == Some(dir)) {
        return device.session.clone();
    }
    let base = session_name(&dir.file_name().unwrap_or_default().to_string_lossy());
    let free = |name: &String| known.iter().all(|device| device.session != *name);
    let numbered = (2..).map(|n| session_name(&format!("{}-{n}", &base[..base.len().min(24)])));
    std::iter::once(base.clone()).chain(numbered).find(free).expect("there are more numbers than devices")
}

/// Where viewers find us, nearest first.
fn addresses(listening: SocketAddr) -> Vec<String> {
    let port = listening.port();
    if !listening.ip().is_unspecified() {
        return vec![listening.to_string()];
    }
    let mut found = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string()];
    if listening.is_ipv6() {
        found.push(SocketAddr::from((Ipv6Addr::LOCALHOST, port)).to_string());
    }
    for far in FAR_AWAY.iter().filter(|far| far.is_ipv4() || listening.is_ipv6()) {
        // Nothing is sent: connecting a UDP socket only asks the routing table.
        let any: IpAddr = if far.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let facing = UdpSocket::bind((any, 0)).and_then(|s| s.connect(far).and_then(|()| s.local_addr()));
        found.extend(facing.map(|address| SocketAddr::new(address.ip(), port).to_string()));
    }
    if let Ok(name) = fs::read_to_string("/proc/sys/kernel/hostname") {
        found.push(format!("{}:{port}", name.trim()));
    }
    found.dedup();
    found
}
