//! Office work side by side: the same programs and the same keys through Kachel and through TigerVNC, each with its
//! real viewer. Measured per scenario: bytes on the wire, CPU seconds of both ends, and whether the picture is exact
//! 0.5 s and 3 s after the last change. Run by `./dev bench office [--quick]`; needs root for the network namespaces.

#[path = "parts/mod.rs"]
mod parts;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use parts::assets::Assets;
use parts::options::Options;
use parts::peers::{Pair, Peer};
use parts::programs::{Desktop, Scenario};
use parts::report;
use parts::wire::Wire;
use support::input::Input;
use support::picture::Picture;

fn main() -> ExitCode {
    let options = Options::from_arguments();
    let scenarios: Vec<Scenario> =
        Scenario::ALL.into_iter().filter(|scenario| options.wants(scenario.name(), scenario.is_quick())).collect();
    let assets = Assets::make(&report::folder().join("assets"), |step| println!("preparing: {step}"));
    let wire = Wire::new();
    let count = scenarios.len() * options.peers.len();
    let mut cells = Vec::new();
    let mut failures = Vec::new();
    for scenario in scenarios {
        // All peers get the same work; the first one's last picture shows whether they really did it.
        let mut reference = None;
        for peer in &options.peers {
            let number = cells.len() + failures.len() + 1;
            let label = format!("{} · {}", scenario.name(), peer.name());
            say(&format!("[{number}/{count}] {label}: "));
            let begin = Instant::now();
            let measure = || measure(*peer, scenario, &wire, &assets, &mut reference);
            let measured = report::attempt(&label, &mut failures, measure);
            let Some((cell, picture)) = measured else { continue };
            if options.shots {
                let name = format!("{}-{}.png", scenario.name(), peer.name());
                picture.save_png(&report::folder().join(name)).expect("the folder of the results is ours");
            }
            println!("{} ({:.0} s)", cell.summary(), begin.elapsed().as_secs_f64());
            cells.push(cell);
        }
    }
    print_tables(&cells);
    let verdicts = report::verdicts(&claims(&cells));
    let cells: Vec<Value> = cells.iter().map(Cell::json).collect();
    report::save("office", &json!({ "cells": cells, "verdicts": verdicts, "failures": failures }));
    report::exit_code(&failures)
}

/// What one system needed for one scenario.
struct Cell {
    scenario: Scenario,
    peer: Peer,
    play_s: f64,
    down_bytes: u64,
    up_bytes: u64,
    /// Server with its X server, viewer, the X server of the viewer's screen.
    cpu_s: [f64; 3],
    /// Share of pixels that differ 0.5 s and 3 s after the last change.
    differing: [f64; 2],
    psnr_db: [f64; 2],
    /// Share of the desktop that looks clearly different from the first system's: other work was done.
    other_work: f64,
    load: f64,
}

fn measure(
    peer: Peer,
    scenario: Scenario,
    wire: &Wire,
    assets: &Assets,
    reference: &mut Option<Picture>,
) -> (Cell, Picture) {
    say("starting, ");
    let mut pair = Pair::start(peer, wire);
    let desktop = Desktop::start(pair.server_display(), scenario, assets);
    pair.wait_in_step();
    let mut input = Input::of(pair.viewer_display());
    say("working, ");
    let (passed, cpu, begin) = (pair.passed(), pair.cpu_seconds(), Instant::now());
    scenario.play(&desktop, &mut input);
    let play_s = begin.elapsed().as_secs_f64();
    desktop.freeze();
    let frozen = Instant::now();
    say("comparing: ");
    let compare_at = |after_ms: u64| {
        let after = Duration::from_millis(after_ms);
        std::thread::sleep(after.saturating_sub(frozen.elapsed()));
        pair.compare()
    };
    let (soon, late) = (compare_at(500), compare_at(3000));
    let (passed_now, cpu_now) = (pair.passed(), pair.cpu_seconds());
    pair.assert_running();
    let picture = desktop.picture();
    let other_work = reference.get_or_insert_with(|| picture.clone()).diff(&picture).clear_share();
    let cell = Cell {
        scenario,
        peer,
        play_s,
        down_bytes: passed_now.down - passed.down,
        up_bytes: passed_now.up - passed.up,
        cpu_s: std::array::from_fn(|index| cpu_now[index] - cpu[index]),
        differing: [soon.share(), late.share()],
        psnr_db: [soon.psnr_db, late.psnr_db],
        other_work,
        load: report::load(),
    };
    (cell, picture)
}

