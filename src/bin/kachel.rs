//! `kachel`, the viewer: arguments, logging, `viewer::run`, and the error in plain words.

// Without it Windows opens a terminal beside the window. Nothing elsewhere.
#![windows_subsystem = "windows"]

use clap::{Parser, ValueEnum};
use kachel::geom::Size;
use kachel::io::gpu::Renderer;
use kachel::io::ipp::client::Source;
use kachel::io::keyboard::Layout;
use kachel::io::{spooler, terminal};
use kachel::viewer::print::PrintSettings;
use kachel::viewer::{self, Outcome, Settings, ViewerError, monitors};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;
use tracing_subscriber::EnvFilter;

/// Shows a desktop that runs on a Kachel host.
#[derive(Debug, Parser)]
#[command(version = version(), about, after_help = EXIT_CODES)]
struct Arguments {
    /// A .kachel file, or HOST[:PORT] where such a file let you in before; without it the viewer asks.
    target: Option<String>,
    /// Start in full screen (Ctrl+Alt+Enter changes it).
    #[arg(short, long)]
    fullscreen: bool,
    /// Start in a window, which is what happens anyway.
    #[arg(long, conflicts_with = "fullscreen")]
    window: bool,
    /// The window's first size in pixels of the screen; the session takes it.
    #[arg(long, value_name = "WxH", value_parser = size_from_text, conflicts_with = "fullscreen")]
    size: Option<Size>,
    /// The monitor that full screen takes, by its number in --list-monitors.
    #[arg(long, value_name = "N", value_parser = monitor_from_text)]
    monitors: Option<usize>,
    /// Tell the monitors of this machine: number, name, size, scale, position.
    #[arg(long, exclusive = true)]
    list_monitors: bool,
    /// Nothing but the session: full screen without bar and shortcuts, and no way to go elsewhere; ends with the session.
    #[arg(long, requires = "target", conflicts_with_all = ["window", "size"])]
    kiosk: bool,
    /// Show the statistics from the start.
    #[arg(long)]
    overlay: bool,
    /// Only show: neither keys nor pointer go to the session.
    #[arg(long)]
    view_only: bool,
    /// Who decodes and draws the picture.
    #[arg(long, value_enum, default_value_t = RendererWord::Auto)]
    renderer: RendererWord,
    /// Keyboard layout in the session, as X names it: de, ch, de:nodeadkeys. Normally found out.
    #[arg(long, value_name = "LAYOUT[:VARIANT]")]
    keyboard: Option<String>,
    /// Language of the viewer's own pages: de or en. Normally the system's.
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<String>,
    /// Offer this printer, and only those named so: a queue of this machine, or ipp://HOST/PATH; may be given several times.
    #[arg(long = "printer", value_name = "NAME|URI")]
    printers: Vec<String>,
    /// Offer no printer.
    #[arg(long, conflicts_with = "printers")]
    no_printers: bool,
    /// Append one JSON line a second: bytes, frames, latency, tier, exactness.
    #[arg(long, value_name = "FILE")]
    stats_file: Option<PathBuf>,
    /// No sound, neither out nor in.
    #[arg(long)]
    no_audio: bool,
    /// Show the sound page first, where the microphone is switched on: it is never on without a click.
    #[arg(long, conflicts_with = "no_audio")]
    mic: bool,
    /// What to log: error, warn, info, debug, trace, or a filter (also KACHEL_LOG).
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RendererWord {
    /// The GPU where there is a real one, else the CPU.
    Auto,
    /// Compute shaders, on whatever adapter there is.
    Gpu,
    /// CPU decodes, adapter draws.
    Gl,
    /// CPU decodes and draws.
    Cpu,
}

/// What the program's end says to whoever started it.
const EXIT_CODES: &str = "\
Exit codes, by what the window showed when it was closed:
  0  the desktop, or nothing yet
  1  nothing: it could not be opened, or not be drawn to
  2  that the words of the command line are not understood, or name a monitor or a computer that is not known here
  3  that the session has ended, or goes on at another device
  4  that the host does not let this device in, or not now
  5  that there is no network, no such computer, or no answer
  6  that the file is not usable or has expired, or that another computer answered
  7  that host and viewer do not understand each other";

/// Smallest and largest side of a window, in pixels.
const SIDE: std::ops::RangeInclusive<u32> = 240..=8192;

fn code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::User => 0,
        Outcome::Usage => 2,
        Outcome::Ended => 3,
        Outcome::Refused => 4,
        Outcome::Network => 5,
        Outcome::Certificate => 6,
        Outcome::Broken => 7,
    }
}

/// Version, what it was built for, and the commit where whoever built it said so by `KACHEL_COMMIT`.
fn version() -> &'static str {
    static WORDS: LazyLock<String> = LazyLock::new(|| {
        let (version, commit) = (env!("CARGO_PKG_VERSION"), option_env!("KACHEL_COMMIT").unwrap_or("not given"));
        format!("{version} ({} {}, commit {commit})", std::env::consts::OS, std::env::consts::ARCH)
    });
    &WORDS
}

fn size_from_text(text: &str) -> Result<Size, String> {
    let side = |text: &str| text.parse().ok().filter(|side| SIDE.contains(side));
    let sides = text.split_once(['x', 'X', '×']).and_then(|(w, h)| Some(Size::new(side(w)?, side(h)?)));
    sides.ok_or_else(|| format!("a size is two numbers from {} to {}, such as 1280x800", SIDE.start(), SIDE.end()))
}

fn monitor_from_text(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ if text.contains(',') => {
            Err("a session has one screen, so it takes one monitor: name one of them".to_owned())
        }
        _ => Err("a monitor is named by its number in --list-monitors, such as 1".to_owned()),
    }
}

