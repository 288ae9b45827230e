//! A line between viewer and host that can be cut, or lose datagrams: a relay of UDP datagrams on the loopback.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a thread waits for a datagram before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// A relay; it ends when it is dropped.
pub struct Relay {
    address: SocketAddr,
    line: Arc<Line>,
    threads: Vec<JoinHandle<()>>,
}

struct Line {
    is_over: AtomicBool,
    is_cut: AtomicBool,
    /// Bytes to the viewer before it is cut.
    left: AtomicU64,
    /// Of so many datagrams to the host one is lost.
    loses_one_in: AtomicU64,
}

impl Relay {
    /// Leads to this host.
    ///
    /// # Panics
    /// When there are no sockets.
    pub fn start(host: SocketAddr) -> Relay {
        let socket = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
            socket.set_read_timeout(Some(LOOK)).expect("a timeout");
            Arc::new(socket)
        };
        let (near, far) = (socket(), socket());
        let address = near.local_addr().expect("it is bound");
        let line = Arc::new(Line {
            is_over: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            left: AtomicU64::new(u64::MAX),
            loses_one_in: AtomicU64::new(u64::MAX),
        });
        let viewer = Arc::new(Mutex::new(None));
        let up = {
            let (line, near, far, viewer) = (line.clone(), near.clone(), far.clone(), viewer.clone());
            let mut count = 0;
            move || {
                carry(&line, &near, |from, bytes| {
                    count += 1;
                    if count % line.loses_one_in.load(Ordering::Relaxed) == 0 {
                        return;
                    }
                    *viewer.lock().expect("nobody panics with it") = Some(from);
                    // A host that is just gone refuses: the datagram is lost like any other.
                    let _ = far.send_to(bytes, host);
                });
            }
        };
        let down = {
            let line = line.clone();
            move || {
                carry(&line, &far, |_, bytes| {
                    let viewer = *viewer.lock().expect("nobody panics with it");
                    let left = line.left.load(Ordering::Relaxed);
                    line.left.store(left.saturating_sub(bytes.len() as u64), Ordering::Relaxed);
                    line.is_cut.fetch_or(left < bytes.len() as u64, Ordering::Relaxed);
                    if let Some(viewer) = viewer {
                        let _ = near.send_to(bytes, viewer);
                    }
                });
            }
        };
        let threads = vec![std::thread::spawn(up), std::thread::spawn(down)];
        Relay { address, line, threads }
    }

    /// Where the viewer is to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts the line after so many further bytes to the viewer.
    pub fn cut_after(&self, bytes: u64) {
        self.line.left.store(bytes, Ordering::Relaxed);
    }

    /// From now on every so manyth datagram to the host is lost; not 0.
    pub fn lose_one_in(&self, datagrams: u64) {
        self.line.loses_one_in.store(datagrams, Ordering::Relaxed);
    }

    /// Whether it is cut.
    pub fn is_cut(&self) -> bool {
        self.line.is_cut.load(Ordering::Relaxed)
    }

    /// Mends it.
    pub fn mend(&self) {
        self.line.left.store(u64::MAX, Ordering::Relaxed);
        self.line.is_cut.store(false, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.line.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Passes on what comes while the line is whole, until it is over.
fn carry(line: &Line, from: &UdpSocket, mut pass_on: impl FnMut(SocketAddr, &[u8])) {
    let mut datagram = [0; 65_536];
    while !line.is_over.load(Ordering::Relaxed) {
        if let Ok((length, sender)) = from.recv_from(&mut datagram)
            && !line.is_cut.load(Ordering::Relaxed)
        {
            pass_on(sender, &datagram[..length]);
        }
    }
}
