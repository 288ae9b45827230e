//! Who may be heard: what the viewer's user switched, what the host allows, and what the host is told of it.
//!
//! Only [`Talk::handle_microphone`] switches the microphone on, and only the user calls it: nothing that a host says
//! leads there. Also whether what is said is said twice: the connection knows what it lost on the way to the host.

use crate::proto::sound::jitter::LOSSY;
use crate::proto::wire::{CAPABILITY_MICROPHONE, CAPABILITY_SOUND, SoundWish, ViewerMessage};
use std::time::Duration;

/// The viewer's switches for sound.
#[derive(Debug)]
pub struct Talk {
    offered: u32,
    granted: u32,
    muted: bool,
    microphone: bool,
    lossy: bool,
    /// Packets lost on the way to the host, and when the last of them was found out.
    lost: u64,
    lost_at: Option<Duration>,
    wanted: bool,
    told_sound: SoundWish,
    told_microphone: bool,
}

/// What a user sees of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TalkState {
    /// The host sends sound.
    pub sound: bool,
    /// The host takes the microphone, if the user switches it on.
    pub microphone_allowed: bool,
    /// The user has silenced the session.
    pub muted: bool,
    /// The microphone is on.
    pub microphone: bool,
    /// A program in the session listens to the microphone.
    pub wanted: bool,
}

impl Talk {
    /// With sound devices, or without any.
    pub fn new(has_sound: bool) -> Self {
        Self {
            offered: if has_sound { CAPABILITY_SOUND | CAPABILITY_MICROPHONE } else { 0 },
            granted: 0,
            muted: false,
            microphone: false,
            lossy: false,
            lost: 0,
            lost_at: None,
            wanted: false,
            told_sound: SoundWish::Once,
            told_microphone: false,
        }
    }

    /// The capabilities to offer in hello.
    pub fn offered(&self) -> u32 {
        self.offered
    }

    /// A new connection: its host knows nothing yet.
    pub fn handle_connected(&mut self) {
        (self.granted, self.wanted, self.lossy) = (0, false, false);
        (self.lost, self.lost_at) = (0, None);
        (self.told_sound, self.told_microphone) = (SoundWish::Once, false);
    }

    /// The user left, or the session is over: the next one begins with the microphone off.
    pub fn handle_left(&mut self) {
        self.handle_connected();
        self.microphone = false;
    }

    /// The host's answer to what was offered.
    pub fn handle_welcome(&mut self, capabilities: u32) {
        self.granted = capabilities & self.offered;
        if self.granted & CAPABILITY_MICROPHONE == 0 {
            self.microphone = false;
        }
    }

