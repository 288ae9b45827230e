//! The systems that are compared, each with its real server and its real viewer, full screen at 1920x1080.
//! A pair is one server and one viewer on the line; the desktop's programs are started by others.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kachel::geom::Size;

use super::wire::{Passed, SERVER, Wire};
use crate::support::display::{Display, connect, screenshot, start_server, xvfb_arguments};
use crate::support::link::{Host, HostOptions, Viewer, ViewerOptions};
use crate::support::picture::Difference;
use crate::support::process::Processes;
use crate::support::wait::wait_for;

/// A line that carries no more than this in [`REST_TIME`] is at rest; carets blink.
const REST_BYTES: u64 = 2_000;
/// How long it must be.
const REST_TIME: Duration = Duration::from_millis(1_500);
/// The size of the desktop and of the viewer's screen.
pub const SCREEN: Size = Size { w: 1920, h: 1080 };

/// A system under comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// This project, viewer on the CPU tier (the machines that run this have no GPU).
    Kachel,
    /// This project, viewer on the compute tier: a GPU, or Vulkan in software. Takes part only when it is named.
    KachelGpu,
    /// TigerVNC, Tight without JPEG.
    TigerLossless,
    /// TigerVNC as it comes.
    TigerDefault,
}

impl Peer {
    /// All of them; Kachel first.
    pub const ALL: [Peer; 4] = [Peer::Kachel, Peer::KachelGpu, Peer::TigerLossless, Peer::TigerDefault];
    /// Those that take part when none is named.
    pub const USUAL: [Peer; 3] = [Peer::Kachel, Peer::TigerLossless, Peer::TigerDefault];

    /// The name in tables and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kachel => "kachel",
            Self::KachelGpu => "kachel-gpu",
            Self::TigerLossless => "tigervnc-lossless",
            Self::TigerDefault => "tigervnc",
        }
    }
}

/// A server and its viewer, connected by the line.
pub struct Pair<'a> {
    wire: &'a Wire,
    ends: Ends,
    server_display: String,
    viewer_display: Display,
    viewer_pid: u32,
    // Last: the window manager of the viewer's screen ends after the viewer.
    manager: Processes,
}

#[expect(clippy::large_enum_variant, reason = "there is one of them at a time")]
enum Ends {
    Kachel { viewer: Viewer, host: Host, screen: Display },
    Tiger { viewer: Processes, server: Processes },
}

impl<'a> Pair<'a> {
    /// Starts server and viewer and waits until the viewer's window is there.
    ///
    /// # Panics
    /// When one of them does not come up; the message has the log's end.
    pub fn start(peer: Peer, wire: &'a Wire) -> Self {
        Self::start_with(peer, wire, &[])
    }

    /// The same, Kachel's viewer with further arguments.
    ///
    /// # Panics
    /// As `start`.
    pub fn start_with(peer: Peer, wire: &'a Wire, arguments: &[String]) -> Self {
        let viewer_display = Display::start(SCREEN);
        german_keyboard(viewer_display.name());
        let manager = kiosk(viewer_display.name());
        let (ends, server_display, viewer_pid) = match peer {
            Peer::Kachel => kachel(wire, viewer_display.name(), "cpu", arguments),
            Peer::KachelGpu => kachel(wire, viewer_display.name(), "gpu", arguments),
            Peer::TigerLossless => {
                let lossless = ["-AutoSelect=0", "-PreferredEncoding=Tight", "-NoJPEG=1", "-FullColor=1"];
                tiger(wire, viewer_display.name(), &lossless)
            }
            Peer::TigerDefault => tiger(wire, viewer_display.name(), &[]),
        };
        german_keyboard(&server_display);
        Self { wire, ends, server_display, viewer_display, viewer_pid, manager }
    }

    /// The display that the desktop's programs run on.
    pub fn server_display(&self) -> &str {
        &self.server_display
    }

    /// The display that the viewer's window is on, where keys and pointer go in.
    pub fn viewer_display(&self) -> &str {
        self.viewer_display.name()
    }

