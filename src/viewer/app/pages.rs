//! What the window shows, made from what the ui thread knows of link, picture and renderer. Nothing here changes anything.
//!
//! The pages themselves: `viewer::ui`.

use super::App;
use crate::io::gpu;
use crate::proto::print::viewer::JobView;
use crate::proto::session::client::{LinkState, Lost};
use crate::proto::wire::{CloseCode, VERSION};
use crate::viewer::Outcome;
use crate::viewer::recent::Place;
use crate::viewer::ui::{
    BarState, DecodeTime, Exactness, LossReason, Notice, Page, Quality, RecentPlace, SoundPage, Stats, Tier,
};
use std::time::{Duration, Instant, SystemTime};

impl App {
    /// Why there is no session any more, as the user is told.
    pub(super) fn notice(&self, lost: Lost) -> Notice {
        notice_of(lost, self.link.host.clone())
    }

    /// What the window shows now.
    pub(super) fn page(&self) -> Page {
        let link = &self.link;
        let host = link.host.clone();
        match link.state {
            None => {
                let now = SystemTime::now();
                let line = |place: &Place| RecentPlace { address: place.address.clone(), ago: place.ago(now) };
                let recent = self.recent.places().iter().map(line).collect();
                Page::Connect { address: link.address.clone(), recent, error: link.error.clone() }
            }
            Some(LinkState::Connecting) => Page::Connecting { host, step: link.step, since: link.since },
            Some(LinkState::Live) if !link.has_picture => Page::Connecting { host, step: link.step, since: link.since },
            Some(LinkState::Live) if self.sound_shown => Page::Sound(Box::new(SoundPage {
                talk: self.talk,
                view: self.sound_view.clone(),
                delay: self.numbers.sound.map(|s| s.delay),
            })),
            Some(LinkState::Live) if self.printing_shown => Page::Printing(self.print_view.clone()),
            Some(LinkState::Live) => {
                Page::Picture { overlay: self.stats_shown.then(|| self.stats()), bar: Some(self.bar()) }
            }
            Some(LinkState::Stalled { .. }) => Page::Stalled { since: link.stalled_at, host },
            Some(LinkState::Reconnecting { attempt, reason, .. }) => Page::Reconnecting {
                attempt,
                next_in: link.retry_at.saturating_duration_since(Instant::now()),
                reason: loss_reason(reason),
                host,
            },
            Some(LinkState::Ended(lost)) => Page::Ended { notice: self.notice(lost) },
        }
    }

    fn bar(&self) -> BarState {
        let n = &self.numbers;
        let quality = match n.round_trip.as_millis() {
            _ if n.packets_lost * 20 > n.frames.max(20) => Quality::Poor,
            0..=29 => Quality::Excellent,
            30..=79 => Quality::Good,
            80..=199 => Quality::Fair,
            _ => Quality::Poor,
        };
        BarState {
            host: self.link.host.clone(),
            session: self.link.session.clone(),
            quality,
            fullscreen: self.window.as_ref().is_some_and(|w| w.window.fullscreen().is_some()),
            stats_shown: self.stats_shown,
            sound: (self.talk.sound || self.talk.microphone_allowed).then_some(self.talk),
            printing: self.printing_state(),
            view_only: self.settings.view_only,
            summoned: self.bar_summoned,
        }
    }

    /// Whether the bar names printing, and whether somebody is asked there.
    fn printing_state(&self) -> Option<bool> {
        let view = &self.print_view;
        let any = !view.printers.is_empty() || !view.jobs.is_empty();
        any.then(|| view.jobs.iter().any(JobView::is_question))
    }

    fn stats(&self) -> Stats {
        let n = &self.numbers;
        let fit = self.fit();
        let tier = self.renderer.as_ref().map_or(gpu::Tier::Cpu, |r| r.tier);
        let variant = if self.layout.variant.is_empty() { String::new() } else { format!("({})", self.layout.variant) };
        Stats {
            host: self.link.host.clone(),
            uptime: n.uptime,
            adapter: self.renderer.as_ref().map_or_else(String::new, |r| r.adapter.clone()),
            tier: match tier {
                gpu::Tier::Compute => Tier::Compute,
                gpu::Tier::Gl => Tier::Draw,
                gpu::Tier::Cpu => Tier::Cpu,
            },
            round_trip: (n.round_trip > Duration::ZERO).then_some(n.round_trip),
            frames_per_second: n.frames_per_second as f64,
            bytes_per_second: n.bytes_per_second,
            bytes_total: n.bytes_received,
            decode: n.decode.map(|d| if tier == gpu::Tier::Compute { DecodeTime::Gpu(d) } else { DecodeTime::Cpu(d) }),
            latency: n.latency,
            exact: match n.exact {
                true if n.agreed => Exactness::Yes,
                true => Exactness::Unchecked,
                false if n.frames == 0 => Exactness::Unknown,
                false => Exactness::No,
            },
            screen: self.link.picture,
            window: fit.window,
            scale: if self.link.picture.w == 0 {
                1.0
            } else {
                f64::from(fit.viewport.w) / f64::from(self.link.picture.w)
            },
            keyboard: format!("{}{variant}", self.layout.layout),
            sound: n.sound.map(|s| (s.delay, s.counts.concealed)),
        }
    }
}

