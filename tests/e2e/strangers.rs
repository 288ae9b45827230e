//! Other users of the host's machine: none of them reaches what belongs to a session.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kachel::geom::Size;
use rustix::process::geteuid;

use crate::print::{PATIENCE, PROGRAMS};
use crate::seat::{has, host_program};
use crate::support::display::Display;
use crate::support::link::{Host, HostOptions, Viewer, ViewerOptions};
use crate::support::printer::IppPrinter;
use crate::support::wait::wait_until;

/// Another user: nobody, by the number that every Linux gives them.
const STRANGER: u32 = 65_534;
/// Connects to a socket and says how that ended: the system's error, or 100 where the other end hung up without a word,
/// 101 where it waits for what one has to say.
const CONNECT: &str = "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0) or exit 99; \
                       connect(S, sockaddr_un($ARGV[0])) or exit $!+0; \
                       $SIG{ALRM} = sub { exit 101 }; alarm 1; sysread(S, $_, 1); exit 100";
const DENIED: i32 = 13;
const HUNG_UP: i32 = 100;
const WAITS: i32 = 101;

#[test]
fn another_user_of_the_machine_connects_to_no_socket_and_reads_no_file_of_a_session() {
    if !has(PROGRAMS) || !has(&["perl", "openbox"]) {
        return;
    }
    // A desk with a printer, so that there is a print server.
    let (printer, desk) = (IppPrinter::start("Kyocera"), Display::start(Size::new(1000, 800)));
    let host = Host::start(&host_program(), &HostOptions::default());
    let options =
        ViewerOptions { arguments: vec!["--printer".into(), printer.uri()], ..ViewerOptions::on(desk.name()) };
    let _viewer = Viewer::start(Path::new(env!("CARGO_BIN_EXE_kachel")), &host.trial_file(), &options);
    let session = host.state().join("sessions/trial");
    let expected = ["session.sock", "sound.sock", "pulse", "cups.sock", "print.sock"];
    let sockets = wait_until(PATIENCE, "all sockets", || {
        let sockets = listening(&session);
        let is_there = |name: &&str| sockets.iter().any(|path| path.ends_with(name));
        expected.iter().all(is_there).then_some(sockets)
    });
    // The bolt itself: whatever its sockets and files allow, nobody else gets past the directories.
    let mode = fs::metadata(&session).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "{} is open to others: {mode:o}", session.display());
    // Where the session is root's, its print server's filters are somebody else and have a tree of their own.
    let cups = sockets.iter().find(|path| path.ends_with("print.sock")).and_then(|path| path.parent()).expect("a tree");
    if !geteuid().is_root() {
        eprintln!("not tried as somebody else, which only root can be");
        return;
    }
    // What lies above a session's directory is for its owner to close or not; each on the way to it is open here.
    for folder in session.ancestors().skip(1).take_while(|folder| *folder != std::env::temp_dir()) {
        fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("ours");
    }
    for socket in &sockets {
        assert_ne!(connect(socket, None), DENIED, "the session's own user, {}", socket.display());
        assert_eq!(connect(socket, Some(STRANGER)), DENIED, "{}", socket.display());
    }
    assert_eq!(connect(&session.join("pulse"), None), WAITS, "a program of the session's user is listened to");
    for folder in [session.as_path(), cups] {
        let files = files_of(folder);
        assert!(!files.is_empty(), "{} has files", folder.display());
        // The number of a process is no secret.
        for file in files.into_iter().filter(|file| !file.ends_with("cupsd.pid")) {
            assert!(!is_readable(&file, Some(STRANGER)), "{}", file.display());
        }
    }
    assert!(is_readable(&cups.join("cupsd.conf"), None), "the session's own user");

    // The second bolt: a directory that somebody opened by mistake.
    fs::set_permissions(&session, Permissions::from_mode(0o755)).expect("ours");
    for socket in &sockets {
        fs::set_permissions(socket, Permissions::from_mode(0o777)).expect("ours");
    }
    for name in expected.into_iter().filter(|name| *name != "cups.sock") {
        let socket = sockets.iter().find(|path| path.ends_with(name)).expect("it was there");
        assert_eq!(connect(socket, Some(STRANGER)), HUNG_UP, "{}", socket.display());
    }
}

/// Sockets that something listens at, in a session's directory or in the tree that its print server has outside of it.
fn listening(session: &Path) -> Vec<PathBuf> {
    const LISTENS: &str = "00010000";
    let of_session = session.display().to_string();
    let table = fs::read_to_string("/proc/net/unix").expect("a Linux");
    let mut sockets: Vec<PathBuf> = table
        .lines()
        .filter(|line| line.split_whitespace().nth(3) == Some(LISTENS))
        .filter_map(|line| line.split_whitespace().nth(7).map(PathBuf::from))
        .filter(|path| {
            let tree = path.parent().filter(|tree| tree.starts_with("/run")).map(|tree| tree.join("cupsd.conf"));
            let configuration = tree.and_then(|file| fs::read_to_string(file).ok());
            path.starts_with(session) || configuration.is_some_and(|text| text.contains(&of_session))
        })
        .collect();
    sockets.sort();
    sockets
}

/// All files of a folder.
fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    let (folders, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.retain(|path| path.is_file());
    files.into_iter().chain(folders.iter().flat_map(|folder| files_of(folder))).collect()
}

/// Whether this user, or the session's own, can read a file whose name he knows.
fn is_readable(file: &Path, user: Option<u32>) -> bool {
    let mut command = Command::new("cat");
    command.arg(file).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    command.status().expect("cat is there").success()
}

/// How connecting ends for this user, or for the session's own.
fn connect(socket: &Path, user: Option<u32>) -> i32 {
    let mut command = Command::new("perl");
    command.args(["-e", CONNECT]).arg(socket).current_dir("/");
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    command.status().expect("perl is there").code().expect("it ends by itself")
}
