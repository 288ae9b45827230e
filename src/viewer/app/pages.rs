//! What the window shows, made from what the ui thread knows of link, picture and renderer. Nothing here changes anything.
//!
//! The pages themselves: `viewer::ui`.

use super::App;
use super::link_view::{LinkView, Seen};
use crate::io::gpu;
use crate::proto::print::viewer::JobView;
use crate::proto::session::client::{LinkState, Lost};
use crate::proto::sound::talk::TalkState;
use crate::proto::wire::CloseCode;
use crate::viewer::Outcome;
use crate::viewer::event::Numbers;
use crate::viewer::recent::Place;
use crate::viewer::ui::{
    BarState, DecodeTime, Exactness, LossReason, Notice, Page, Quality, RecentPlace, Sign, SoundPage, SoundStats,
    Stats, Tier,
};
use std::time::{Duration, Instant, SystemTime};

impl App {
    /// What the window shows now.
    pub(super) fn page(&self) -> Page {
        if self.link.state.is_none() {
            let now = SystemTime::now();
            let line = |place: &Place| RecentPlace { address: place.address.clone(), ago: place.ago(now) };
            let recent = self.recent.places().iter().map(line).collect();
            return Page::Connect { address: self.link.address.clone(), recent, error: self.link.error.clone() };
        }
        if let Some(page) = page_of(&self.link, Instant::now()) {
            return page;
        }
        if self.sound_shown {
            return Page::Sound(Box::new(SoundPage {
                talk: self.talk,
                view: self.sound_view.clone(),
                delay: self.numbers.sound.map(|s| s.delay),
            }));
        }
        if self.printing_shown {
            return Page::Printing(self.print_view.clone());
        }
        Page::Picture {
            overlay: self.stats_shown.then(|| Box::new(self.stats())),
            bar: (!self.settings.kiosk).then(|| self.bar()),
            signs: signs_of(self.settings.kiosk, self.talk, self.printing_state() == Some(true)),
        }
    }

    fn bar(&self) -> BarState {
        BarState {
            host: self.link.host.clone(),
            session: self.link.session.clone(),
            quality: quality_of(&self.numbers),
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
            sound: n.sound.map(|s| SoundStats { delay: s.delay, concealed: s.counts.concealed, missing: s.missing }),
        }
    }
}

/// What the user must not miss; `asks`: a question about a print job is open. Where there is a bar, it tells the rest.
fn signs_of(kiosk: bool, talk: TalkState, asks: bool) -> Vec<Sign> {
    let wanted = talk.wanted && talk.microphone_allowed && !talk.microphone;
    [
        (talk.microphone, Sign::MicrophoneOn),
        (kiosk && wanted, Sign::MicrophoneWanted),
        (kiosk && asks, Sign::PrintQuestion),
    ]
    .into_iter()
    .filter_map(|(is_so, sign)| is_so.then_some(sign))
    .collect()
}

impl LinkView {
    /// Why there is no session any more, as the user is told.
    pub(super) fn notice(&self, lost: Lost) -> Notice {
        notice_of(lost, self.host.clone())
    }
}