/// How it stands when the window is closed: `lost` is why there is no session any more, `error` why there was none.
pub(super) fn outcome(lost: Option<Lost>, error: Option<&Notice>) -> Outcome {
    match (lost, error) {
        (Some(Lost::Closed(CloseCode::Bye | CloseCode::TakenOver | CloseCode::Ended)), _) => Outcome::Ended,
        (Some(Lost::Closed(CloseCode::UnknownDevice | CloseCode::NoDesktop)), _) => Outcome::Refused,
        (Some(Lost::Closed(CloseCode::Restarting | CloseCode::Full | CloseCode::Timeout)), _) => Outcome::Refused,
        (Some(Lost::DeviceRefused), _) => Outcome::Refused,
        (Some(Lost::Closed(CloseCode::Protocol | CloseCode::Version) | Lost::Broken), _) => Outcome::Broken,
        (Some(Lost::Unreachable | Lost::Restarted | Lost::NoNetwork | Lost::Unresolved), _) => Outcome::Network,
        (Some(Lost::WrongHost), _) => Outcome::Certificate,
        (None, Some(Notice::NeedsFile { .. } | Notice::BadAddress)) => Outcome::Usage,
        // The other notices that come without a loss are about the file.
        (None, Some(_)) => Outcome::Certificate,
        (None, None) => Outcome::User,
    }
}

fn notice_of(lost: Lost, host: String) -> Notice {
    match lost {
        Lost::Closed(CloseCode::TakenOver) => Notice::TakenOver,
        Lost::Closed(CloseCode::Ended | CloseCode::NoDesktop | CloseCode::Bye) => Notice::HostEnded { host },
        Lost::Closed(CloseCode::UnknownDevice) | Lost::DeviceRefused => Notice::UnknownDevice { host },
        Lost::Closed(CloseCode::Version) => {
            let unknown = "?".to_owned();
            Notice::VersionMismatch { host, ours: VERSION.to_string(), theirs: unknown }
        }
        Lost::Closed(CloseCode::Restarting | CloseCode::Full | CloseCode::Timeout) => Notice::Busy { host },
        Lost::Closed(code) => Notice::Protocol { host, code: code as u64 },
        Lost::Broken => Notice::Protocol { host, code: CloseCode::Protocol as u64 },
        Lost::Unreachable | Lost::Restarted => Notice::Unreachable { host },
        Lost::NoNetwork => Notice::NoNetwork { host },
        Lost::Unresolved => Notice::UnknownHost { host },
        Lost::WrongHost => Notice::RefusedCertificate { host },
    }
}

/// Why the connection is made again, as the user is told.
fn loss_reason(lost: Lost) -> LossReason {
    match lost {
        Lost::Restarted | Lost::Closed(CloseCode::Restarting) => LossReason::HostRestart,
        Lost::Closed(_) => LossReason::Closed,
        Lost::NoNetwork => LossReason::NoNetwork,
        Lost::Unresolved => LossReason::NoName,
        // The last three end a session; only the user has them tried again.
        Lost::Unreachable | Lost::WrongHost | Lost::DeviceRefused | Lost::Broken => LossReason::NoAnswer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_end_tells_how_it_stood() {
        let file = || "desk.kachel".to_owned();
        for (lost, error, expected) in [
            (None, None, Outcome::User),
            (Some(Lost::Closed(CloseCode::Ended)), Some(Notice::TakenOver), Outcome::Ended),
            (Some(Lost::Closed(CloseCode::TakenOver)), None, Outcome::Ended),
            (Some(Lost::DeviceRefused), None, Outcome::Refused),
            (Some(Lost::Closed(CloseCode::Full)), None, Outcome::Refused),
            (Some(Lost::Unreachable), None, Outcome::Network),
            (Some(Lost::NoNetwork), None, Outcome::Network),
            (Some(Lost::Unresolved), None, Outcome::Network),
            (Some(Lost::WrongHost), None, Outcome::Certificate),
            (Some(Lost::Closed(CloseCode::Version)), None, Outcome::Broken),
            (None, Some(Notice::ExpiredFile { path: file() }), Outcome::Certificate),
            (None, Some(Notice::UnreadableFile { path: file() }), Outcome::Certificate),
            (None, Some(Notice::NeedsFile { host: "desk:7474".to_owned() }), Outcome::Usage),
            (None, Some(Notice::BadAddress), Outcome::Usage),
        ] {
            assert_eq!(outcome(lost, error.as_ref()), expected, "{lost:?} {error:?}");
        }
    }

    #[test]
    fn each_loss_is_told_as_what_it_is() {
        let host = || "desk:7474".to_owned();
        for (lost, reason, notice) in [
            (Lost::Unreachable, LossReason::NoAnswer, Notice::Unreachable { host: host() }),
            (Lost::Restarted, LossReason::HostRestart, Notice::Unreachable { host: host() }),
            (Lost::NoNetwork, LossReason::NoNetwork, Notice::NoNetwork { host: host() }),
            (Lost::Unresolved, LossReason::NoName, Notice::UnknownHost { host: host() }),
            (Lost::Closed(CloseCode::Restarting), LossReason::HostRestart, Notice::Busy { host: host() }),
            (Lost::Closed(CloseCode::Full), LossReason::Closed, Notice::Busy { host: host() }),
            (
                Lost::Closed(CloseCode::Protocol),
                LossReason::Closed,
                Notice::Protocol { host: host(), code: CloseCode::Protocol as u64 },
            ),
            (Lost::Closed(CloseCode::TakenOver), LossReason::Closed, Notice::TakenOver),
            (Lost::Closed(CloseCode::Ended), LossReason::Closed, Notice::HostEnded { host: host() }),
            (Lost::DeviceRefused, LossReason::NoAnswer, Notice::UnknownDevice { host: host() }),
            (Lost::WrongHost, LossReason::NoAnswer, Notice::RefusedCertificate { host: host() }),
        ] {
            assert_eq!((loss_reason(lost), notice_of(lost, host())), (reason, notice), "{lost:?}");
        }
    }
}
