//! What this host lets its viewers use. Decided here, enforced by the front: a patched viewer changes nothing.

use crate::proto::wire::print::CAPABILITY_PRINTING;
use crate::proto::wire::{CAPABILITY_MICROPHONE, CAPABILITY_SOUND};

/// What is allowed. Everything is, until the administrator says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The session's sound may go to the viewer.
    pub sound: bool,
    /// The viewer's microphone may be heard in the session.
    pub microphone: bool,
    /// The session may print on the viewer's printers.
    pub printing: bool,
}

/// The words for `--deny`, in the order of [`Policy`]'s fields.
pub const DENIABLE: [&str; 3] = ["sound", "microphone", "printing"];

impl Policy {
    /// Everything but these; words that are none of [`DENIABLE`] have no meaning.
    pub fn denying<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> Policy {
        let mut policy = Policy::default();
        for word in words {
            match word.as_ref() {
                "sound" => policy.sound = false,
                "microphone" => policy.microphone = false,
                "printing" => policy.printing = false,
                _ => {}
            }
        }
        policy
    }

    /// What is denied, as words for `--deny`.
    pub fn denied(self) -> impl Iterator<Item = &'static str> {
        DENIABLE
            .into_iter()
            .zip([self.sound, self.microphone, self.printing])
            .filter(|(_, on)| !on)
            .map(|(word, _)| word)
    }

    /// The capabilities of the wire that it allows, of those that sound has.
    pub fn sound_capabilities(self) -> u32 {
        (if self.sound { CAPABILITY_SOUND } else { 0 }) | (if self.microphone { CAPABILITY_MICROPHONE } else { 0 })
    }

    /// All capabilities of the wire that it allows.
    pub fn capabilities(self) -> u32 {
        self.sound_capabilities() | self.printing_capability()
    }

    /// The capability of printing, if it is allowed.
    pub fn printing_capability(self) -> u32 {
        if self.printing { CAPABILITY_PRINTING } else { 0 }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Policy { sound: true, microphone: true, printing: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_take_away_and_come_back() {
        let policy = Policy::denying(["microphone", "printing"]);
        assert_eq!(policy, Policy { sound: true, microphone: false, printing: false });
        assert_eq!(policy.denied().collect::<Vec<_>>(), ["microphone", "printing"]);
        assert_eq!(policy.sound_capabilities(), CAPABILITY_SOUND);
        assert_eq!((policy.printing_capability(), Policy::default().printing_capability()), (0, CAPABILITY_PRINTING));
        assert_eq!(Policy::denying(policy.denied()), policy);
    }
}
