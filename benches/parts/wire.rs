//! The line between host and viewer: two network namespaces joined by a veth pair, counted at the viewer's end.
//! Offloads are off, so that the counters see the packets that a real wire would carry (Ethernet headers included).
//! Needs root. The names hold this process's id; both namespaces go when the value is dropped.

use std::fs;
use std::process::{Command, Stdio};

/// Address of the server's end; the namespaces are our own, so it meets no other network.
pub const SERVER: &str = "10.79.0.1";
const VIEWER: &str = "10.79.0.2";
const DEVICE: &str = "kachel0";

/// Two namespaces and the veth pair between them.
pub struct Wire {
    server: String,
    viewer: String,
}

/// What has passed, in bytes, as the viewer sees it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passed {
    /// From the server to the viewer.
    pub down: u64,
    /// From the viewer to the server.
    pub up: u64,
}

impl Wire {
    /// Makes the namespaces and the line.
    ///
    /// # Panics
    /// When `ip` is missing or the user may not make namespaces.
    pub fn new() -> Self {
        let id = std::process::id();
        let wire = Self { server: format!("kachel-{id}-s"), viewer: format!("kachel-{id}-v") };
        let (server, viewer) = (&wire.server, &wire.viewer);
        ip(&["netns", "add", server]);
        ip(&["netns", "add", viewer]);
        ip(&["-n", server, "link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE, "netns", viewer]);
        for (space, address) in [(server, SERVER), (viewer, VIEWER)] {
            ip(&["-n", space, "link", "set", "lo", "up"]);
            ip(&["-n", space, "addr", "add", &format!("{address}/24"), "dev", DEVICE]);
            ip(&["-n", space, "link", "set", DEVICE, "up"]);
            for offload in ["tso", "gso", "gro", "tx-udp-segmentation"] {
                // A device that lacks one of them has nothing to switch off.
                let mut ethtool = Command::new("ip");
                ethtool.args(["netns", "exec", space, "ethtool", "-K", DEVICE, offload, "off"]);
                ethtool.stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
            }
        }
        wire
    }

    /// Lets no more than this pass in either direction from now on, with a buffer of 100 ms before it as routers have.
    ///
    /// # Panics
    /// When the kernel has no token bucket filter.
    pub fn narrow(&self, mbit_per_s: u32) {
        for space in [&self.server, &self.viewer] {
            let rate = format!("{mbit_per_s}mbit");
            let tc = ["netns", "exec", space, "tc", "qdisc", "replace", "dev", DEVICE, "root", "tbf"];
            ip(&[&tc[..], &["rate", &rate, "burst", "16kb", "latency", "100ms"]].concat());
        }
    }

    /// The words before a command that runs at the server's end.
    pub fn at_server(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.server].map(str::to_owned).to_vec()
    }

    /// The words before a command that runs at the viewer's end.
    pub fn at_viewer(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.viewer].map(str::to_owned).to_vec()
    }

    /// What has passed since the line was made, read through a process at the viewer's end.
    ///
    /// # Panics
    /// When that process is gone.
    pub fn passed(&self, viewer_pid: u32) -> Passed {
        let text = fs::read_to_string(format!("/proc/{viewer_pid}/net/dev"))
            .unwrap_or_else(|error| panic!("the viewer (process {viewer_pid}) is gone: {error}"));
        let line = text.lines().find_map(|line| line.trim().strip_prefix(DEVICE)?.strip_prefix(':'));
        let fields: Vec<u64> = line.into_iter().flat_map(str::split_whitespace).flat_map(str::parse).collect();
        Passed { down: fields[0], up: fields[8] }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for space in [&self.server, &self.viewer] {
            Command::new("ip").args(["netns", "del", space]).stderr(Stdio::null()).status().ok();
        }
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run ip ({error}): install iproute2"));
    let errors = String::from_utf8_lossy(&output.stderr);
    let line = arguments.join(" ");
    assert!(output.status.success(), "ip {line}: {}; the bench makes network namespaces and needs root", errors.trim());
}