/// The page that a link has while it does not simply show its picture.
fn page_of(link: &LinkView, now: Instant) -> Option<Page> {
    let host = link.host.clone();
    let connecting = |host| Some(Page::Connecting { host, step: link.step, since: link.since });
    let reconnecting = |(attempt, reason), next_in| {
        let (reason, host, has_picture) = (loss_reason(reason), link.host.clone(), link.seen != Seen::Nothing);
        Some(Page::Reconnecting { attempt, next_in, reason, host, has_picture })
    };
    match (link.state?, link.seen) {
        (LinkState::Connecting, _) | (LinkState::Live | LinkState::Stalled { .. }, Seen::Nothing) => connecting(host),
        (LinkState::Live, Seen::Live) => None,
        // Back again; whoever was in the middle of work sees no other page until the new picture is there.
        (LinkState::Live, Seen::Last) => reconnecting(link.loss, Duration::ZERO),
        (LinkState::Stalled { .. }, _) => Some(Page::Stalled { since: link.stalled_at, host }),
        (LinkState::Reconnecting { attempt, reason, .. }, _) => {
            reconnecting((attempt, reason), link.retry_at.saturating_duration_since(now))
        }
        (LinkState::Ended(lost), _) => Some(Page::Ended { notice: link.notice(lost) }),
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
        Lost::Closed(CloseCode::Version) => Notice::VersionMismatch { host },
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

/// How good the link is, as far as was measured.
fn quality_of(n: &Numbers) -> Quality {
    match n.round_trip.as_millis() {
        _ if n.round_trip.is_zero() => Quality::Unknown,
        _ if n.packets_lost * 20 > n.frames.max(20) => Quality::Poor,
        0..=29 => Quality::Excellent,
        30..=79 => Quality::Good,
        80..=199 => Quality::Fair,
        _ => Quality::Poor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::Progress;

    #[test]
    fn the_links_quality_is_what_was_measured() {
        let measured = |ms, packets_lost, frames| {
            let round_trip = Duration::from_millis(ms);
            quality_of(&Numbers { round_trip, packets_lost, frames, ..Numbers::default() })
        };
        assert_eq!(quality_of(&Numbers::default()), Quality::Unknown);
        assert_eq!([1, 29, 30, 80, 200].map(|ms| measured(ms, 0, 0)), {
            [Quality::Excellent, Quality::Excellent, Quality::Good, Quality::Fair, Quality::Poor]
        });
        assert_eq!((measured(1, 1, 10), measured(1, 6, 100)), (Quality::Excellent, Quality::Poor));
    }

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
    fn a_kiosk_tells_by_signs_what_a_bar_would() {
        use Sign::{MicrophoneOn, MicrophoneWanted, PrintQuestion};
        let talk = |microphone_allowed, wanted, microphone| TalkState {
            microphone_allowed,
            wanted,
            microphone,
            ..TalkState::default()
        };
        for (talk, asks, in_kiosk, elsewhere) in [
            (talk(true, false, false), false, vec![], vec![]),
            (talk(true, true, false), false, vec![MicrophoneWanted], vec![]),
            (talk(true, true, true), false, vec![MicrophoneOn], vec![MicrophoneOn]),
            (talk(true, false, true), true, vec![MicrophoneOn, PrintQuestion], vec![MicrophoneOn]),
            // Nothing that the user could do about it.
            (talk(false, true, false), false, vec![], vec![]),
            (talk(false, true, false), true, vec![PrintQuestion], vec![]),
        ] {
            assert_eq!(signs_of(true, talk, asks), in_kiosk, "{talk:?}");
            assert_eq!(signs_of(false, talk, asks), elsewhere, "{talk:?}");
        }
    }

    /// What a page is, in a word.
    fn kind(page: Option<Page>) -> &'static str {
        match page {
            None => "picture",
            Some(Page::Connecting { .. }) => "connecting",
            Some(Page::Stalled { .. }) => "stalled",
            Some(Page::Reconnecting { has_picture: true, .. }) => "reconnecting",
            Some(Page::Reconnecting { .. }) => "not yet",
            Some(Page::Ended { .. }) => "ended",
            Some(other) => panic!("{other:?} is no page of the link"),
        }
    }

    enum Said {
        Link(LinkState),
        Welcome(&'static str),
        Progress(Progress),
        FirstPicture,
        Connect,
    }

    #[test]
    fn the_last_picture_stays_until_the_same_session_has_a_new_one_and_no_other_session_shows_it() {
        use Said::{Connect, FirstPicture, Link, Welcome};
        let now = Instant::now();
        let live = || Link(LinkState::Live);
        let ended = |code| Link(LinkState::Ended(Lost::Closed(code)));
        let stalled = || Link(LinkState::Stalled { since: Duration::ZERO });
        let lost = |attempt| {
            Link(LinkState::Reconnecting { attempt, at: Duration::ZERO, reason: Lost::Closed(CloseCode::Restarting) })
        };
        let begin = || {
            vec![
                (Connect, "connecting"),
                (live(), "connecting"),
                (Welcome("desk"), "connecting"),
                (FirstPicture, "picture"),
            ]
        };
        for (case, then) in [
            ("healed", vec![(stalled(), "stalled"), (live(), "picture")]),
            (
                "back",
                vec![
                    (stalled(), "stalled"),
                    (lost(1), "reconnecting"),
                    (lost(2), "reconnecting"),
                    (live(), "reconnecting"),
                    (Said::Progress(Progress::ResumingDesktop), "reconnecting"),
                    (Welcome("desk"), "reconnecting"),
                    (Said::Progress(Progress::Ready), "reconnecting"),
                    (FirstPicture, "picture"),
                ],
            ),
            (
                "lost again before a picture",
                vec![
                    (lost(1), "reconnecting"),
                    (live(), "reconnecting"),
                    (stalled(), "stalled"),
                    (lost(1), "reconnecting"),
                    (live(), "reconnecting"),
                    (FirstPicture, "picture"),
                ],
            ),
            (
                "another desktop",
                vec![
                    (lost(1), "reconnecting"),
                    (live(), "reconnecting"),
                    (Said::Progress(Progress::StartingDesktop), "connecting"),
                    (lost(1), "not yet"),
                    (live(), "connecting"),
                    (FirstPicture, "picture"),
                ],
            ),
            (
                "another session",
                vec![(lost(1), "reconnecting"), (live(), "reconnecting"), (Welcome("other"), "connecting")],
            ),
            (
                "taken over and fetched back",
                vec![
                    (ended(CloseCode::TakenOver), "ended"),
                    (lost(1), "connecting"),
                    (live(), "connecting"),
                    (Welcome("desk"), "connecting"),
                    (FirstPicture, "picture"),
                ],
            ),
            (
                "ended, and no answer since",
                vec![(ended(CloseCode::Ended), "ended"), (lost(1), "connecting"), (lost(2), "not yet")],
            ),
            ("another host", vec![(Connect, "connecting"), (live(), "connecting"), (stalled(), "connecting")]),
        ] {
            let mut link = LinkView::new(String::new(), now);
            for (step, (said, expected)) in begin().into_iter().chain(then).enumerate() {
                match said {
                    Link(state) => drop(link.handle_state(state, now)),
                    Welcome(session) => link.handle_welcome(session.to_owned()),
                    Said::Progress(progress) => link.handle_progress(progress),
                    FirstPicture => link.handle_first_picture(),
                    Connect => link.handle_connect("desk:7474".to_owned(), now),
                }
                assert_eq!(kind(page_of(&link, now)), expected, "{case}, step {step}");
                let takes_input = matches!(expected, "picture" | "stalled");
                assert_eq!(link.is_live(), takes_input && link.seen == Seen::Live, "{case}, step {step}");
            }
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
            (Lost::Closed(CloseCode::Version), LossReason::Closed, Notice::VersionMismatch { host: host() }),
            (Lost::Closed(CloseCode::TakenOver), LossReason::Closed, Notice::TakenOver),
            (Lost::Closed(CloseCode::Ended), LossReason::Closed, Notice::HostEnded { host: host() }),
            (Lost::DeviceRefused, LossReason::NoAnswer, Notice::UnknownDevice { host: host() }),
            (Lost::WrongHost, LossReason::NoAnswer, Notice::RefusedCertificate { host: host() }),
        ] {
            assert_eq!((loss_reason(lost), notice_of(lost, host())), (reason, notice), "{lost:?}");
        }
    }
}
