//! Printing with real parts: CUPS in the session, `lp`, both of our programs, and a real IPP printer at the viewer.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kachel::geom::Size;
use rustix::process::Signal;
use serde_json::Value;

use crate::seat::has;
use crate::support::display::{Display, connect};
use crate::support::link::{Host, HostOptions, Viewer, ViewerOptions, free_loopback_port};
use crate::support::printer::{IppPrinter, pdf};
use crate::support::process::Processes;
use crate::support::wait::wait_until;

pub(crate) const PROGRAMS: &[&str] =
    &["Xvfb", "cupsd", "lp", "lpstat", "ippeveprinter", "ipptool", "avahi-daemon", "dbus-daemon"];
/// Nothing here takes this long unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A session, a viewer, and a printer beside it.
pub(crate) struct Office {
    pub(crate) printer: IppPrinter,
    pub(crate) host: Host,
    pub(crate) viewer: Option<Viewer>,
    pub(crate) programs: Processes,
    /// What the viewer is started with.
    pub(crate) way: Way,
    display: Display,
    _screen: Display,
    listen: SocketAddr,
}

/// How the viewer finds the printer.
#[derive(Default)]
pub(crate) struct Way {
    /// Instead of the printer's address.
    pub(crate) arguments: Option<Vec<String>>,
    /// Beside its state directory.
    pub(crate) environment: Vec<(String, String)>,
}

impl Office {
    pub(crate) fn new(arguments: &[&str]) -> Office {
        Office::with(arguments, |_| Way::default())
    }

    /// The same, with what stands between viewer and printer.
    pub(crate) fn with(arguments: &[&str], way: impl FnOnce(&IppPrinter) -> Way) -> Office {
        let printer = IppPrinter::start("Kyocera Buero 2");
        let way = way(&printer);
        let (display, screen) = (Display::start(Size::new(1000, 800)), Display::start(Size::new(640, 480)));
        let listen = free_loopback_port();
        let options = HostOptions {
            attach: Some(screen.name().to_owned()),
            listen: Some(listen),
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            ..HostOptions::default()
        };
        let host = Host::start(Path::new(env!("CARGO_BIN_EXE_kachel-host")), &options);
        let programs = Processes::new("office");
        let mut office = Office { printer, host, viewer: None, programs, way, display, _screen: screen, listen };
        office.start_viewer();
        office
    }

    pub(crate) fn start_viewer(&mut self) {
        let state = self.programs.folder().join("viewer-state");
        let state = ("XDG_STATE_HOME".to_owned(), state.display().to_string());
        let direct = || vec!["--printer".into(), self.printer.uri()];
        let options = ViewerOptions {
            environment: self.way.environment.iter().cloned().chain([state]).collect(),
            arguments: self.way.arguments.clone().unwrap_or_else(direct),
            ..ViewerOptions::on(self.display.name())
        };
        self.viewer = Some(Viewer::start(Path::new(env!("CARGO_BIN_EXE_kachel")), &self.host.trial_file(), &options));
    }

    pub(crate) fn printing(&self) -> Option<Value> {
        Some(self.host.status()?.get("sessions")?.get(0)?.get("printing")?.clone())
    }

    /// The viewer's journal of print jobs.
    pub(crate) fn journal(&self) -> PathBuf {
        self.programs.folder().join("viewer-state/kachel/print-1.journal")
    }

    /// Kills the viewer.
    pub(crate) fn kill_viewer(&mut self) {
        self.viewer.take().expect("it runs").processes().end("kachel", Signal::KILL);
    }

    /// Serves again after the front was killed.
    pub(crate) fn serve_again(&mut self) {
        let options = HostOptions {
            attach: Some(self._screen.name().to_owned()),
            listen: Some(self.listen),
            ..HostOptions::default()
        };
        self.host.serve(&options);
    }

    /// The queue's name once CUPS has it.
    pub(crate) fn queue(&self) -> String {
        let queue = wait_until(PATIENCE, "a queue in the session", || {
            Some(self.printing()?["printers"].get(0)?["queue"].as_str()?.to_owned())
        });
        let socket = self.cups().display().to_string();
        wait_until(PATIENCE, "CUPS knows the queue", || {
            let mut command = Command::new("lpstat");
            let known = command.args(["-h", &socket, "-v", &queue]).output().ok()?;
            known.status.success().then_some(())
        });
        queue
    }

    pub(crate) fn cups(&self) -> PathBuf {
        self.host.state().join("sessions/trial/cups.sock")
    }

    /// Runs a program of the session that prints.
    pub(crate) fn run(&mut self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(arguments).env("CUPS_SERVER", self.cups()).env("LC_ALL", "C.UTF-8");
        self.programs.run(program, &mut command)
    }

    /// Puts a document where programs of the session find it, and gives its path.
    pub(crate) fn document(&self, name: &str, document: impl AsRef<[u8]>) -> String {
        let file = self.programs.folder().join(name);
        fs::write(&file, document).expect("ours");
        file.display().to_string()
    }

    /// The states of all jobs that the session knows.
    pub(crate) fn states(&self) -> Vec<String> {
        let Some(printing) = self.printing() else { return Vec::new() };
        let jobs = printing["jobs"].as_array().cloned().unwrap_or_default();
        jobs.iter().map(|job| job["state"].as_str().unwrap_or("waiting").to_owned()).collect()
    }

