//! Programs that a test or bench starts, kept as one group: their log, their CPU time, freezing, and a sure end.
//! Every program carries the group's tag in its environment (`KACHEL_RUN`), and children inherit it, so that even
//! what has detached itself (a desktop that outlives its server, a browser's helpers) is found and ended.
//! `./dev` looks for the same variable when it is interrupted.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::wait::wait_for;

/// Name of the environment variable that carries a group's tag.
pub const TAG_VARIABLE: &str = "KACHEL_RUN";

/// A group of programs; all of them are ended when it is dropped.
pub struct Processes {
    tag: String,
    folder: PathBuf,
    children: Vec<(String, Child)>,
    also: Vec<String>,
    files: Vec<PathBuf>,
}

impl Processes {
    /// Makes an empty group. `name` stands in the tag and in the folder of the logs.
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let run = std::env::var(TAG_VARIABLE).unwrap_or_else(|_| format!("kachel-{}", std::process::id()));
        let own = format!("{}-{name}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // Short, because the path of a Unix socket in it has room for 107 bytes.
        let folder = std::env::temp_dir().join(format!("kachel-{own}"));
        let tag = format!("{run}/{own}");
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        Self { tag, folder, children: Vec::new(), also: Vec::new(), files: Vec::new() }
    }

    /// Counts every process that has `text` somewhere in its environment as one of the group, for programs that
    /// build a fresh environment for their children.
    pub fn include_environment(&mut self, text: impl Into<String>) {
        self.also.push(text.into());
    }

    /// Removes this file when the group has ended.
    pub fn remove_at_end(&mut self, file: PathBuf) {
        self.files.push(file);
    }

