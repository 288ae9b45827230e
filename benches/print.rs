//! A large print job beside somebody who types: how long keys wait for their picture before the job, while the session's
//! print server takes it, while its document travels and while the printer takes it; how fast it travels; and how much
//! memory it takes of viewer, front and session. On a direct line and on one of 50 Mbit/s.
//! Run by `./dev bench print [--quick] [--only direct,narrow]`; needs root for the network namespaces.

#[path = "parts/mod.rs"]
mod parts;
#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{Write, stdout};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use parts::keys::{Answer, Keys, Kind};
use parts::options::Options;
use parts::peers::{Pair, Peer};
use parts::programs::Desktop;
use parts::report::{self, ms, quantile};
use parts::wire::Wire;
use support::input::Input;
use support::printer::{IppPrinter, pdf};
use support::process::{Processes, forget_peak, peak_memory, resident_bytes};
use support::wait::wait_until;

/// Longest time that anything takes to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest time that a job takes: the narrow line alone needs 50 s for it.
const JOB_LIMIT: Duration = Duration::from_secs(400);
/// The first keys warm up caches and connections.
const WARM_UP: usize = 3;
/// So many bytes on the line are no keys and their pictures any more, but the document.
const DOCUMENT_BEGINS: u64 = 1 << 20;
/// How often the line's counters are read.
const LOOK: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    let options = Options::from_arguments();
    let (bytes, idle_keys) = if options.quick { (60_000_000, 15) } else { (300_000_000, 60) };
    let mut results = Vec::new();
    let mut failures = Vec::new();
    for line in [Line::Direct, Line::Narrow].into_iter().filter(|line| options.wants(line.name(), true)) {
        print!("{}: a job of {} MB ", line.name(), bytes / 1_000_000);
        stdout().flush().ok();
        let measured = report::attempt(line.name(), &mut failures, || measure(line, bytes, idle_keys));
        if let Some(result) = measured {
            println!(" {:.1} MB/s", result.bytes_per_s / 1e6);
            results.push(result);
        }
    }
    print_tables(&results);
    report::save("print", &json!({ "results": results.iter().map(Measured::json).collect::<Vec<_>>() }));
    report::exit_code(&failures)
}

/// What lies between host and viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// A wire as fast as the machine.
    Direct,
    /// [`NARROW_MBIT_PER_S`], with a buffer of 100 ms before it.
    Narrow,
}

/// An ordinary access line.
const NARROW_MBIT_PER_S: u32 = 50;

impl Line {
    const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Narrow => "narrow",
        }
    }
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Before,
    /// The session's print server takes it, and its filters and the session's printer after that.
    Spooling,
    Traveling,
    /// Viewer and printer.
    HandOver,
}

impl Phase {
    const ALL: [Phase; 4] = [Self::Before, Self::Spooling, Self::Traveling, Self::HandOver];

    const fn name(self) -> &'static str {
        match self {
            Self::Before => "before the job",
            Self::Spooling => "the session spools it",
            Self::Traveling => "its document travels",
            Self::HandOver => "the printer takes it",
        }
    }
}

struct Measured {
    line: Line,
    keys: Vec<(Phase, Option<Answer>)>,
    /// Keys that never came to the program.
    lost: u32,
    bytes: usize,
    bytes_per_s: f64,
    memory: Vec<Memory>,
    load: f64,
}

/// Resident bytes of a process.
struct Memory {
    name: String,
    before: u64,
    peak: u64,
}

/// A desktop, its viewer, and a printer beside that.
struct Office<'a> {
    // First: it ends before its display does.
    _desktop: Desktop,
    pair: Pair<'a>,
    printer: IppPrinter,
    /// The printer's name in the session.
    queue: String,
}