    pub(crate) fn wait_states(&self, what: &str, expected: &[&str]) {
        let mut last = Vec::new();
        let met = crate::support::wait::wait_for(PATIENCE, || {
            last = self.states();
            (last == expected).then_some(())
        });
        assert!(
            met.is_some(),
            "{what}: wanted {expected:?}, found {last:?}\n{:?}\n{}",
            self.printing(),
            self.printer.log()
        );
    }

    /// Whoever waits for a sheet moves the mouse, and so finds out at once that the link is gone.
    pub(crate) fn nudge(&self) {
        use x11rb::protocol::xtest::ConnectionExt as _;
        let (connection, root) = connect(self.display.name());
        for x in [300, 301] {
            let moved =
                connection.xtest_fake_input(x11rb::protocol::xproto::MOTION_NOTIFY_EVENT, 0, 0, root, x, 300, 0);
            moved.expect("the X connection holds").check().expect("the pointer moves");
        }
    }

    pub(crate) fn session_pid(&self) -> u32 {
        wait_until(PATIENCE, "the session process", || {
            let status = self.host.status()?;
            u32::try_from(status.get("sessions")?.get(0)?.get("pid")?.as_u64()?).ok()
        })
    }
}

#[test]
fn what_a_program_prints_comes_out_beside_the_viewer_once_and_byte_for_byte() {
    if !has(PROGRAMS) {
        return;
    }
    let mut office = Office::new(&[]);
    let queue = office.queue();
    assert_eq!(queue, "Kyocera_Buero_2");
    assert!(office.run("lpstat", &["-d"]).contains(&queue), "the default follows");
    let described = office.run("lpstat", &["-l", "-p", &queue]);
    assert!(described.contains("Kyocera Buero 2 – a"), "at which desk it stands: {described}");
    let document = pdf(300_000, "Kachel-Marke-1");
    let path = office.document("a.pdf", &document);
    office.run(
        "lp",
        &[
            "-n",
            "2",
            "-o",
            "sides=two-sided-long-edge",
            "-o",
            "ColorModel=Gray",
            "-o",
            "page-ranges=1-1",
            "-t",
            "Prüfung ä",
            &path,
        ],
    );
    office.wait_states("a PDF", &["done"]);
    let sheets = office.printer.sheets();
    assert_eq!(sheets.len(), 1, "{}", office.printer.log());
    assert!(sheets[0].document == document, "the bytes are not those that were printed");
    for (option, value) in
        [("copies", "2"), ("sides", "two-sided-long-edge"), ("print-color-mode", "monochrome"), ("page-ranges", "1-1")]
    {
        assert_eq!(sheets[0].option(option), Some(value), "{option} of {:?}", sheets[0].options);
    }
    assert!(sheets[0].option("job-name").is_some_and(|name| name.contains("Prüfung ä")), "{:?}", sheets[0].options);
    wait_until(PATIENCE, "the session's queue says that it is printed", || {
        office.run("lpstat", &["-W", "completed", "-o"]).contains("Kyocera_Buero_2-1").then_some(())
    });
    // Text becomes a PDF in the session; here by a program that was told of no print server but by the session.
    let text = office.programs.folder().join("a.txt");
    fs::write(&text, "Kachel-Marke-2\n").expect("ours");
    office.host.exec(&["lp", &text.display().to_string()]);
    office.wait_states("a text", &["done", "done"]);
    let sheets = office.printer.sheets();
    assert!(sheets.len() == 2 && sheets.iter().all(|sheet| sheet.document.starts_with(b"%PDF-")));
    // Nothing of a document is left at either end, once the host's journal says how its job ended.
    let spool = office.host.state().join("sessions/trial/print-spool");
    wait_until(PATIENCE, "the spool is empty", || fs::read_dir(&spool).ok()?.next().is_none().then_some(()));
}

#[test]
fn paper_that_is_out_is_told_and_a_cancelled_job_is_not_printed() {
    if !has(PROGRAMS) {
        return;
    }
    let mut office = Office::new(&[]);
    let queue = office.queue();
    let path = office.document("a.pdf", pdf(10_000, "Kachel-Marke-4"));
    office.printer.set_paper(false);
    office.run("lp", &["-d", &queue, &path]);
    office.wait_states("no paper", &["stopped"]);
    assert_eq!(office.printing().expect("status")["jobs"][0]["reason"], "mediaempty");
    wait_until(PATIENCE, "the session's queue says so too", || {
        office.run("lpstat", &["-l", "-p", &queue]).contains("media-empty").then_some(())
    });
    office.run("lp", &["-d", &queue, &path]);
    office.run("cancel", &["-a", &queue]);
    // This printer ends the sheet that it is at before it cancels; the second job never left the session.
    office.printer.set_paper(true);
    office.wait_states("cancelled", &["canceled"]);
    assert!(office.printer.sheets().len() <= 1, "{}", office.printer.log());
}

#[test]
fn a_host_that_denies_printing_shows_no_printer() {
    if !has(PROGRAMS) {
        return;
    }
    let mut office = Office::new(&["--deny", "printing"]);
    office.viewer.as_mut().expect("it runs").window(PATIENCE);
    wait_until(PATIENCE, "the viewer is there", || {
        (office.host.status()?.get("sessions")?.get(0)?.get("viewers")?.as_u64()? == 1).then_some(())
    });
    assert_eq!(office.printing(), Some(Value::Null));
    assert!(!office.cups().exists(), "no print server runs");
}
