//! Host and viewer as a user starts them: `kachel-host serve --trial` and `kachel TRIALFILE`.
//! The paths of both programs are passed in (`env!("CARGO_BIN_EXE_kachel")`), so that tests and benches share this.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use kachel::io::net::trial::Trial;
use serde_json::Value;

use super::display::{WindowInfo, wait_window};
use super::process::Processes;
use super::relay::Relay;
use super::wait::{wait_for, wait_until};

/// A running `kachel-host serve`.
pub struct Host {
    processes: Processes,
    program: PathBuf,
    state: PathBuf,
    trial: PathBuf,
    prefix: Vec<String>,
    front: u32,
}

/// How a host is started, beyond its defaults.
#[derive(Clone, Debug, Default)]
pub struct HostOptions {
    /// Show this display (like `:7`) instead of starting a session.
    pub attach: Option<String>,
    /// Where to listen; a free UDP port of the loopback device otherwise.
    pub listen: Option<SocketAddr>,
    /// Words before the command, like `ip netns exec NAME`.
    pub prefix: Vec<String>,
    /// More environment for the host.
    pub environment: Vec<(String, String)>,
    /// More words for `serve`.
    pub arguments: Vec<String>,
    /// How many desktops beyond the first, each with a trial of its own.
    pub more_trials: usize,
}

impl Host {
    /// Starts a host and waits until it says that it is ready and its trial file is there.
    ///
    /// # Panics
    /// When that takes more than 20 seconds; the message has the log's end.
    pub fn start(program: &Path, options: &HostOptions) -> Self {
        let mut processes = Processes::new("host");
        let state = processes.folder().join("state");
        let trial = processes.folder().join("trial");
        std::fs::create_dir_all(&state).expect("the group's folder is ours");
        std::fs::create_dir_all(&trial).expect("the group's folder is ours");
        processes.include_environment(state.display().to_string());
        let mut host =
            Self { processes, program: program.into(), state, trial, prefix: options.prefix.clone(), front: 0 };
        host.serve(options);
        host
    }

    /// Starts the front again in the same state folder, after `end_front`.
    ///
    /// # Panics
    /// As `start`.
    pub fn serve(&mut self, options: &HostOptions) {
        let listen = options.listen.unwrap_or_else(free_loopback_port).to_string();
        let mut command = prefixed(&self.prefix, &self.program);
        command.args(["serve", "--listen", &listen]).arg("--state").arg(&self.state);
        for index in 0..=options.more_trials {
            command.arg("--trial").arg(self.trial_folder(index));
        }
        command.args(options.attach.iter().flat_map(|display| ["--attach", display]));
        command.args(&options.arguments);
        command.envs(options.environment.iter().cloned()).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        self.processes.spawn_until_line("kachel-host", &mut command, Duration::from_secs(20));
        self.front = self.processes.pid("kachel-host").expect("it has just been started");
        let file = self.trial_file();
        wait_until(Duration::from_secs(5), "the trial file", || file.exists().then_some(()));
    }

    /// The file that the viewer connects with.
    pub fn trial_file(&self) -> PathBuf {
        self.trial.join("trial.kachel")
    }

    /// Has viewers that start from now on with `trial_file` connect over a relay.
    ///
    /// # Panics
    /// When there is no such file, or no socket.
    pub fn lead_over_relay(&self) -> Relay {
        let direct = Trial::load(&self.trial_file()).expect("the host wrote it").addresses.remove(0);
        let relay = Relay::start(direct.parse().expect("an address"));
        let text = std::fs::read_to_string(self.trial_file()).expect("it was just read");
        let led = text.replace(&direct, &relay.address().to_string());
        std::fs::write(self.trial_file(), led).expect("the group's folder is ours");
        relay
    }

    /// The file of desktop `index`; 0 is `trial_file`.
    pub fn trial_file_of(&self, index: usize) -> PathBuf {
        self.trial_folder(index).join("trial.kachel")
    }

    /// The session's name of desktop `index`: a trial's session is called after its folder.
    pub fn session_name(index: usize) -> String {
        if index == 0 { "trial".to_owned() } else { format!("trial{index}") }
    }

    fn trial_folder(&self, index: usize) -> PathBuf {
        self.trial.with_file_name(Self::session_name(index))
    }

    /// The folder of the host's state.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The host's processes, sessions included.
    pub fn processes(&mut self) -> &mut Processes {
        &mut self.processes
    }

    /// The front's process id (that of the first word where the host was started with a prefix).
    pub fn front_pid(&self) -> u32 {
        self.front
    }

    /// Ends the front alone by `signal`; sessions go on.
    pub fn end_front(&mut self, signal: rustix::process::Signal) {
        self.processes.end("kachel-host", signal);
    }