fn main() -> ExitCode {
    if let Some(end) = spooler::render_if_asked() {
        return end;
    }
    terminal::attach();
    let arguments = Arguments::parse();
    let filter = arguments.log_level.clone().or_else(|| std::env::var("KACHEL_LOG").ok());
    let quiet = "info,wgpu_core=warn,wgpu_hal=warn,naga=warn,egui=warn,winit=error,sctk=error";
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter.as_deref().unwrap_or(quiet)))
        .with_writer(std::io::stderr)
        .with_ansi(terminal::takes_colours())
        .init();
    std::panic::set_hook(Box::new(|info| {
        // Only the place: what a panic says may hold what was on the screen.
        let place = info.location().map_or_else(String::new, ToString::to_string);
        tracing::error!(place, "Kachel has a defect and must stop");
    }));
    match run(arguments) {
        Ok(outcome) => ExitCode::from(code(outcome)),
        Err(error) => {
            terminal::tell_end(&format!("kachel: {error:#}"));
            match error.downcast_ref() {
                Some(ViewerError::NoMonitor { .. }) => ExitCode::from(code(Outcome::Usage)),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    if arguments.list_monitors {
        for monitor in monitors::list()? {
            println!("{monitor}");
        }
        return Ok(Outcome::User);
    }
    Ok(viewer::run(settings(arguments))?)
}

fn settings(arguments: Arguments) -> Settings {
    Settings {
        address: arguments.target.unwrap_or_default(),
        fullscreen: arguments.fullscreen || arguments.kiosk,
        monitor: arguments.monitors,
        kiosk: arguments.kiosk,
        overlay: arguments.overlay,
        size: arguments.size,
        view_only: arguments.view_only,
        renderer: match arguments.renderer {
            RendererWord::Auto => Renderer::Auto,
            RendererWord::Gpu => Renderer::Gpu,
            RendererWord::Gl => Renderer::Gl,
            RendererWord::Cpu => Renderer::Cpu,
        },
        locale: arguments.language,
        keyboard: arguments.keyboard.map(|words| {
            let (layout, variant) = words.split_once(':').unwrap_or((&words, ""));
            Layout { layout: layout.to_owned(), variant: variant.to_owned() }
        }),
        print: PrintSettings {
            sources: match &arguments.printers[..] {
                _ if arguments.no_printers => Vec::new(),
                [] => vec![Source::System],
                named => named.iter().map(|text| Source::parse(text)).collect(),
            },
            state: None,
        },
        stats_file: arguments.stats_file,
        silent: arguments.no_audio,
        asks_for_microphone: arguments.mic,
        ..Settings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_command_line_are_taken_as_help_says() {
        let size = |w, h| Some(Size::new(w, h));
        for (words, expected) in [
            ("", Some(("", false, None, false))),
            ("desk.kachel", Some(("desk.kachel", false, None, false))),
            ("desk.example.org:7474", Some(("desk.example.org:7474", false, None, false))),
            ("-f desk.kachel", Some(("desk.kachel", true, None, false))),
            ("--fullscreen --view-only desk.kachel", Some(("desk.kachel", true, None, true))),
            ("--window --size 1280x800", Some(("", false, size(1280, 800), false))),
            ("--size 240x8192", Some(("", false, size(240, 8192), false))),
            ("--size 239x800", None),
            ("--size 800x8193", None),
            ("--size 1280", None),
            ("--size -1280x800", None),
            ("--window --fullscreen", None),
            ("--size 1280x800 --fullscreen", None),
            ("one.kachel two.kachel", None),
            ("--no-printers --printer office", None),
            ("--mic --no-audio", None),
            ("--kiosk desk.kachel", Some(("desk.kachel", true, None, false))),
            ("--kiosk --monitors 2 --overlay --view-only desk", Some(("desk", true, None, true))),
            ("--kiosk", None),
            ("--kiosk --window desk.kachel", None),
            ("--kiosk --size 1280x800 desk.kachel", None),
            ("--monitors 0", None),
            ("--monitors 1,2", None),
            ("--monitors DP-1", None),
            ("--list-monitors desk.kachel", None),
        ] {
            let arguments = Arguments::try_parse_from(std::iter::once("kachel").chain(words.split_whitespace()));
            let settings = arguments.ok().map(settings);
            let found = settings.as_ref().map(|s| (s.address.as_str(), s.fullscreen, s.size, s.view_only));
            assert_eq!(found, expected, "kachel {words}");
        }
    }

    #[test]
    fn several_monitors_are_refused_in_plain_words() {
        let error = Arguments::try_parse_from(["kachel", "--monitors", "1,2"]).expect_err("a session has one screen");
        assert_eq!(error.exit_code(), i32::from(code(Outcome::Usage)));
        assert!(error.to_string().contains("a session has one screen"), "{error}");
        let number = |words: &[&str]| settings(Arguments::try_parse_from(words).expect("one is enough")).monitor;
        assert_eq!((number(&["kachel", "--monitors", "2"]), number(&["kachel"])), (Some(2), None));
    }

    #[test]
    fn version_says_what_it_was_built_for() {
        let error = Arguments::try_parse_from(["kachel", "--version"]).expect_err("it only tells");
        let text = error.to_string();
        for part in [env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, "commit"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn each_outcome_has_the_code_that_help_names() {
        use Outcome::{Broken, Certificate, Ended, Network, Refused, Usage, User};
        let codes = [User, Usage, Ended, Refused, Network, Certificate, Broken].map(code);
        let named = EXIT_CODES.lines().filter_map(|line| line.trim().split_once("  ")?.0.parse::<u8>().ok());
        // 1 is an error of the program's own.
        assert_eq!(named.filter(|code| *code != 1).collect::<Vec<_>>(), codes);
    }
}
