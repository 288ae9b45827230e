//! The session's own print server: a CUPS that only this user's programs reach, and its queues.
//!
//! It runs as the session's user with all its files below one directory, listens on a Unix socket and on nothing else,
//! and starts only when there is a printer. Queues are made from whitelisted attributes: the PPD is written here, no
//! word of a viewer is a command or a file's name. What CUPS 2.4 was seen to do with it: PDF passes unchanged. The PPD that
//! `lpadmin -m everywhere` makes of our printer's answers sends PDF through `pdftopdf`, which rewrites it.

use super::process::{ProcessId, find_program, spawn_detached};
use crate::codec::bytes::Reader;
use crate::proto::print::host::RETENTION;
use crate::proto::print::media::Paper;
use crate::proto::wire::print::{Printer, PrinterKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use thiserror::Error;

/// CUPS listens within this, also on a busy machine.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// How often its socket is tried meanwhile.
const LOOK: Duration = Duration::from_millis(20);
/// A queue is made, asked after or removed within this, also on a busy machine.
const ASK_LIMIT: Duration = Duration::from_secs(30);
/// It gets so long to end.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// What runs, for the process after this one.
const RECORD: &str = "cups.json";
/// Where Debian keeps CUPS' own parts.
const SERVER_BIN: &str = "/usr/lib/cups";
/// The user that CUPS' filters run as where the session is root's.
const FILTER_USER: &str = "lp";

/// Why there is no print server, or no queue.
#[derive(Debug, Error)]
pub enum CupsError {
    /// A part of it is not installed.
    #[error("{program} is not installed (Debian package {package})")]
    Missing {
        /// The program.
        program: &'static str,
        /// What to install.
        package: &'static str,
    },
    /// Its files cannot be written.
    #[error("{path} cannot be written")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be started.
    #[error("the print server cannot be started")]
    Start(#[source] io::Error),
    /// It started and does not listen.
    #[error("the print server does not answer, see {log}")]
    Silent {
        /// Its log.
        log: PathBuf,
    },
    /// A queue cannot be made, changed or removed.
    #[error("queue {queue}: {detail}")]
    Queue {
        /// Its name.
        queue: String,
        /// What CUPS says.
        detail: String,
    },
}

/// A running print server and its queues.
#[derive(Debug)]
pub struct Cups {
    dir: PathBuf,
    socket: PathBuf,
    record: Record,
}

/// What is written down.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    process: Option<ProcessId>,
    /// Queue names by the hexadecimal keys of their printers.
    queues: BTreeMap<String, Queue>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Queue {
    name: String,
    info: String,
    ppd: String,
    /// The printer as it was offered, on the wire's terms.
    #[serde(default)]
    printer: Vec<u8>,
    /// It is to go and takes nothing more, but still has jobs.
    #[serde(default)]
    is_leaving: bool,
}

impl Queue {
    /// Whether CUPS has the one as it should have the other.
    fn is_like(&self, other: &Queue) -> bool {
        let Queue { name, info, ppd, printer: _, is_leaving } = self;
        (name, info, ppd, is_leaving) == (&other.name, &other.info, &other.ppd, &other.is_leaving)
    }
}

impl Cups {
    /// Where programs in the session find the print server of a session's directory: `CUPS_SERVER`.
    pub fn socket(dir: &Path) -> PathBuf {
        dir.join("cups.sock")
    }

    /// Where the session's IPP printer listens, so that CUPS' backends reach it.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind_printer(dir: &Path) -> io::Result<(UnixListener, PathBuf)> {
        let is_root = rustix::process::geteuid().is_root();
        let folder = if is_root { Cups::tree_of(dir) } else { dir.to_owned() };
        match fs::DirBuilder::new().mode(0o711).create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_own_dir(&folder) => {}
            made => made?,
        }
        let path = folder.join("print.sock");
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        if is_root && let Some(user) = filter_user() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            std::os::unix::fs::chown(&path, Some(user), None)?;
        }
        Ok((listener, path))
    }

    /// Users whose programs may be those of this print server: the session's own, and what its filters run as.
    pub fn users() -> Vec<u32> {
        let own = rustix::process::geteuid();
        // Root may read everything anyway.
        [Some(own.as_raw()), Some(0), filter_user().filter(|_| own.is_root())].into_iter().flatten().collect()
    }

    /// Removes what a print server left in or beside a session's directory.
    pub fn clean(dir: &Path) {
        let _ = fs::remove_dir_all(Cups::tree_of(dir));
        let _ = fs::remove_file(Cups::socket(dir));
    }

    /// Finds the print server that an earlier process started in this session's directory, or starts one, which `starts` counts.
    ///
    /// # Errors
    /// See [`CupsError`].
    pub fn adopt_or_start(dir: &Path, starts: &AtomicU64) -> Result<Cups, CupsError> {
        let fresh = || Cups { dir: dir.to_owned(), socket: Cups::socket(dir), record: Record::default() };
        let mut cups = Cups::adopted(dir).unwrap_or_else(fresh);
        if !cups.is_running() {
            cups.start(starts)?;
        }
        Ok(cups)
    }

    /// The print server that runs in this session's directory, if one does.
    pub fn adopted(dir: &Path) -> Option<Cups> {
        let record: Record = serde_json::from_slice(&fs::read(dir.join(RECORD)).ok()?).ok()?;
        Some(Cups { dir: dir.to_owned(), socket: Cups::socket(dir), record })
    }

    /// Whether it runs and listens.
    pub fn is_running(&self) -> bool {
        self.record.process.is_some_and(ProcessId::alive) && UnixStream::connect(&self.socket).is_ok()
    }

    /// Its process.
    pub fn process(&self) -> Option<ProcessId> {
        self.record.process
    }

    /// Starts it again; jobs and queues that it had are on disk. `starts` is counted up when nothing of the one before runs any
    /// more: its backends outlive it, and hear of jobs what the new one does not know.
    ///
    /// # Errors
    /// See [`CupsError`].
    pub fn start(&mut self, starts: &AtomicU64) -> Result<(), CupsError> {
        let missing = |program, package| CupsError::Missing { program, package };
        let program = find_system_program("cupsd").ok_or_else(|| missing("cupsd", "cups-daemon"))?;
        find_system_program("lpadmin").ok_or_else(|| missing("lpadmin", "cups-client"))?;
        if let Some(left) = self.record.process {
            left.stop(STOP_GRACE);
            left.clear_session();
        }
        starts.fetch_add(1, Ordering::Relaxed);
        let tree = self.tree();
        let files = configuration(&tree, &self.socket, rustix::process::geteuid().is_root());
        self.write_files(&tree, &files)?;
        let _ = fs::remove_file(&self.socket);
        let log = self.dir.join("cups.log");
        let mut command = Command::new(program);
        command.arg("-f").arg("-c").arg(tree.join("cupsd.conf")).arg("-s").arg(tree.join("cups-files.conf"));
        // A cupsd that knows of another server would be its client.
        command.env_remove("CUPS_SERVER").current_dir("/");
        let process = spawn_detached(&mut command, &log).map_err(CupsError::Start)?;
        self.record.process = Some(process);
        if let Err(error) = self.save() {
            // Nobody would find it again.
            process.stop(STOP_GRACE);
            return Err(error);
        }
        let end = Instant::now() + READY_LIMIT;
        while UnixStream::connect(&self.socket).is_err() {
            if !process.alive() || Instant::now() > end {
                process.stop(STOP_GRACE);
                return Err(CupsError::Silent { log });
            }
            sleep(LOOK);
        }
        tracing::info!(pid = process.pid, "Print server started");
        Ok(())
    }

    /// Has a queue for each of these printers; `printer_socket` is where the session's IPP printer listens. Other queues take
    /// nothing more and are removed, those that still have jobs when this is asked again ([`Cups::has_leaving`]).
    ///
    /// # Errors
    /// The first that failed; the others are made all the same. Asked again it tries what failed, and only that.
    pub fn set_queues(&mut self, printers: &[Printer], printer_socket: &Path) -> Result<(), CupsError> {
        let mut first = Ok(());
        let mut keep = |done: Result<(), CupsError>| {
            if first.is_ok() {
                first = done;
            }
        };
        let wanted: Vec<String> = printers.iter().map(|p| p.key.to_string()).collect();
        let gone: Vec<String> = self.record.queues.keys().filter(|key| !wanted.contains(key)).cloned().collect();
        for key in gone {
            let Some(mut queue) = self.record.queues.remove(&key) else { continue };
            let done = self.remove_queue(&mut queue);
            if !matches!(done, Ok(true)) {
                self.record.queues.insert(key, queue);
            }
            keep(done.map(drop));
        }
        for printer in printers {
            let key = printer.key.to_string();
            let known = self.record.queues.get(&key).cloned();
            let name = known.as_ref().map_or_else(|| self.free_name(&printer.name), |queue| queue.name.clone());
            let mut offered = Vec::new();
            printer.encode(&mut offered);
            let (info, ppd) = (description(&printer.name, &language()), ppd(printer));
            let queue = Queue { name: name.clone(), info, ppd, printer: offered, is_leaving: false };
            let is_made = known.as_ref().is_some_and(|known| known.is_like(&queue));
            if known.as_ref() != Some(&queue) {
                let done = if is_made { Ok(()) } else { self.make_queue(&queue, printer.key, printer_socket) };
                if done.is_ok() {
                    self.record.queues.insert(key, queue);
                }
                keep(done);
            }
        }
        if let Some(default) = printers.iter().find(|p| p.is_default)
            && let Some(queue) = self.record.queues.get(&default.key.to_string()).cloned()
        {
            keep(self.lpadmin(&queue.name, &["-d", &queue.name]));
        }
        let resumed = self.resume_queues();
        if matches!(&resumed, Err(CupsError::Queue { detail, .. }) if is_unknown(detail)) {
            // Its configuration was lost, or it is just gone: asked again, those that are wanted are made anew.
            self.record.queues.retain(|key, queue| queue.is_leaving || !wanted.contains(key));
        }
        keep(resumed);
        self.save()?;
        first
    }

    /// The names of all queues by their printers' hexadecimal keys, also of those that are to go.
    pub fn queues(&self) -> BTreeMap<String, String> {
        self.record.queues.iter().map(|(key, queue)| (key.clone(), queue.name.clone())).collect()
    }

    /// The printers of all queues as they were offered last.
    pub fn printers(&self) -> Vec<Printer> {
        let printer = |queue: &Queue| Printer::decode(&mut Reader::new(&queue.printer)).ok();
        self.record.queues.values().filter_map(printer).collect()
    }

    /// Whether a queue is to go and still has jobs.
    pub fn has_leaving(&self) -> bool {
        self.record.queues.values().any(|queue| queue.is_leaving)
    }

    /// Ends it. Nothing of its jobs stays.
    pub fn stop(&mut self) {
        if let Some(process) = self.record.process.take() {
            process.stop(STOP_GRACE);
            process.clear_session();
        }
        Cups::clean(&self.dir);
        let _ = fs::remove_file(self.dir.join(RECORD));
    }

    fn tree(&self) -> PathBuf {
        Cups::tree_of(&self.dir)
    }

    /// Where its files are. A session of root's has them outside of its directory: CUPS runs filters and backends as
    /// another user then, who may not enter that.
    fn tree_of(dir: &Path) -> PathBuf {
        if !rustix::process::geteuid().is_root() {
            return dir.join("cups");
        }
        // FNV-1a of the directory's name: another session has another tree.
        let hash = dir
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
        PathBuf::from(format!("/run/kachel-cups-{hash:016x}"))
    }

    fn write_files(&self, tree: &Path, files: &[(&str, String)]) -> Result<(), CupsError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CupsError::Write { path, source }
        };
        let mode = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
        let make = |path: &Path| match fs::DirBuilder::new().mode(mode).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_own_dir(path) => Ok(()),
            made => made.map_err(failed(path)),
        };
        make(tree)?;
        for name in ["root", "root/ppd", "spool", "cache", "state", "log", "tmp"] {
            make(&tree.join(name))?;
        }
        for (name, text) in files {
            write_private(&tree.join(name), text.as_bytes()).map_err(failed(&tree.join(name)))?;
        }
        Ok(())
    }

    fn make_queue(&self, queue: &Queue, key: PrinterKey, printer_socket: &Path) -> Result<(), CupsError> {
        let file = self.tree().join("tmp").join(format!("{key}.ppd"));
        let failed = |source| CupsError::Write { path: file.clone(), source };
        write_private(&file, queue.ppd.as_bytes()).map_err(failed)?;
        let host = printer_socket.to_string_lossy().replace('%', "%25").replace('/', "%2F");
        let uri = format!("ipp://{host}/ipp/print/{key}");
        let path = file.to_string_lossy();
        let done = self.lpadmin(
            &queue.name,
            &[
                "-p",
                &queue.name,
                "-E",
                "-v",
                &uri,
                "-P",
                &path,
                "-D",
                &queue.info,
                "-o",
                "printer-is-shared=false",
                "-o",
                // A session process that dies in the middle is there again in a second, and knows a job sent twice.
                "printer-error-policy=retry-current-job",
            ],
        );
        let _ = fs::remove_file(&file);
        done
    }

    /// Removes a queue if it has no jobs, and whether it did. It takes nothing more first, so that none come in between.
    fn remove_queue(&self, queue: &mut Queue) -> Result<bool, CupsError> {
        let name = queue.name.clone();
        let removed = (|| {
            if !queue.is_leaving {
                self.ask("cupsreject", &name, &[&name])?;
                queue.is_leaving = true;
            }
            if !self.ask("lpstat", &name, &["-W", "not-completed", "-o", &name])?.trim().is_empty() {
                return Ok(false);
            }
            self.lpadmin(&name, &["-x", &name]).map(|()| true)
        })();
        match removed {
            // A process that died before it wrote that down has removed it.
            Err(CupsError::Queue { detail, .. }) if is_unknown(&detail) => Ok(true),
            removed => removed,
        }
    }

    /// Lets queues go on that CUPS has stopped: so it does for good, whatever the policy, when a session process dies while it
    /// takes a document. What the user has stopped stays so.
    fn resume_queues(&self) -> Result<(), CupsError> {
        let names: Vec<&str> = self.record.queues.values().map(|queue| queue.name.as_str()).collect();
        let Some(first) = names.first() else { return Ok(()) };
        let said = self.ask("lpstat", first, &["-p", &names.join(",")])?;
        for name in stopped_queues(&said).filter(|name| names.contains(name)) {
            tracing::info!(name, "A print queue goes on");
            self.ask("cupsenable", name, &[name])?;
        }
        Ok(())
    }

    fn lpadmin(&self, queue: &str, arguments: &[&str]) -> Result<(), CupsError> {
        self.ask("lpadmin", queue, arguments).map(drop)
    }

    /// What one of CUPS' programs says about a queue.
    fn ask(&self, program: &str, queue: &str, arguments: &[&str]) -> Result<String, CupsError> {
        let failed = |detail: String| CupsError::Queue { queue: queue.to_owned(), detail };
        let path = find_system_program(program).ok_or_else(|| failed(format!("{program} is not installed")))?;
        let mut command = Command::new(path);
        command.args(arguments).env("CUPS_SERVER", &self.socket).env("LC_ALL", "C.UTF-8").current_dir("/");
        match run_within(&mut command, ASK_LIMIT) {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(said)) => Err(failed(said.trim().chars().take(300).collect())),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// A queue's name: letters, digits and `_` of the printer's, and a number where it is taken.
    fn free_name(&self, printer: &str) -> String {
        let plain = queue_name(printer);
        let taken = |name: &str| self.record.queues.values().any(|queue| queue.name.eq_ignore_ascii_case(name));
        (1..)
            .map(|n| if n == 1 { plain.clone() } else { format!("{plain}_{n}") })
            .find(|name| !taken(name))
            .expect("there are more numbers than queues")
    }

    fn save(&self) -> Result<(), CupsError> {
        let path = self.dir.join(RECORD);
        let json = serde_json::to_vec(&self.record).expect("names and numbers are JSON");
        write_private(&path, &json).map_err(|source| CupsError::Write { path, source })
    }
}