impl<'a> Office<'a> {
    fn start(wire: &'a Wire) -> Self {
        let printer = IppPrinter::start_at("Kachel Bench", &wire.at_viewer());
        let mut pair = Pair::start_with(Peer::Kachel, wire, &["--printer".into(), printer.uri()]);
        let desktop = Desktop::empty(pair.server_display());
        Input::of(pair.viewer_display()).move_to(1000, 1070);
        pair.wait_in_step();
        let queue = wait_until(PATIENCE, "a queue in the session", || {
            Some(printing(&mut pair)?["printers"].get(0)?["queue"].as_str()?.to_owned())
        });
        Self { _desktop: desktop, pair, printer, queue }
    }

    /// A program of the session that prints.
    fn program(&mut self, name: &str) -> Command {
        let socket = self.pair.host().state().join("sessions/trial/cups.sock");
        let mut command = Command::new(name);
        command.env("CUPS_SERVER", socket).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// The state of the only job, which may not fail.
    fn is_done(&mut self) -> bool {
        let state = printing(&mut self.pair).and_then(|p| Some(p["jobs"].get(0)?["state"].as_str()?.to_owned()));
        let failed = matches!(state.as_deref(), Some("failed" | "canceled" | "unknown"));
        assert!(!failed, "the job is {state:?}: {}", self.printer.log());
        state.as_deref() == Some("done")
    }
}

fn measure(line: Line, bytes: usize, idle_keys: usize) -> Measured {
    let wire = Wire::new();
    if line == Line::Narrow {
        wire.narrow(NARROW_MBIT_PER_S);
    }
    let mut office = Office::start(&wire);
    let (server, viewer) = (office.pair.server_display().to_owned(), office.pair.viewer_display().to_owned());
    let files = Processes::new("job");
    let file = files.folder().join("job.pdf");
    fs::write(&file, pdf(bytes, "Kachel")).expect("the group's folder is ours");

    let mut keys = Keys::start(Kind::Flat, &server, &viewer);
    for _ in 0..WARM_UP {
        keys.press();
    }
    let idle: Vec<Option<Answer>> = (0..idle_keys).map(|_| keys.press()).collect();
    print!(".");
    stdout().flush().ok();

    let processes = kachel_processes(&mut office.pair);
    processes.iter().for_each(|(_, pid)| forget_peak(*pid));
    let resident: Vec<u64> = processes.iter().map(|(_, pid)| resident_bytes(&[*pid])).collect();
    let viewer_pid = office.pair.viewer_pid();
    let down_at_first = wire.passed(viewer_pid).down;
    let is_over = AtomicBool::new(false);
    let (typed, passed) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut passed = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                passed.push((Instant::now(), wire.passed(viewer_pid).down - down_at_first));
                sleep(LOOK);
            }
            passed
        });
        // Also when something below panics, so that the scope ends.
        let end = Finally(&is_over);
        let queue = office.queue.clone();
        let mut program = office.program("lp").args(["-d", &queue]).arg(&file).spawn().expect("lp runs");
        let mut typed: Vec<(Instant, Option<Answer>)> = Vec::new();
        let begin = Instant::now();
        loop {
            typed.push((Instant::now(), keys.press()));
            office.pair.assert_running();
            if office.is_done() {
                break;
            }
            assert!(begin.elapsed() < JOB_LIMIT, "the job is not done: {:?}", printing(&mut office.pair));
        }
        assert!(program.wait().is_ok_and(|status| status.success()), "lp failed");
        drop(end);
        (typed, watch.join().expect("it only reads"))
    });
    assert_eq!(office.printer.sheets().len(), 1, "{}", office.printer.log());
    let at = |bytes: u64| passed.iter().find(|(_, down)| *down >= bytes).map(|(at, _)| *at);
    let (begin, end) = (at(DOCUMENT_BEGINS).expect("it came"), at(bytes as u64).expect("it came whole"));
    let phase = |at: Instant| match at {
        at if at < begin => Phase::Spooling,
        at if at < end => Phase::Traveling,
        _ => Phase::HandOver,
    };
    let during = typed.into_iter().map(|(at, answer)| (phase(at), answer));
    let memory = processes.into_iter().zip(resident).map(|((name, pid), before)| Memory {
        name,
        before,
        peak: peak_memory(pid).max(before),
    });
    Measured {
        line,
        keys: idle.into_iter().map(|answer| (Phase::Before, answer)).chain(during).collect(),
        lost: keys.missing(),
        bytes,
        bytes_per_s: (bytes as u64 - DOCUMENT_BEGINS) as f64 / (end - begin).as_secs_f64(),
        memory: memory.collect(),
        load: report::load(),
    }
}