    /// What `kachel-host status --json` says; `None` when it says nothing that is JSON.
    pub fn status(&self) -> Option<Value> {
        let output = self.command("status").arg("--json").output().ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// The display and, where it has one, the Xauthority file of session `index` as soon as `status` knows it.
    ///
    /// # Panics
    /// When it is not there after 20 seconds.
    pub fn session_display(&mut self, index: usize) -> (String, Option<String>) {
        let found = wait_for(Duration::from_secs(20), || {
            let status = self.status()?;
            let session = status.get("sessions")?.get(index)?;
            let authority = session.get("xauthority").and_then(Value::as_str).filter(|path| !path.is_empty());
            Some((session.get("display")?.as_str()?.to_owned(), authority.map(str::to_owned)))
        });
        found.unwrap_or_else(|| panic!("no session {index} in status\n{}", self.processes.log_tail("kachel-host")))
    }

    /// Runs a program inside the session (`kachel-host exec`) and returns at once.
    pub fn exec(&mut self, program: &[&str]) {
        let mut command = self.command("exec");
        command.arg("--").args(program);
        self.processes.spawn("exec", &mut command);
    }

    /// Runs a program inside session `index` and returns at once.
    pub fn exec_in(&mut self, index: usize, program: &[&str]) {
        let mut command = self.command("exec");
        command.args(["--session", &Self::session_name(index), "--"]).args(program);
        self.processes.spawn("exec", &mut command);
    }

    /// Takes a device off the list (`kachel-host device revoke`).
    pub fn revoke(&self, device: &str) -> Output {
        let mut command = self.command("device");
        command.args(["revoke", device]).output().unwrap_or_else(|error| panic!("cannot revoke {device}: {error}"))
    }

    /// Ends all desktops (`kachel-host stop`).
    pub fn stop(&self) -> Output {
        self.command("stop").output().unwrap_or_else(|error| panic!("cannot run {}: {error}", self.program.display()))
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(verb).arg("--state").arg(&self.state).stdin(Stdio::null());
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let (mut command, patience) = (self.command("stop"), Duration::from_secs(5));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        if let Ok(mut child) = command.spawn()
            && wait_for(patience, || child.try_wait().ok().flatten()).is_none()
        {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// A running `kachel` viewer.
pub struct Viewer {
    processes: Processes,
    display: String,
    stats: PathBuf,
    pid: u32,
}

/// How a viewer is started, beyond its defaults.
#[derive(Clone, Debug)]
pub struct ViewerOptions {
    /// The display that its window is on.
    pub display: String,
    /// `auto`, `gpu`, `gl` or `cpu`.
    pub renderer: &'static str,
    /// Whether it fills the screen.
    pub fullscreen: bool,
    /// Words before the command, like `ip netns exec NAME`.
    pub prefix: Vec<String>,
    /// More environment for the viewer.
    pub environment: Vec<(String, String)>,
    /// More arguments for the viewer.
    pub arguments: Vec<String>,
}

impl ViewerOptions {
    /// A window on `display`, CPU tier.
    pub fn on(display: &str) -> Self {
        let display = display.to_owned();
        Self {
            display,
            renderer: "cpu",
            fullscreen: false,
            prefix: Vec::new(),
            environment: Vec::new(),
            arguments: Vec::new(),
        }
    }
}

impl Viewer {
    /// Starts a viewer with a trial file; its window comes later.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(program: &Path, trial_file: &Path, options: &ViewerOptions) -> Self {
        let mut processes = Processes::new("viewer");
        let stats = processes.folder().join("stats.jsonl");
        let home = processes.folder().join("home");
        std::fs::create_dir_all(&home).expect("the group's folder is ours");
        let mut command = prefixed(&options.prefix, program);
        command.args(options.fullscreen.then_some("--fullscreen")).args(["--renderer", options.renderer]);
        command.arg("--stats-file").arg(&stats).args(&options.arguments).arg(trial_file);
        command.env("DISPLAY", &options.display).env("HOME", &home).env("XDG_RUNTIME_DIR", &home);
        command.env_remove("WAYLAND_DISPLAY").env_remove("WAYLAND_SOCKET").env_remove("XAUTHORITY");
        for variable in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"] {
            command.env_remove(variable);
        }
        command.envs(options.environment.iter().cloned());
        let pid = processes.spawn("kachel", &mut command);
        Self { processes, display: options.display.clone(), stats, pid }
    }

    /// Waits for the viewer's window.
    ///
    /// # Panics
    /// When it is not there after `limit`.
    pub fn window(&mut self, limit: Duration) -> WindowInfo {
        self.processes.assert_running();
        wait_window(&self.display, "achel", limit)
    }

    /// The viewer's process.
    pub fn processes(&mut self) -> &mut Processes {
        &mut self.processes
    }

    /// The viewer's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The lines that the viewer has written to its statistics file so far, oldest first.
    pub fn stats(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.stats).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// A UDP address of the loopback device that is free at this moment.
pub fn free_loopback_port() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback device has a free port");
    socket.local_addr().expect("a bound socket has an address")
}

fn prefixed(prefix: &[String], program: &Path) -> Command {
    let Some((first, rest)) = prefix.split_first() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(rest).arg(program);
    command
}