/// Runs a program, and kills it when it takes longer than `limit`. What it says, or what it says about its failure.
fn run_within(command: &mut Command, limit: Duration) -> io::Result<Result<String, String>> {
    let end = Instant::now() + limit;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // It fits a pipe, or the program does not end in time.
    let (said, failure) = (child.stdout.take().expect("it was piped"), child.stderr.take().expect("it was piped"));
    // A child of its own may hold a pipe open for longer: what is in it when the program ends is what it said.
    rustix::io::ioctl_fionbio(&said, true)?;
    rustix::io::ioctl_fionbio(&failure, true)?;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() > end => {
                child.kill()?;
                child.wait()?;
                return Err(io::ErrorKind::TimedOut.into());
            }
            None => sleep(LOOK),
        }
    };
    if status.success() { Ok(Ok(text_in(said)?)) } else { Ok(Err(text_in(failure)?)) }
}

/// What is in a pipe, the beginning of it if it is long.
fn text_in(pipe: impl Read) -> io::Result<String> {
    let mut text = Vec::new();
    match pipe.take(4 << 10).read_to_end(&mut text) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
        _ => {}
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Whether one of CUPS' programs says that there is no such queue.
fn is_unknown(said: &str) -> bool {
    said.contains("does not exist") || said.contains("Invalid destination name")
}

/// Queues that have stopped by themselves, of what `lpstat -p` says: a line for each, and below one that has stopped why.
fn stopped_queues(said: &str) -> impl Iterator<Item = &str> {
    let lines = said.lines().zip(said.lines().skip(1).chain([""]));
    lines.filter_map(|(line, below)| {
        let (name, rest) = line.strip_prefix("printer ")?.split_once(' ')?;
        (rest.starts_with("disabled") && below.trim() != "Paused").then_some(name)
    })
}

/// The number of [`FILTER_USER`].
fn filter_user() -> Option<u32> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').next() == Some(FILTER_USER))?;
    line.split(':').nth(2)?.parse().ok()
}

