//! Processes that outlive us: started in a session of their own, known by pid *and* start time.
//!
//! A pid alone may belong to somebody else after our own restart; the start time tells. Nothing here knows X or desktops.

use std::{
    env,
    ffi::OsStr,
    fs::{self, OpenOptions},
    io,
    os::{
        fd::OwnedFd,
        unix::{fs::OpenOptionsExt, fs::PermissionsExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal, setsid},
};
use serde::{Deserialize, Serialize};

/// Longest wait for a process that was killed.
const KILL_LIMIT: Duration = Duration::from_secs(1);

/// One certain process on this machine, also after the process that started it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot, field 22 of `/proc/PID/stat`.
    pub start_time: u64,
}

impl ProcessId {
    /// The process that has this pid now; `None` if there is none or it has ended.
    pub fn of(pid: u32) -> Option<Self> {
        let (state, start_time) = state_of(pid)?;
        (!ended(state)).then_some(Self { pid, start_time })
    }

    /// Whether it still runs. A zombie does not.
    pub fn alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Waits for its end, at most for `limit`; tells whether it has ended.
    pub fn wait_end(self, limit: Duration) -> bool {
        let Some(pidfd) = self.open() else { return true };
        wait_readable(&pidfd, limit)
    }

    /// Ends the process and its process group: asks first, kills what is left after `grace`.
    ///
    /// Does nothing if the process has ended, because its group's number may then be somebody else's.
    pub fn stop(self, grace: Duration) {
        let Some(pidfd) = self.open() else { return };
        let group = Pid::from_raw(self.pid as i32).filter(|_| leads_group(self.pid));
        let signal = |signal| {
            // Either may be gone already, which is what is wanted.
            let _ = pidfd_send_signal(&pidfd, signal);
            if let Some(group) = group {
                let _ = kill_process_group(group, signal);
            }
        };
        signal(Signal::TERM);
        if !wait_readable(&pidfd, grace) {
            signal(Signal::KILL);
            wait_readable(&pidfd, grace);
        }
    }

    /// Kills what a program that was started by [`spawn_detached`] and has ended has left running.
    pub fn clear_session(self) {
        if self.alive() {
            return;
        }
        let is_left = |pid: &u32| session_of(*pid) == Some(self.pid);
        for pid in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = pid.file_name().to_str().and_then(|name| name.parse().ok()).filter(is_left) else {
                continue;
            };
            // Its number is nobody else's while there is a handle; whose it is, is looked at once more.
            let Some(process) = ProcessId::of(pid).filter(|_| is_left(&pid)) else { continue };
            let Some(handle) = process.open() else { continue };
            let _ = pidfd_send_signal(&handle, Signal::KILL);
            wait_readable(&handle, KILL_LIMIT);
        }
    }

    /// A handle that keeps meaning this process, checked after it was opened.
    fn open(self) -> Option<OwnedFd> {
        let pidfd = pidfd_open(Pid::from_raw(i32::try_from(self.pid).ok()?)?, PidfdFlags::empty()).ok()?;
        self.alive().then_some(pidfd)
    }
}

/// Looks a program up in `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    find_program_in(name, &env::var_os("PATH")?)
}

/// Starts a program that outlives us: own session, no terminal, output appended to `log`.
///
/// Anything the caller set on `command` stays, apart from the three standard streams.
///
/// # Errors
/// The log file cannot be written or the program cannot be started.
#[allow(unsafe_code, reason = "a new session can only be made between fork and exec")]
pub fn spawn_detached(command: &mut Command, log: &Path) -> io::Result<ProcessId> {
    let out = OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    // SAFETY: setsid(2) is async-signal-safe and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| Ok(setsid().map(drop)?));
    }
    let mut child = command.spawn()?;
    let process = state_of(child.id()).map(|(_, start_time)| ProcessId { pid: child.id(), start_time });
    // Reaps it if it ends before us; a zombie would hold its pid for our lifetime.
    thread::Builder::new().name("reap".into()).spawn(move || child.wait())?;
    process.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

/// Waits until `fd` can be read or has hung up, at most for `limit`; tells whether it is so.
pub(super) fn wait_readable(fd: &impl std::os::fd::AsFd, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

fn find_program_in(name: &str, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path)
        .map(|dir| dir.join(name))
        .find(|file| fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0))
}

/// State letter and start time.
fn state_of(pid: u32) -> Option<(char, u64)> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The program's name is in brackets and may itself hold brackets and spaces; the fields begin behind the last one.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields.first()?.chars().next()?, fields.get(19)?.parse().ok()?))
}

/// The session that a process is of: while it has any, no new process gets its leader's number.
fn session_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(3)?.parse().ok()
}

fn leads_group(pid: u32) -> bool {
    let group = |stat: &str| stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse::<u32>().ok();
    fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|stat| group(&stat)) == Some(pid)
}

fn ended(state: char) -> bool {
    matches!(state, 'Z' | 'X' | 'x')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_the_last_bracket() {
        let stat = "12 (a) b (c)) S 1 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 2";
        assert_eq!(parse_stat(stat), Some(('S', 98765)));
        assert_eq!(parse_stat("12 (sh"), None);
    }

    #[test]
    fn a_process_is_known_by_its_start_time() {
        let own = ProcessId::of(std::process::id()).expect("we run");
        assert!(own.alive());
        assert!(!ProcessId { start_time: own.start_time + 1, ..own }.alive());
    }

    #[test]
    fn a_detached_program_leads_its_own_group_and_can_be_stopped() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let sleeper = spawn_detached(Command::new("sleep").arg("1000"), &dir.path().join("log")).expect("sleep");
        assert!(sleeper.alive() && leads_group(sleeper.pid));
        assert!(!sleeper.wait_end(Duration::ZERO));
        sleeper.stop(Duration::from_secs(5));
        assert!(!sleeper.alive());
    }

    #[test]
    fn what_a_detached_program_left_running_can_be_ended_and_nothing_else() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut shell = Command::new("sh");
        // A group of its own, as CUPS' backends have.
        shell.arg("-c").arg("set -m; sleep 1000 & echo $!; wait");
        let leader = spawn_detached(&mut shell, &dir.path().join("log")).expect("a shell");
        let end = Instant::now() + Duration::from_secs(10);
        let child = loop {
            let said = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
            // A shell without a terminal says so first.
            match said.lines().last().and_then(|line| line.parse().ok()).and_then(ProcessId::of) {
                Some(child) => break child,
                None => assert!(Instant::now() < end, "{said}"),
            }
        };
        leader.clear_session();
        assert!(leader.alive() && child.alive(), "only what has lost its leader");
        let handle = leader.open().expect("it runs");
        pidfd_send_signal(&handle, Signal::KILL).expect("ours");
        assert!(leader.wait_end(Duration::from_secs(10)) && child.alive());
        leader.clear_session();
        assert!(!child.alive());
        assert!(ProcessId::of(std::process::id()).is_some_and(ProcessId::alive));
    }

    #[test]
    fn programs_are_found_in_path_order() {
        assert_eq!(find_program_in("sh", OsStr::new("/nowhere:/bin")), Some(PathBuf::from("/bin/sh")));
        assert_eq!(find_program_in("no-such-program", OsStr::new("/bin")), None);
    }
}