    /// The user silenced the session, or wants to hear it.
    pub fn handle_mute(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// The user switched the microphone. Without a host that takes it, it stays off.
    pub fn handle_microphone(&mut self, on: bool) {
        self.microphone = on && self.granted & CAPABILITY_MICROPHONE != 0;
    }

    /// The host says that a program listens, or no longer.
    pub fn handle_wanted(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    /// Whether packets are being lost on the way here.
    pub fn handle_lossy(&mut self, lossy: bool) {
        self.lossy = lossy;
    }

    /// Takes how many packets, of whatever kind, the connection has lost on the way to the host so far.
    pub fn handle_lost(&mut self, packets: u64, now: Duration) {
        if packets > self.lost {
            self.lost_at = Some(now);
        }
        self.lost = packets;
    }

    /// The next thing that the host must know.
    pub fn poll_message(&mut self) -> Option<ViewerMessage> {
        let sound = match (self.muted, self.lossy) {
            (true, _) => SoundWish::Nothing,
            (false, false) => SoundWish::Once,
            (false, true) => SoundWish::Twice,
        };
        if self.granted & CAPABILITY_SOUND != 0 && sound != self.told_sound {
            self.told_sound = sound;
            return Some(ViewerMessage::Sound(sound));
        }
        if self.granted & CAPABILITY_MICROPHONE != 0 && self.microphone != self.told_microphone {
            self.told_microphone = self.microphone;
            return Some(ViewerMessage::Microphone(self.microphone));
        }
        None
    }

    /// Whether a packet of the microphone may leave this computer.
    pub fn may_talk(&self) -> bool {
        self.microphone && self.granted & CAPABILITY_MICROPHONE != 0
    }

    /// Whether each frame of the microphone is to be sent twice: in the last half minute packets were lost.
    pub fn talks_twice(&self, now: Duration) -> bool {
        self.lost_at.is_some_and(|at| now.saturating_sub(at) < LOSSY)
    }

    /// Whether a packet of sound is to be played.
    pub fn may_hear(&self) -> bool {
        !self.muted && self.granted & CAPABILITY_SOUND != 0
    }

    /// What a user sees.
    pub fn state(&self) -> TalkState {
        TalkState {
            sound: self.granted & CAPABILITY_SOUND != 0,
            microphone_allowed: self.granted & CAPABILITY_MICROPHONE != 0,
            muted: self.muted,
            microphone: self.may_talk(),
            wanted: self.wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected(granted: u32) -> Talk {
        let mut talk = Talk::new(true);
        talk.handle_connected();
        talk.handle_welcome(granted);
        talk
    }

    #[test]
    fn no_word_of_a_host_switches_the_microphone_on() {
        let mut talk = Talk::new(true);
        for granted in [0, 1, 2, 3, u32::MAX] {
            talk.handle_connected();
            talk.handle_welcome(granted);
            for wanted in [true, false, true] {
                talk.handle_wanted(wanted);
                assert!(!talk.may_talk());
                assert_eq!(talk.poll_message(), None);
            }
        }
    }

    #[test]
    fn the_user_switches_it_and_the_host_is_told_again_after_a_loss() {
        let mut talk = connected(3);
        talk.handle_microphone(true);
        assert!(talk.may_talk());
        assert_eq!(talk.poll_message(), Some(ViewerMessage::Microphone(true)));
        assert_eq!(talk.poll_message(), None);
        talk.handle_connected();
        assert!(!talk.may_talk(), "not before the host has said that it takes it");
        talk.handle_welcome(3);
        assert!(talk.may_talk());
        assert_eq!(talk.poll_message(), Some(ViewerMessage::Microphone(true)));
        talk.handle_left();
        talk.handle_welcome(3);
        assert!(!talk.may_talk(), "a new session begins with a click");
    }

    #[test]
    fn what_the_host_refuses_stays_off() {
        let mut talk = connected(1);
        talk.handle_microphone(true);
        assert!(!talk.may_talk() && !talk.state().microphone);
        talk.handle_mute(true);
        assert_eq!(talk.poll_message(), Some(ViewerMessage::Sound(SoundWish::Nothing)));
        assert!(!talk.may_hear());
        let mut silent = Talk::new(false);
        silent.handle_welcome(3);
        assert!(!silent.may_hear() && silent.offered() == 0);
    }

    #[test]
    fn what_is_lost_on_the_way_to_the_host_has_the_microphone_say_everything_twice() {
        let second = Duration::from_secs(1);
        let mut talk = connected(3);
        talk.handle_lost(0, second);
        assert!(!talk.talks_twice(second));
        talk.handle_lost(2, 2 * second);
        talk.handle_lost(2, 9 * second);
        assert!(talk.talks_twice(2 * second) && talk.talks_twice(31 * second));
        assert!(!talk.talks_twice(32 * second), "half a minute without a loss");
        talk.handle_lost(3, 40 * second);
        assert!(talk.talks_twice(40 * second));
        talk.handle_connected();
        assert!(!talk.talks_twice(40 * second), "another connection, another way");
        talk.handle_lost(1, 41 * second);
        assert!(talk.talks_twice(41 * second), "which counts from nought");
    }

    #[test]
    fn losses_are_answered_by_asking_for_each_frame_twice() {
        let mut talk = connected(3);
        talk.handle_lossy(true);
        assert_eq!(talk.poll_message(), Some(ViewerMessage::Sound(SoundWish::Twice)));
        talk.handle_lossy(false);
        assert_eq!(talk.poll_message(), Some(ViewerMessage::Sound(SoundWish::Once)));
    }
}