impl Cell {
    fn summary(&self) -> String {
        let [server, viewer, _] = self.cpu_s;
        let doubt = if self.other_work > OTHER_WORK { ", OTHER WORK WAS DONE" } else { "" };
        format!("{} kB, CPU {server:.2} + {viewer:.2} s, {}{doubt}", self.down_bytes / 1000, self.exact())
    }

    fn exact(&self) -> String {
        match self.differing {
            [0.0, 0.0] => "exact".to_owned(),
            [soon, 0.0] => format!("{:.2} % off, exact later", soon * 100.0),
            [_, late] => format!("{:.2} % off", late * 100.0),
        }
    }

    fn json(&self) -> Value {
        json!({
            "scenario": self.scenario.name(), "peer": self.peer.name(), "play_s": self.play_s,
            "down_bytes": self.down_bytes, "up_bytes": self.up_bytes,
            "cpu_server_s": self.cpu_s[0], "cpu_viewer_s": self.cpu_s[1], "cpu_viewer_screen_s": self.cpu_s[2],
            "differing_share_500ms": self.differing[0], "differing_share_3s": self.differing[1],
            "psnr_db_500ms": finite(self.psnr_db[0]), "psnr_db_3s": finite(self.psnr_db[1]),
            "other_work_share": self.other_work, "load": self.load,
        })
    }
}

/// Everything ends exact half a second after the last change, and the usual viewer needs fewer bytes than TigerVNC where
/// that ends exact, too.
fn claims(cells: &[Cell]) -> Vec<(String, bool)> {
    let mut claims = Vec::new();
    for ours in cells.iter().filter(|cell| [Peer::Kachel, Peer::KachelGpu].contains(&cell.peer)) {
        let name = format!("{}, {}", ours.scenario.name(), ours.peer.name());
        claims.push((format!("{name}: exact at 0.5 s"), ours.differing[0] == 0.0));
        let rival = cells.iter().find(|cell| cell.peer == Peer::TigerLossless && cell.scenario == ours.scenario);
        if let Some(rival) = rival.filter(|_| ours.peer == Peer::Kachel) {
            let (a, b) = (ours.down_bytes, rival.down_bytes);
            claims.push((format!("{name}: {a} bytes down, {} {b}", rival.peer.name()), a < b));
        }
    }
    claims
}

/// Text that a clock or caret changes stays far below this share of the screen.
const OTHER_WORK: f64 = 0.03;

fn print_tables(cells: &[Cell]) {
    let head = [
        "scenario",
        "system",
        "kB down",
        "kB up",
        "CPU host",
        "CPU viewer",
        "CPU its screen",
        "off at 0.5 s",
        "off at 3 s",
        "bytes / lossless",
        "bytes / default",
    ];
    let ratio = |cell: &Cell, peer: Peer| {
        let other = cells.iter().find(|other| other.peer == peer && other.scenario == cell.scenario);
        other
            .map_or("–".to_owned(), |other| format!("{:.2}", cell.down_bytes as f64 / other.down_bytes.max(1) as f64))
    };
    let percent = |share: f64| if share == 0.0 { "exact".to_owned() } else { format!("{:.2} %", share * 100.0) };
    let row = |cell: &Cell| {
        let mark = if cell.other_work > OTHER_WORK { " (other work)" } else { "" };
        vec![
            format!("{}{mark}", cell.scenario.name()),
            cell.peer.name().to_owned(),
            format!("{:.0}", cell.down_bytes as f64 / 1000.0),
            format!("{:.1}", cell.up_bytes as f64 / 1000.0),
            format!("{:.2} s", cell.cpu_s[0]),
            format!("{:.2} s", cell.cpu_s[1]),
            format!("{:.2} s", cell.cpu_s[2]),
            percent(cell.differing[0]),
            percent(cell.differing[1]),
            ratio(cell, Peer::TigerLossless),
            ratio(cell, Peer::TigerDefault),
        ]
    };
    println!(
        "\nOffice work at 1920x1080; bytes at the viewer's interface from the start of the work until 3 s after it."
    );
    println!("\"off\": pixels of the viewer's screen that differ from the desktop with all programs stopped.\n");
    print!("{}", report::table(&head, &cells.iter().map(row).collect::<Vec<_>>()));
}

fn finite(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { Value::Null }
}

fn say(text: &str) {
    print!("{text}");
    stdout().flush().ok();
}