/// What programs show of a printer: that it is the one at the desk, in the session's language.
fn description(printer: &str, language: &str) -> String {
    let place = if language.starts_with("de") { "an diesem Gerät" } else { "at this device" };
    format!("{printer} – {place}")
}

/// The language that programs in the session speak, as POSIX finds it.
fn language() -> String {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(set).unwrap_or_default()
}

fn queue_name(printer: &str) -> String {
    let mut name = String::new();
    for c in printer.chars().take(60) {
        match c {
            'ä' => name.push_str("ae"),
            'ö' => name.push_str("oe"),
            'ü' => name.push_str("ue"),
            'Ä' => name.push_str("Ae"),
            'Ö' => name.push_str("Oe"),
            'Ü' => name.push_str("Ue"),
            'ß' => name.push_str("ss"),
            c if c.is_ascii_alphanumeric() => name.push(c),
            _ if !name.ends_with('_') => name.push('_'),
            _ => {}
        }
    }
    let name = name.trim_matches('_');
    if name.is_empty() { "Drucker".to_owned() } else { name.to_owned() }
}

fn is_own_dir(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path).is_ok_and(|m| m.is_dir() && m.uid() == rustix::process::geteuid().as_raw())
}

/// cupsd and lpadmin are where ordinary users do not look.
fn find_system_program(name: &str) -> Option<PathBuf> {
    find_program(name).or_else(|| Some(Path::new("/usr/sbin").join(name)).filter(|path| path.is_file()))
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Written anew, so that a link that somebody put there is not followed.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

/// Both configuration files.
fn configuration(tree: &Path, socket: &Path, is_root: bool) -> [(&'static str, String); 2] {
    let at = |name: &str| tree.join(name).display().to_string();
    let users = if is_root {
        format!("SystemGroup root\nUser {FILTER_USER}\nGroup {FILTER_USER}\n")
    } else {
        // CUPS asks for names; where there are none the numbers do.
        format!("User {}\nGroup {}\n", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    };
    let files = format!(
        "ServerRoot {}\nRequestRoot {}\nCacheDir {}\nStateDir {}\nTempDir {}\nDataDir /usr/share/cups\n\
         DocumentRoot /usr/share/cups/doc-root\nServerBin {SERVER_BIN}\nAccessLog {}\nErrorLog {}\nPageLog {}\n\
         Printcap\n{users}",
        at("root"),
        at("spool"),
        at("cache"),
        at("state"),
        at("tmp"),
        at("log/access"),
        at("log/error"),
        at("log/page"),
    );
    // Whoever reaches the socket is the session's user: its directory lets nobody else in. What it took it writes down at
    // once, not half a minute later: neither job nor queue is gone when it is killed.
    let rules = format!(
        "LogLevel warn\nMaxLogSize 1m\nAccessLogLevel none\nListen {}\nBrowsing No\nWebInterface No\nDefaultAuthType None\n\
         DefaultShared No\nPreserveJobHistory {}\nPreserveJobFiles No\nDirtyCleanInterval 0\nErrorPolicy retry-current-job\n\
         JobRetryInterval 2\nJobRetryLimit 30\nMaxJobs 500\n\
         <Location />\nOrder allow,deny\nAllow all\n</Location>\n\
         <Location /admin>\nOrder allow,deny\nAllow all\n</Location>\n\
         <Policy default>\nJobPrivateAccess all\nJobPrivateValues none\nSubscriptionPrivateAccess all\n\
         SubscriptionPrivateValues none\n<Limit All>\nOrder deny,allow\n</Limit>\n</Policy>\n",
        socket.display(),
        RETENTION.as_secs()
    );
    [("cups-files.conf", files), ("cupsd.conf", rules)]
}

/// The PPD of a printer: sizes, trays, both sides, colour. PDF passes as it is; the session's filters make PDF of the rest.
/// Without `cupsSingleFile` CUPS passes on only the first of a job's documents.
fn ppd(printer: &Printer) -> String {
    let mut papers: Vec<Paper> = printer.media.iter().filter_map(|name| Paper::parse(name)).collect();
    if papers.is_empty() {
        papers = ["iso_a4_210x297mm", "na_letter_8.5x11in"].into_iter().filter_map(Paper::parse).collect();
    }
    papers.sort_by_key(|paper| paper.ppd != papers_default(&printer.media));
    let mut seen: Vec<String> = Vec::new();
    papers.retain(|paper| {
        !seen.contains(&paper.ppd) && {
            seen.push(paper.ppd.clone());
            true
        }
    });
    let mut text = String::from(
        "*PPD-Adobe: \"4.3\"\n*FormatVersion: \"4.3\"\n*FileVersion: \"1.0\"\n*LanguageVersion: English\n\
         *LanguageEncoding: ISOLatin1\n*PCFileName: \"KACHEL.PPD\"\n*Manufacturer: \"Kachel\"\n*Product: \"(Kachel)\"\n\
         *ModelName: \"Kachel\"\n*ShortNickName: \"Kachel\"\n*NickName: \"Kachel\"\n*PSVersion: \"(3010.000) 0\"\n\
         *LanguageLevel: \"3\"\n*FileSystem: False\n*cupsVersion: 2.4\n*cupsSNMPSupplies: False\n\
         *cupsManualCopies: False\n*cupsSingleFile: True\n*cupsFilter2: \"application/pdf application/pdf 0 -\"\n",
    );
    text += if printer.color { "*ColorDevice: True\n" } else { "*ColorDevice: False\n" };
    for keyword in ["PageSize", "PageRegion"] {
        let choices = papers.iter().map(|p| {
            let (w, h) = p.points();
            (p.ppd.clone(), format!("<</PageSize[{w} {h}]>>setpagedevice"))
        });
        text += &choice(keyword, "Media Size", &papers[0].ppd, choices);
    }
    text += &format!("*DefaultImageableArea: {0}\n*DefaultPaperDimension: {0}\n", papers[0].ppd);
    for paper in &papers {
        let (w, h) = paper.points();
        let (right, top) = (w.saturating_sub(12), h.saturating_sub(12));
        text += &format!("*ImageableArea {0}: \"12 12 {right} {top}\"\n*PaperDimension {0}: \"{w} {h}\"\n", paper.ppd);
    }
    if printer.sources.len() > 1 {
        let choices = printer.sources.iter().map(|source| (source.clone(), String::new()));
        text += &choice("InputSlot", "Tray", &printer.sources[0], choices);
    }
    if printer.duplex {
        let choices = ["None", "DuplexNoTumble", "DuplexTumble"].map(|word| (word.to_owned(), String::new()));
        text += &choice("Duplex", "Both Sides", "None", choices);
    }
    if printer.color {
        let choices = ["RGB", "Gray"].map(|word| (word.to_owned(), String::new()));
        text += &choice("ColorModel", "Color", "RGB", choices);
    }
    text
}

fn papers_default(media: &[String]) -> String {
    media.first().and_then(|name| Paper::parse(name)).map_or_else(String::new, |paper| paper.ppd)
}

fn choice(keyword: &str, label: &str, default: &str, choices: impl IntoIterator<Item = (String, String)>) -> String {
    let mut text = format!(
        "*OpenUI *{keyword}/{label}: PickOne\n*OrderDependency: 10 AnySetup *{keyword}\n*Default{keyword}: {default}\n"
    );
    for (word, code) in choices {
        text += &format!("*{keyword} {word}/{word}: \"{code}\"\n");
    }
    text + &format!("*CloseUI: *{keyword}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_end_is_killed_and_one_that_fails_is_heard() {
        let limit = Duration::from_millis(200);
        let begun = Instant::now();
        let stuck = run_within(Command::new("sleep").arg("60"), limit);
        assert_eq!(stuck.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        assert!(begun.elapsed() < Duration::from_secs(30));
        let run = |script| run_within(Command::new("sh").args(["-c", script]), Duration::from_secs(30)).expect("sh");
        assert_eq!(run("echo one-1; echo a warning >&2"), Ok("one-1\n".to_owned()));
        assert_eq!(run("echo no such printer >&2; false"), Err("no such printer\n".to_owned()));
    }

    #[test]
    fn a_program_whose_child_holds_its_output_is_not_waited_for() {
        let (tell, heard) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut command = Command::new("sh");
            command.args(["-c", "sleep 600 & echo $! >&2; false"]);
            let _ = tell.send(run_within(&mut command, Duration::from_secs(30)).expect("sh"));
        });
        let said = heard.recv_timeout(Duration::from_secs(60)).expect("it is not waited for").expect_err("it failed");
        let child = said.trim().parse().ok().and_then(rustix::process::Pid::from_raw).expect("the child's number");
        rustix::process::kill_process(child, rustix::process::Signal::KILL).expect("it still runs");
        thread.join().expect("it has ended");
    }

    #[test]
    fn queues_that_the_user_did_not_stop_are_told_from_others() {
        let said = "printer Kyocera is idle.  enabled since Sat Nov 28 13:39:37 2026\n\
                    printer Buero disabled since Sat Nov 28 13:39:37 2026 -\n\tUnable to add document to print job.\n\
                    printer Flur disabled since Sat Nov 28 13:39:37 2026 -\n\tPaused\n\
                    printer Keller now printing Keller-1.  enabled since Sat Nov 28 13:39:37 2026\n\
                    printer Dach disabled since Sat Nov 28 13:39:37 2026 -\n\treason unknown\n";
        assert_eq!(stopped_queues(said).collect::<Vec<_>>(), ["Buero", "Dach"]);
        assert_eq!(stopped_queues("").count() + stopped_queues("printer\nprinter \nprinter a\n\n").count(), 0);
    }

    #[test]
    fn names_of_queues_are_plain_words() {
        for (printer, queue) in [
            ("Kyocera Büro 2 – an diesem Gerät", "Kyocera_Buero_2_an_diesem_Geraet"),
            ("../../etc/passwd", "etc_passwd"),
            ("-p evil; rm -rf /", "p_evil_rm_rf"),
            ("打印机", "Drucker"),
        ] {
            assert_eq!(queue_name(printer), queue, "{printer}");
        }
    }

    #[test]
    fn a_queue_says_that_its_printer_is_the_one_at_the_desk() {
        for (language, expected) in [
            ("de_DE.UTF-8", "Kyocera Büro 2 – an diesem Gerät"),
            ("en_GB.UTF-8", "Kyocera Büro 2 – at this device"),
            ("C.UTF-8", "Kyocera Büro 2 – at this device"),
            ("", "Kyocera Büro 2 – at this device"),
        ] {
            assert_eq!(description("Kyocera Büro 2", language), expected);
        }
    }

    #[test]
    fn a_ppd_is_made_of_known_words_and_numbers_only() {
        let printer = Printer {
            key: PrinterKey([1; 16]),
            name: "*cupsFilter2: \"evil\"\n*End".into(),
            is_default: true,
            color: true,
            duplex: true,
            ready: true,
            media: vec!["iso_a4_210x297mm".into(), "na_letter_8.5x11in".into(), "nonsense".into()],
            sources: vec!["tray-1".into(), "tray-2".into()],
        };
        let text = ppd(&printer);
        assert!(!text.contains("evil") && !text.contains("nonsense"));
        assert_eq!(text.matches("cupsFilter").count(), 1);
        for line in
            ["*DefaultPageSize: A4", "*Duplex DuplexNoTumble/DuplexNoTumble: \"\"", "*InputSlot tray-2/tray-2: \"\""]
        {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn a_queue_that_could_not_be_made_or_removed_is_not_taken_for_done() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut cups =
            Cups { dir: dir.path().to_owned(), socket: dir.path().join("nobody.sock"), record: Record::default() };
        let printer = Printer::plain(PrinterKey([1; 16]), "one");
        assert!(cups.set_queues(std::slice::from_ref(&printer), Path::new("/nowhere")).is_err());
        assert_eq!(cups.queues().get(&printer.key.to_string()), None);
        let queue = Queue { name: "one".into(), ..Queue::default() };
        cups.record.queues.insert(printer.key.to_string(), queue);
        assert!(cups.set_queues(&[], Path::new("/nowhere")).is_err());
        assert_eq!(cups.queues()[&printer.key.to_string()], "one");
    }
}
