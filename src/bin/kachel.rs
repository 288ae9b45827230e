//! `kachel`, the viewer: arguments, logging, `viewer::run`, and the error in plain words.

// Without it Windows opens a terminal beside the window. Nothing elsewhere.
#![windows_subsystem = "windows"]

use clap::{Parser, ValueEnum};
use kachel::io::gpu::Renderer;
use kachel::io::ipp::client::Source;
use kachel::io::keyboard::Layout;
use kachel::io::{spooler, terminal};
use kachel::viewer::print::PrintSettings;
use kachel::viewer::{self, Settings};
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Shows a desktop that runs on a Kachel host.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// A .kachel file; without it the viewer asks for one.
    target: Option<String>,
    /// Start in full screen (Ctrl+Alt+Enter changes it).
    #[arg(short, long)]
    fullscreen: bool,
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
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::tell_end(&format!("kachel: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let settings = Settings {
        address: arguments.target.unwrap_or_default(),
        fullscreen: arguments.fullscreen,
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
    };
    Ok(viewer::run(settings)?)
}