/// Sets a flag when it goes.
struct Finally<'a>(&'a AtomicBool);

impl Drop for Finally<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn printing(pair: &mut Pair) -> Option<Value> {
    Some(pair.host().status()?.get("sessions")?.get(0)?.get("printing")?.clone())
}

/// Our own processes at both ends, by what they do.
fn kachel_processes(pair: &mut Pair) -> Vec<(String, u32)> {
    let mut found = vec![("viewer".to_owned(), pair.viewer_pid())];
    for pid in pair.host().processes().pids() {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split('\0');
        if words.next().is_some_and(|program| program.ends_with("kachel-host"))
            && let Some(verb) = words.next()
        {
            found.push((if verb == "serve" { "front".to_owned() } else { verb.to_owned() }, pid));
        }
    }
    found.sort_by_key(|(name, _)| ["viewer", "front", "session"].iter().position(|known| known == name));
    found
}

impl Measured {
    fn times(&self, phase: Phase) -> Vec<f64> {
        let of = self.keys.iter().filter(|(of, _)| *of == phase);
        let mut times: Vec<f64> = of.filter_map(|(_, answer)| answer.map(|(_, last)| last)).collect();
        times.sort_by(f64::total_cmp);
        times
    }

    fn unanswered(&self, phase: Phase) -> usize {
        self.keys.iter().filter(|(of, answer)| *of == phase && answer.is_none()).count()
    }

    fn json(&self) -> Value {
        let phase = |phase: Phase| {
            let times = self.times(phase);
            json!({
                "phase": phase.name(), "keys": times.len(), "unanswered": self.unanswered(phase),
                "median_ms": quantile(&times, 0.5), "p95_ms": quantile(&times, 0.95), "max_ms": times.last(),
            })
        };
        let memory = |m: &Memory| json!({ "process": m.name, "before_bytes": m.before, "peak_bytes": m.peak });
        json!({
            "line": self.line.name(), "bytes": self.bytes, "bytes_per_s": self.bytes_per_s, "keys_lost": self.lost,
            "phases": Phase::ALL.map(phase), "memory": self.memory.iter().map(memory).collect::<Vec<_>>(),
            "load": self.load,
        })
    }
}

fn print_tables(results: &[Measured]) {
    println!(
        "\nKey at the viewer's display until its picture stands there, and keys that never came to the program.\n"
    );
    let rows = results.iter().flat_map(|result| {
        Phase::ALL.map(|phase| {
            let times = result.times(phase);
            vec![
                result.line.name().to_owned(),
                phase.name().to_owned(),
                (times.len() + result.unanswered(phase)).to_string(),
                result.unanswered(phase).to_string(),
                ms(quantile(&times, 0.5)),
                ms(quantile(&times, 0.95)),
                ms(times.last().copied()),
                if phase == Phase::ALL[3] { result.lost.to_string() } else { String::new() },
            ]
        })
    });
    let head = ["line", "meanwhile", "keys", "unanswered", "median", "p95", "max", "lost"];
    print!("{}", report::table(&head, &rows.collect::<Vec<_>>()));
    println!("\nResident memory, and how fast the document travelled.\n");
    let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let rows = results.iter().flat_map(|result| {
        let speed = format!("{:.1} MB/s", result.bytes_per_s / 1e6);
        result.memory.iter().map(move |m| {
            let name = result.line.name().to_owned();
            vec![name, m.name.clone(), mb(m.before), mb(m.peak), mb(m.peak - m.before), speed.clone()]
        })
    });
    print!("{}", report::table(&["line", "process", "before", "peak", "more", "speed"], &rows.collect::<Vec<_>>()));
}
