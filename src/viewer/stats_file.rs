//! The file of `--stats-file`: one JSON line a second.

use crate::io::gpu::Tier;
use crate::proto::session::client::LinkState;
use crate::viewer::event::{Numbers, RendererFact};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Where the lines go.
#[derive(Debug)]
pub struct StatsFile {
    file: File,
    renderer: Option<RendererFact>,
}

impl StatsFile {
    /// Opens the file, or makes it; lines come behind those that are there.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<StatsFile> {
        Ok(StatsFile { file: OpenOptions::new().append(true).create(true).open(path)?, renderer: None })
    }

    /// From now on this draws.
    pub fn handle_renderer(&mut self, renderer: RendererFact) {
        self.renderer = Some(renderer);
    }

    /// Adds a line. A full disk costs the line and nothing else.
    pub fn write(&mut self, numbers: &Numbers, state: LinkState) {
        let us = |d: std::time::Duration| d.as_micros() as u64;
        let renderer = self.renderer.as_ref();
        let line = serde_json::json!({
            "state": match state {
                LinkState::Connecting => "connecting",
                LinkState::Live => "live",
                LinkState::Stalled { .. } => "stalled",
                LinkState::Reconnecting { .. } => "reconnecting",
                LinkState::Ended(_) => "ended",
            },
            "uptime_s": numbers.uptime.as_secs_f64(),
            "rtt_us": us(numbers.round_trip),
            "frames": numbers.frames,
            "fps": numbers.frames_per_second,
            "bytes_received": numbers.bytes_received,
            "bytes_sent": numbers.bytes_sent,
            "bytes_per_second": numbers.bytes_per_second,
            "packets_lost": numbers.packets_lost,
            "decode_us": numbers.decode.map(us),
            "latency_median_us": numbers.latency.map(|l| us(l.0)),
            "latency_p95_us": numbers.latency.map(|l| us(l.1)),
            "tier": renderer.map(|r| tier_word(r.tier)),
            "adapter": renderer.map(|r| r.adapter.as_str()),
            "exact": numbers.exact,
            "agreed": numbers.agreed,
            "defects": numbers.defects,
            "sound_delay_us": numbers.sound.map(|s| us(s.delay)),
            "sound_depth_us": numbers.sound.map(|s| us(s.depth)),
            "sound_packets": numbers.sound.map(|s| s.counts.packets),
            "sound_played": numbers.sound.map(|s| s.counts.played),
            "sound_repaired": numbers.sound.map(|s| s.counts.repaired),
            "sound_concealed": numbers.sound.map(|s| s.counts.concealed),
            "sound_gaps": numbers.sound.map(|s| s.counts.gaps),
            "sound_late": numbers.sound.map(|s| s.counts.late),
            "sound_skipped": numbers.sound.map(|s| s.counts.skipped),
            "sound_dry": numbers.sound.map(|s| s.dry),
            "sound_missing_us": numbers.sound.map(|s| us(s.missing)),
            "sound_ahead_us": numbers.sound.map(|s| us(s.ahead)),
        });
        if let Err(error) = writeln!(self.file, "{line}") {
            tracing::debug!(%error, "Statistics line lost");
        }
    }
}

/// A tier as `--renderer` says it.
pub fn tier_word(tier: Tier) -> &'static str {
    match tier {
        Tier::Compute => "compute",
        Tier::Gl => "gl",
        Tier::Cpu => "cpu",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn lines_are_added_to_those_of_former_starts_and_name_who_draws_now() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("stats.jsonl");
        let fact = |tier, adapter: &str| RendererFact { tier, adapter: adapter.to_owned() };
        for _ in 0..2 {
            let mut file = StatsFile::open(&path).expect("the folder is ours");
            file.write(&Numbers::default(), LinkState::Connecting);
            for renderer in [fact(Tier::Compute, "a GPU"), fact(Tier::Cpu, "softbuffer")] {
                file.handle_renderer(renderer);
                file.write(&Numbers::default(), LinkState::Live);
            }
        }
        let text = std::fs::read_to_string(&path).expect("it has been written");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        let tiers: Vec<&Value> = lines.iter().map(|line| &line["tier"]).collect();
        let once = [json!(null), json!("compute"), json!("cpu")];
        assert_eq!(tiers, once.iter().chain(&once).collect::<Vec<_>>());
        assert_eq!(lines[5]["adapter"], "softbuffer");
    }
}