    /// The group's own folder, for settings and sockets; removed with the group.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a program in its own process group, without standard input, output and errors going to the log `name`.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn spawn(&mut self, name: &str, command: &mut Command) -> u32 {
        let log = self.log_file(name);
        command.stdout(log.try_clone().expect("a file handle can be doubled"));
        self.start(name, command, log)
    }

    /// Like `spawn`, and returns the first line that the program writes to standard output.
    ///
    /// # Panics
    /// When the program cannot be started, or ends or stays silent for `limit`.
    pub fn spawn_until_line(&mut self, name: &str, command: &mut Command, limit: Duration) -> String {
        let log = self.log_file(name);
        command.stdout(Stdio::piped());
        self.start(name, command, log);
        let (_, child) = self.children.last_mut().expect("start has just added it");
        let output = child.stdout.take().expect("standard output is a pipe");
        match first_line(output, limit) {
            Some(line) => line,
            None => {
                let end = wait_for(Duration::from_millis(200), || child.try_wait().ok().flatten());
                let end = end.map_or(format!("stayed silent for {limit:?}"), |status| format!("ended with {status}"));
                panic!("{name} {end} before its first line on standard output\n{}", self.log_tail(name))
            }
        }
    }

    /// Runs a program to its end and returns its standard output.
    ///
    /// # Panics
    /// When it cannot be started or its exit status is not 0.
    pub fn run(&mut self, name: &str, command: &mut Command) -> String {
        let log = self.log_file(name);
        command.env(TAG_VARIABLE, &self.tag).stdin(Stdio::null()).stderr(log);
        let output = command.output().unwrap_or_else(|error| panic!("{name}: cannot start {command:?}: {error}"));
        assert!(output.status.success(), "{name}: {command:?} ended with {}\n{}", output.status, self.log_tail(name));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Panics with the log's end when a program of the group that was started by `spawn` has ended.
    pub fn assert_running(&mut self) {
        for index in 0..self.children.len() {
            let (name, child) = &mut self.children[index];
            if let Ok(Some(status)) = child.try_wait() {
                let name = name.clone();
                panic!("{name} has ended with {status}\n{}", self.log_tail(&name));
            }
        }
    }

    /// Waits until the program that was started as `name` has ended by itself; its exit code, if it had one.
    ///
    /// # Panics
    /// When there is no such program, or it still runs after `limit`.
    pub fn wait_end(&mut self, name: &str, limit: Duration) -> Option<i32> {
        let index = self.children.iter().position(|(n, _)| n == name).unwrap_or_else(|| panic!("no program {name}"));
        let (_, mut child) = self.children.remove(index);
        let status = wait_for(limit, || child.try_wait().ok().flatten());
        if status.is_none() {
            send(child.id(), Signal::KILL);
            child.wait().ok();
            panic!("{name} has not ended within {limit:?}\n{}", self.log_tail(name));
        }
        status?.code()
    }

    /// Ends the program that was started as `name` by `signal` and waits for it; its children stay.
    ///
    /// # Panics
    /// When there is no such program.
    pub fn end(&mut self, name: &str, signal: Signal) {
        let index = self.children.iter().position(|(n, _)| n == name).unwrap_or_else(|| panic!("no program {name}"));
        let (_, mut child) = self.children.remove(index);
        send(child.id(), signal);
        let patience = Duration::from_secs(5);
        if wait_for(patience, || child.try_wait().ok().flatten()).is_none() {
            send(child.id(), Signal::KILL);
            child.wait().ok();
        }
    }

    /// The process id of the program that was started last as `name`.
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.children.iter().rev().find(|(known, _)| known == name).map(|(_, child)| child.id())
    }

    /// All living processes of the group, children of children included.
    pub fn pids(&self) -> Vec<u32> {
        let tag = format!("{TAG_VARIABLE}={}", self.tag);
        let mut parents = HashMap::new();
        let mut found = HashSet::new();
        for pid in all_pids() {
            let Some(stat) = Stat::read(pid) else { continue };
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mine = environment.split(|byte| *byte == 0).any(|variable| {
                variable == tag.as_bytes()
                    || self.also.iter().any(|text| variable.windows(text.len()).any(|part| part == text.as_bytes()))
            });
            if stat.state != 'Z' {
                parents.insert(pid, stat.parent);
                if mine || self.children.iter().any(|(_, child)| child.id() == pid) {
                    found.insert(pid);
                }
            }
        }
        found.remove(&std::process::id());
        loop {
            let more: Vec<u32> = parents
                .iter()
                .filter(|(pid, parent)| found.contains(*parent) && !found.contains(*pid))
                .map(|(pid, _)| *pid)
                .collect();
            if more.is_empty() {
                break;
            }
            found.extend(more);
        }
        found.into_iter().collect()
    }

    /// CPU seconds (user and system) that the group has used so far, ended children that were waited for included.
    /// The kernel counts in steps of 10 ms.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(&self.pids())
    }

    /// Stops every process of the group where it stands.
    ///
    /// # Panics
    /// When they have not all come to rest after a second.
    pub fn freeze(&self) {
        let pids = self.pids();
        for pid in &pids {
            send(*pid, Signal::STOP);
        }
        let rest = || pids.iter().all(|pid| Stat::read(*pid).is_none_or(|stat| stat.state == 'T' || stat.state == 'Z'));
        let stopped = wait_for(Duration::from_secs(1), || rest().then_some(()));
        assert!(stopped.is_some(), "the programs do not stop at SIGSTOP");
    }

    /// Lets a frozen group go on.
    pub fn thaw(&self) {
        for pid in self.pids() {
            send(pid, Signal::CONT);
        }
    }

    /// Ends the whole group: SIGTERM, two seconds of grace, SIGKILL.
    pub fn end_all(&mut self) {
        for (signal, grace) in [(Signal::TERM, Duration::from_secs(2)), (Signal::KILL, Duration::from_secs(5))] {
            for pid in self.pids() {
                send(pid, signal);
                send(pid, Signal::CONT);
            }
            let gone = wait_for(grace, || {
                for (_, child) in &mut self.children {
                    child.try_wait().ok();
                }
                self.pids().is_empty().then_some(())
            });
            if gone.is_some() {
                break;
            }
        }
        for (_, child) in &mut self.children {
            child.wait().ok();
        }
        self.children.clear();
    }

    /// The last lines that the program `name` has written.
    pub fn log_tail(&self, name: &str) -> String {
        let text = self.log(name);
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(30)..];
        format!("--- the end of {name}'s log\n{}\n---", tail.join("\n"))
    }

    /// All that the program `name` has written.
    pub fn log(&self, name: &str) -> String {
        let bytes = fs::read(self.folder.join(format!("{name}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn start(&mut self, name: &str, command: &mut Command, errors: File) -> u32 {
        command.env(TAG_VARIABLE, &self.tag).stdin(Stdio::null()).stderr(errors).process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name}: cannot start {command:?}: {error}"));
        let pid = child.id();
        self.children.push((name.to_owned(), child));
        pid
    }

    fn log_file(&self, name: &str) -> File {
        let path = self.folder.join(format!("{name}.log"));
        let opened = File::options().create(true).append(true).open(&path);
        opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.end_all();
        for file in &self.files {
            fs::remove_file(file).ok();
        }
        if std::thread::panicking() {
            eprintln!("logs are kept in {}", self.folder.display());
        } else {
            fs::remove_dir_all(&self.folder).ok();
        }
    }
}

/// CPU seconds (user and system) of these processes and of their ended children that were waited for.
pub fn cpu_seconds(pids: &[u32]) -> f64 {
    // The unit of /proc/PID/stat is 1/100 s on every Linux that Debian runs on.
    pids.iter().filter_map(|pid| Stat::read(*pid)).map(|stat| stat.ticks as f64 / 100.0).sum()
}

/// How often the threads of a process have gone to sleep so far, each to be woken once.
pub fn wake_ups(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_task = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    tasks.filter_map(of_task).sum()
}

/// Resident memory of these processes together, in bytes; shared pages count in each.
pub fn resident_bytes(pids: &[u32]) -> u64 {
    let one = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        text.split(' ').nth(1)?.parse::<u64>().ok()
    };
    pids.iter().filter_map(one).sum::<u64>() * 4096
}

/// The most memory that a process had since it was started or [`forget_peak`] was called, in bytes.
///
/// # Panics
/// When the process is gone.
pub fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is still the same");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).expect("it has memory") << 10
}

/// Lets [`peak_memory`] of a process begin at what it has now.
///
/// # Panics
/// When the process is gone.
pub fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the process is still the same, and ours");
}

/// Sends a signal; a process that is gone already is no error.
pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        kill_process(pid, signal).ok();
    }
}

struct Stat {
    state: char,
    parent: u32,
    ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in brackets and may hold anything, so count from its end.
        let fields: Vec<&str> = text[text.rfind(')')? + 2..].split(' ').collect();
        let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
        Some(Self { state: fields[0].chars().next()?, parent: fields[1].parse().ok()?, ticks })
    }
}

fn all_pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The first line of `output`; what follows is read and dropped so that the program never blocks on a full pipe.
fn first_line(output: ChildStdout, limit: Duration) -> Option<String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { break };
            sender.try_send(line).ok();
        }
    });
    receiver.recv_timeout(limit).ok()
}