    /// Kachel's host.
    ///
    /// # Panics
    /// When the pair is another system's.
    pub fn host(&mut self) -> &mut Host {
        match &mut self.ends {
            Ends::Kachel { host, .. } => host,
            Ends::Tiger { .. } => panic!("this pair has no host of Kachel's"),
        }
    }

    /// The viewer's process id.
    pub fn viewer_pid(&self) -> u32 {
        self.viewer_pid
    }

    /// Waits until the viewer shows the desktop and both are at rest.
    ///
    /// # Panics
    /// When the viewer shows something else after 20 seconds.
    pub fn wait_in_step(&mut self) {
        let near = wait_for(Duration::from_secs(20), || {
            self.assert_running();
            let apart = self.compare();
            (apart.psnr_db > 30.0 && apart.clear_share() < 0.001).then_some(())
        });
        assert!(near.is_some(), "the viewer does not show the desktop: {:?}\n{}", self.compare(), self.logs());
        // What makes the first picture exact, or covers windows that were opened, is not the work that is measured.
        let (mut passed, mut since) = (self.passed().down, Instant::now());
        let rested = wait_for(Duration::from_secs(30), || {
            let now = self.passed().down;
            if now - passed > REST_BYTES {
                (passed, since) = (now, Instant::now());
            }
            (since.elapsed() > REST_TIME).then_some(())
        });
        assert!(rested.is_some(), "the line does not come to rest\n{}", self.logs());
    }

    /// Compares the desktop with what the viewer shows.
    pub fn compare(&self) -> Difference {
        screenshot(&self.server_display).diff(&screenshot(self.viewer_display.name()))
    }

    /// What has passed over the line so far.
    pub fn passed(&self) -> Passed {
        self.wire.passed(self.viewer_pid)
    }

    /// CPU seconds so far: the server with its X server, the viewer, and the X server of the viewer's screen.
    pub fn cpu_seconds(&mut self) -> [f64; 3] {
        let (server, viewer) = match &mut self.ends {
            Ends::Kachel { viewer, host, screen } => {
                (host.processes().cpu_seconds() + screen.processes().cpu_seconds(), viewer.processes().cpu_seconds())
            }
            Ends::Tiger { viewer, server } => (server.cpu_seconds(), viewer.cpu_seconds()),
        };
        [server, viewer, self.viewer_display.processes().cpu_seconds()]
    }

    /// Panics with the log's end when one of the programs has ended.
    pub fn assert_running(&mut self) {
        match &mut self.ends {
            Ends::Kachel { viewer, host, .. } => {
                host.processes().assert_running();
                viewer.processes().assert_running();
            }
            Ends::Tiger { viewer, server } => {
                server.assert_running();
                viewer.assert_running();
            }
        }
    }

    fn logs(&mut self) -> String {
        match &mut self.ends {
            Ends::Kachel { viewer, host, .. } => {
                host.processes().log_tail("kachel-host") + "\n" + &viewer.processes().log_tail("kachel")
            }
            Ends::Tiger { viewer, .. } => viewer.log_tail("xtigervncviewer"),
        }
    }
}

fn kachel(wire: &Wire, viewer_display: &str, renderer: &'static str, arguments: &[String]) -> (Ends, String, u32) {
    let screen = Display::start(SCREEN);
    let listen = format!("{SERVER}:7474").parse().expect("address and port");
    let attach = Some(screen.name().to_owned());
    let options = HostOptions { attach, listen: Some(listen), prefix: wire.at_server(), ..HostOptions::default() };
    let host = Host::start(Path::new(env!("CARGO_BIN_EXE_kachel-host")), &options);
    let usual = ViewerOptions::on(viewer_display);
    let (prefix, arguments) = (wire.at_viewer(), arguments.to_vec());
    let options = ViewerOptions { fullscreen: true, renderer, prefix, arguments, ..usual };
    let mut viewer = Viewer::start(Path::new(env!("CARGO_BIN_EXE_kachel")), &host.trial_file(), &options);
    viewer.window(Duration::from_secs(15));
    let pid = viewer.pid();
    let display = screen.name().to_owned();
    (Ends::Kachel { viewer, host, screen }, display, pid)
}

