//! Input to photon side by side: a key goes in at the viewer's display, and the time runs until its answer stands in
//! the pixels of that display. Two answers: a patch of 400x300 that changes colour, and a screen full of a photo that
//! was never shown before. The floor is the same with program and probe on one X server and no system in between.
//! Run by `./dev bench latency [--quick]`; needs root for the network namespaces.

#[path = "parts/mod.rs"]
mod parts;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{Write, stdout};
use std::process::ExitCode;

use serde_json::{Value, json};

use parts::keys::{Answer, Keys, Kind};
use parts::options::Options;
use parts::peers::{Pair, Peer, bare_screen};
use parts::programs::Desktop;
use parts::report::{self, ms, quantile};
use parts::wire::Wire;
use support::input::Input;

fn main() -> ExitCode {
    let options = Options::from_arguments();
    let wire = Wire::new();
    let kinds = [Kind::Flat, Kind::Screen].into_iter().filter(|kind| options.wants(kind.name(), true));
    let mut results = Vec::new();
    let mut failures = Vec::new();
    for kind in kinds {
        let samples = samples_of(kind, options.quick);
        for peer in [None].into_iter().chain(options.peers.iter().copied().map(Some)) {
            let name = peer.map_or("floor", Peer::name);
            let label = format!("{} · {name}", kind.name());
            print!("{label}: starting, {samples} keys ");
            stdout().flush().ok();
            if let Some(times) = report::attempt(&label, &mut failures, || measure(kind, peer, &wire, samples)) {
                let result = Measured { kind, name, times, load: report::load() };
                println!(" median {}, p95 {}", ms(result.at(0.5)), ms(result.at(0.95)));
                results.push(result);
            }
        }
    }
    print_table(&results);
    let verdicts = report::verdicts(&claims(&results));
    let results: Vec<Value> = results.iter().map(Measured::json).collect();
    report::save("latency", &json!({ "results": results, "verdicts": verdicts, "failures": failures }));
    report::exit_code(&failures)
}

/// How many keys are timed.
const fn samples_of(kind: Kind, quick: bool) -> usize {
    match (kind, quick) {
        (Kind::Flat, false) => 100,
        (Kind::Flat, true) => 20,
        (Kind::Screen, false) => 30,
        (Kind::Screen, true) => 6,
    }
}

/// `None` for a key that was not answered in time.
type Times = Vec<Option<Answer>>;

/// The first keys warm up caches and connections.
const WARM_UP: usize = 2;

fn measure(kind: Kind, peer: Option<Peer>, wire: &Wire, samples: usize) -> Times {
    let Some(peer) = peer else {
        let (_server, display) = bare_screen();
        return sample(kind, &display, &display, samples);
    };
    let mut pair = Pair::start(peer, wire);
    let _desktop = Desktop::empty(pair.server_display());
    let (server, viewer) = (pair.server_display().to_owned(), pair.viewer_display().to_owned());
    let input = Input::of(&viewer);
    input.move_to(1000, 1070);
    pair.wait_in_step();
    let times = sample(kind, &server, &viewer, samples);
    pair.assert_running();
    times
}

fn sample(kind: Kind, server: &str, viewer: &str, samples: usize) -> Times {
    let mut keys = Keys::start(kind, server, viewer);
    let mut times = Times::new();
    for index in 0..samples + WARM_UP {
        let answer = keys.press();
        let answered = answer.is_some();
        assert!(answered || index != 3 || times.iter().any(Option::is_some), "no key is ever answered on the screen");
        if index >= WARM_UP {
            times.push(answer);
        }
        if index % 10 == 9 {
            print!(".");
            stdout().flush().ok();
        }
    }
    times
}

struct Measured {
    kind: Kind,
    name: &'static str,
    times: Times,
    load: f64,
}

impl Measured {
    fn sorted(&self, part: impl Fn(&(f64, f64)) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.times.iter().flatten().map(part).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// The time until the last point, at a share of the samples; `None` without an answered key.
    fn at(&self, share: f64) -> Option<f64> {
        quantile(&self.sorted(|(_, last)| *last), share)
    }

    fn json(&self) -> Value {
        let first = self.sorted(|(first, _)| *first);
        json!({
            "kind": self.kind.name(), "peer": self.name, "samples": self.times.len(), "load": self.load,
            "unanswered": self.times.iter().filter(|time| time.is_none()).count(),
            "min_ms": self.at(0.0), "median_ms": self.at(0.5), "p95_ms": self.at(0.95), "max_ms": self.at(1.0),
            "first_point_median_ms": quantile(&first, 0.5),
            // As they came: whether a rare long one stands alone, or at the beginning.
            "last_point_ms": self.times.iter().map(|time| time.map(|(_, last)| last)).collect::<Vec<_>>(),
        })
    }
}

/// No key is answered later than by TigerVNC, in the middle and at the 95th percentile.
fn claims(results: &[Measured]) -> Vec<(String, bool)> {
    let ours = results.iter().filter(|result| result.name == Peer::Kachel.name());
    let rivals = |kind: Kind| {
        let names = [Peer::TigerLossless, Peer::TigerDefault].map(Peer::name);
        results.iter().filter(move |result| result.kind == kind && names.contains(&result.name))
    };
    let mut claims = Vec::new();
    for (ours, rival) in ours.flat_map(|ours| rivals(ours.kind).map(move |rival| (ours, rival))) {
        for (what, share) in [("median", 0.5), ("p95", 0.95)] {
            let (a, b) = (ours.at(share), rival.at(share));
            let claim = format!("{}, {what}: {}, {} {}", ours.kind.name(), ms(a), rival.name, ms(b));
            claims.push((claim, a.is_some_and(|a| b.is_none_or(|b| a <= b))));
        }
    }
    claims
}

fn print_table(results: &[Measured]) {
    let head =
        ["answer", "system", "keys", "unanswered", "min", "first point", "median", "p95", "/ lossless", "/ default"];
    let row = |result: &Measured| {
        let ratio = |peer: Peer| {
            let other = results.iter().find(|other| other.kind == result.kind && other.name == peer.name())?;
            let share = |at: f64| Some(format!("{:.2}", result.at(at)? / other.at(at)?));
            Some(format!("{}, {}", share(0.5)?, share(0.95)?))
        };
        vec![
            result.kind.name().to_owned(),
            result.name.to_owned(),
            result.times.len().to_string(),
            result.times.iter().filter(|time| time.is_none()).count().to_string(),
            ms(result.at(0.0)),
            ms(quantile(&result.sorted(|(first, _)| *first), 0.5)),
            ms(result.at(0.5)),
            ms(result.at(0.95)),
            ratio(Peer::TigerLossless).unwrap_or("–".to_owned()),
            ratio(Peer::TigerDefault).unwrap_or("–".to_owned()),
        ]
    };
    println!("\nKey at the viewer's display until the last pixel of the answer stands there.");
    println!(
        "The last two columns: median and p95, divided by those of TigerVNC lossless and of TigerVNC as it comes.\n"
    );
    print!("{}", report::table(&head, &results.iter().map(row).collect::<Vec<_>>()));
}