fn tiger(wire: &Wire, viewer_display: &str, settings: &[&str]) -> (Ends, String, u32) {
    let mut server = Processes::new("xtigervnc");
    let size = format!("{}x{}", SCREEN.w, SCREEN.h);
    let mut command = ip_exec(wire.at_server(), "Xtigervnc");
    command.args(["-geometry", &size, "-depth", "24", "-dpi", "96", "-SecurityTypes", "None", "-rfbport", "5974"]);
    command.args(["-localhost=0", "-AlwaysShared", "-noreset"]);
    let display = start_server(&mut server, "Xtigervnc", &mut command);

    let mut viewer = Processes::new("tigerviewer");
    let mut command = ip_exec(wire.at_viewer(), "xtigervncviewer");
    command.args(["-FullScreen", "-RemoteResize=0", "-Shared", "-FullscreenSystemKeys=0"]).args(settings);
    command.arg(format!("{SERVER}::5974")).env("DISPLAY", viewer_display).env("HOME", viewer.folder());
    let pid = viewer.spawn("xtigervncviewer", &mut command);
    (Ends::Tiger { viewer, server }, display, pid)
}

fn ip_exec(prefix: Vec<String>, program: &str) -> Command {
    let mut command = Command::new(&prefix[0]);
    command.args(&prefix[1..]).arg(program).env_remove("XAUTHORITY");
    command
}

/// The viewer's screen has a window manager that gives every window the whole screen and keeps no keys for itself.
fn kiosk(display: &str) -> Processes {
    let mut processes = Processes::new("kiosk");
    let settings = processes.folder().join("openbox.xml");
    fs::write(&settings, KIOSK).expect("the group's folder is ours");
    let mut command = Command::new("openbox");
    processes.spawn("openbox", command.arg("--config-file").arg(&settings).env("DISPLAY", display));
    wait_for_manager(display);
    processes
}

/// Both ends have the same keyboard, so that systems that send keys and systems that send characters do the same.
fn german_keyboard(display: &str) {
    let mut command = Command::new("setxkbmap");
    let status = command.args(["-display", display, "-rules", "evdev", "-layout", "de"]).status();
    assert!(status.is_ok_and(|status| status.success()), "setxkbmap fails on {display}: install x11-xkb-utils");
}

/// Waits until a window manager says that it is there.
///
/// # Panics
/// When none does within ten seconds.
pub fn wait_for_manager(display: &str) {
    use x11rb::protocol::xproto::{AtomEnum, ConnectionExt};
    let (connection, root) = connect(display);
    let atom = connection.intern_atom(false, b"_NET_SUPPORTING_WM_CHECK").expect("the X connection holds");
    let atom = atom.reply().expect("an atom can be made").atom;
    let found = wait_for(Duration::from_secs(10), || {
        let property = connection.get_property(false, root, atom, AtomEnum::WINDOW, 0, 1).ok()?.reply().ok()?;
        (property.value_len > 0).then_some(())
    });
    assert!(found.is_some(), "no window manager on {display} after ten seconds");
}

/// Starts a bare X server for the floor of a measurement: program and look on the same display.
pub fn bare_screen() -> (Processes, String) {
    let mut processes = Processes::new("bare");
    let display = start_server(&mut processes, "Xvfb", Command::new("Xvfb").args(xvfb_arguments(SCREEN)));
    (processes, display)
}

const KIOSK: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<openbox_config xmlns="http://openbox.org/3.4/rc">
  <desktops><number>1</number><popupTime>0</popupTime></desktops>
  <focus><focusNew>yes</focusNew></focus>
  <keyboard></keyboard>
  <mouse></mouse>
  <applications>
    <application type="normal"><decor>no</decor><fullscreen>yes</fullscreen><focus>yes</focus></application>
  </applications>
</openbox_config>
"#;
