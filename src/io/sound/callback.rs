//! What a sound device's own thread calls: samples out of a ring, or into one. No lock, no allocation, nothing logged.
//!
//! Who opens devices: `super` and `pulse`. What is in the ring: `viewer::sound`, volume and all.

use super::prefer_this_thread;
#[cfg(target_os = "linux")]
use super::pulse::{BYTES, STEREO, duration_of};
#[cfg(target_os = "linux")]
use crate::proto::sound::ahead::Playhead;
use cpal::{FromSample, Sample};
use rtrb::{Consumer, Producer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What callback and owner share.
#[derive(Debug)]
pub(super) struct Shared {
    opened: Instant,
    failed: AtomicBool,
    /// Whether a sound is in its middle, so that silence is something missing.
    sounding: AtomicBool,
    /// Times that there was nothing to play in the middle of a sound, or no room for what was recorded.
    missed: AtomicU64,
    /// Time of silence in the middle of sounds.
    missing_us: AtomicU64,
    /// Least that the device had left before it was given more, since the owner asked; `u64::MAX` where that is not known.
    left_us: AtomicU64,
    /// When the device has played all that it was given, in time since it was opened; 0 where that is not known.
    dry_at_us: AtomicU64,
    /// When the device asked last, or a sound began, in time since it was opened.
    #[cfg(target_os = "linux")]
    asked_at_us: AtomicU64,
}

impl Shared {
    pub(super) fn new() -> Arc<Shared> {
        Arc::new(Shared {
            opened: Instant::now(),
            failed: AtomicBool::new(false),
            sounding: AtomicBool::new(false),
            missed: AtomicU64::new(0),
            missing_us: AtomicU64::new(0),
            left_us: AtomicU64::new(u64::MAX),
            dry_at_us: AtomicU64::new(0),
            #[cfg(target_os = "linux")]
            asked_at_us: AtomicU64::new(0),
        })
    }

    pub(super) fn is_sounding(&self) -> bool {
        self.sounding.load(Ordering::Relaxed)
    }

    pub(super) fn set_sounding(&self, sounding: bool) {
        self.sounding.store(sounding, Ordering::Relaxed);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn note_failed(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    pub(super) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    pub(super) fn note_missed(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// Time of silence in the middle of sounds.
    pub(super) fn missing(&self) -> Duration {
        Duration::from_micros(self.missing_us.load(Ordering::Relaxed))
    }

    fn note_missing(&self, missing: Duration) {
        self.missing_us.fetch_add(missing.as_micros() as u64, Ordering::Relaxed);
    }

    /// Least that the device had left, since the last call.
    pub(super) fn take_least_left(&self) -> Option<Duration> {
        let left = self.left_us.swap(u64::MAX, Ordering::Relaxed);
        (left < u64::MAX).then(|| Duration::from_micros(left))
    }

    /// Time that the device still has something to play.
    pub(super) fn held(&self) -> Duration {
        let dry_at = Duration::from_micros(self.dry_at_us.load(Ordering::Relaxed));
        dry_at.saturating_sub(self.opened.elapsed())
    }
}

/// What only a device tells that says how far it has played.
#[cfg(target_os = "linux")]
impl Shared {
    pub(super) fn now(&self) -> Duration {
        self.opened.elapsed()
    }

    pub(super) fn note_asked(&self, now: Duration) {
        self.asked_at_us.store(now.as_micros() as u64, Ordering::Relaxed);
    }

    pub(super) fn since_asked(&self) -> Duration {
        self.now().saturating_sub(Duration::from_micros(self.asked_at_us.load(Ordering::Relaxed)))
    }

    fn note_left(&self, left: Duration) {
        self.left_us.fetch_min(left.as_micros() as u64, Ordering::Relaxed);
    }

    /// The device has played up to here, and has so much.
    fn note_held(&self, held: Duration, now: Duration) {
        self.dry_at_us.store((now + held).as_micros() as u64, Ordering::Relaxed);
    }

    /// The device is given more.
    fn note_given(&self, more: Duration, now: Duration) {
        let dry_at = Duration::from_micros(self.dry_at_us.load(Ordering::Relaxed)).max(now);
        self.note_held(more, dry_at);
    }
}

/// Counts in the callback what a loudspeaker lacks in the middle of a sound.
struct Gaps {
    state: Arc<Shared>,
    /// The sound has begun to be played.
    begun: bool,
    is_gap: bool,
}

impl Gaps {
    fn new(state: &Arc<Shared>) -> Gaps {
        Gaps { state: Arc::clone(state), begun: false, is_gap: false }
    }

    /// Takes whether the device has played all that it had, and whether it got something now. Returns whether this is
    /// silence in the middle of a sound.
    fn handle_step(&mut self, is_dry: bool, is_given: bool) -> bool {
        if !self.state.is_sounding() {
            (self.begun, self.is_gap) = (false, false);
            return false;
        }
        let is_gap = self.begun && is_dry;
        if is_gap && !self.is_gap {
            self.state.note_missed();
        }
        self.is_gap = is_gap;
        self.begun |= is_given;
        is_gap
    }
}

/// Plays on a device that asks for as many samples as it takes.
pub(super) struct Playing {
    ring: Consumer<f32>,
    state: Arc<Shared>,
    gaps: Gaps,
    /// Samples of all channels in a second.
    second: u64,
    is_preferred: bool,
}

impl Playing {
    pub(super) fn new(ring: Consumer<f32>, second: u64, state: &Arc<Shared>) -> Playing {
        Playing { ring, state: Arc::clone(state), gaps: Gaps::new(state), second, is_preferred: false }
    }

    pub(super) fn fill<T: Sample + FromSample<f32>>(&mut self, data: &mut [T]) {
        prefer_once(&mut self.is_preferred);
        let count = self.ring.slots().min(data.len());
        if let Ok(chunk) = self.ring.read_chunk(count) {
            for (out, sample) in data.iter_mut().zip(chunk) {
                *out = T::from_sample(sample);
            }
        }
        data[count..].fill(T::EQUILIBRIUM);
        let lacks = data.len() - count;
        if self.gaps.handle_step(lacks > 0, count > 0) {
            self.state.note_missing(Duration::from_micros(lacks as u64 * 1_000_000 / self.second.max(1)));
        }
    }
}

/// Records from a microphone.
pub(super) struct Hearing {
    ring: Producer<f32>,
    state: Arc<Shared>,
    is_preferred: bool,
}

impl Hearing {
    pub(super) fn new(ring: Producer<f32>, state: &Arc<Shared>) -> Hearing {
        Hearing { ring, state: Arc::clone(state), is_preferred: false }
    }

    pub(super) fn handle_samples<T: Sample>(&mut self, data: &[T])
    where
        f32: FromSample<T>,
    {
        prefer_once(&mut self.is_preferred);
        let count = self.ring.slots().min(data.len());
        for sample in &data[..count] {
            let _ = self.ring.push(f32::from_sample(*sample));
        }
        if count < data.len() {
            self.state.note_missed();
        }
    }

    /// The same for floats, little-endian.
    #[cfg(target_os = "linux")]
    pub(super) fn handle_bytes(&mut self, data: &[u8]) {
        prefer_once(&mut self.is_preferred);
        for sample in data.chunks_exact(BYTES) {
            let sample = sample.try_into().map_or(0.0, f32::from_le_bytes);
            if self.ring.push(sample).is_err() {
                return self.state.note_missed();
            }
        }
    }
}

/// Plays on a device of PulseAudio's, which takes what there is, and says with its requests how far it has played.
#[cfg(target_os = "linux")]
pub(super) struct Feeding {
    ring: Consumer<f32>,
    gaps: Gaps,
    state: Arc<Shared>,
    playhead: Playhead,
    written_bytes: u64,
    /// What is asked for if the server has not asked for more since.
    expected: usize,
    is_preferred: bool,
}

#[cfg(target_os = "linux")]
impl Feeding {
    pub(super) fn new(ring: Consumer<f32>, state: &Arc<Shared>) -> Feeding {
        Feeding {
            ring,
            gaps: Gaps::new(state),
            state: Arc::clone(state),
            playhead: Playhead::default(),
            written_bytes: 0,
            expected: 0,
            is_preferred: false,
        }
    }

    /// Puts stereo floats, little-endian, into `buffer`, which is as long as what the server, with room for `room` bytes, has
    /// room for and was not given. Returns how many bytes there were.
    pub(super) fn fill(&mut self, buffer: &mut [u8], room: usize) -> usize {
        prefer_once(&mut self.is_preferred);
        // All that the server has room for and was not given is asked for.
        let left = room.saturating_sub(buffer.len());
        let asked = buffer.len() != self.expected;
        let now = self.state.now();
        if asked {
            self.state.note_asked(now);
        }
        if !self.state.is_sounding() {
            if let Some(missing) = self.playhead.handle_end() {
                self.state.note_missing(missing);
            }
        } else if asked && self.written_bytes > 0 {
            let played = (self.written_bytes - (left as u64).min(self.written_bytes)) / (STEREO * BYTES) as u64;
            if let Some(missing) = self.playhead.handle_position(played, now) {
                self.state.note_missing(missing);
            }
        }
        let count = self.ring.slots().min(buffer.len() / BYTES);
        if let Ok(chunk) = self.ring.read_chunk(count) {
            for (out, sample) in buffer.chunks_exact_mut(BYTES).zip(chunk) {
                out.copy_from_slice(&sample.to_le_bytes());
            }
        }
        let bytes = count * BYTES;
        if asked && self.gaps.begun && self.state.is_sounding() {
            self.state.note_left(duration_of(left));
        }
        self.gaps.handle_step(asked && left == 0, count > 0);
        if asked {
            self.state.note_held(duration_of(left + bytes), now);
        } else {
            self.state.note_given(duration_of(bytes), now);
        }
        self.written_bytes += bytes as u64;
        self.expected = buffer.len() - bytes;
        bytes
    }
}

/// Some backends make the thread, and none of them says which one it is before it calls.
fn prefer_once(is_preferred: &mut bool) {
    if !std::mem::replace(is_preferred, true) {
        prefer_this_thread();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrb::RingBuffer;

    /// Counts how often a thread goes to the heap.
    #[allow(unsafe_code, reason = "whoever stands before the heap promises what it promises")]
    mod heap {
        use std::alloc::{GlobalAlloc, Layout, System};
        use std::cell::Cell;

        struct Counting;

        #[global_allocator]
        static HEAP: Counting = Counting;

        thread_local! {
            static VISITS: Cell<u64> = const { Cell::new(0) };
        }

        fn note() {
            // A thread that ends is not looked at.
            let _ = VISITS.try_with(|visits| visits.set(visits.get() + 1));
        }

        // SAFETY: all is done by the system's own, which keeps to its contract as the caller does.
        unsafe impl GlobalAlloc for Counting {
            unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
                note();
                // SAFETY: the caller's promise.
                unsafe { System.alloc(layout) }
            }

            unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
                note();
                // SAFETY: the caller's promise.
                unsafe { System.dealloc(pointer, layout) }
            }

            unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
                note();
                // SAFETY: the caller's promise.
                unsafe { System.realloc(pointer, layout, size) }
            }
        }

        /// How often this thread takes memory, gives it back or changes it in `work`.
        pub(super) fn visits(work: impl FnOnce()) -> u64 {
            let before = VISITS.get();
            work();
            VISITS.get() - before
        }
    }

    /// Samples of a period of a device.
    const PERIOD: usize = 480;

    /// What befalls a loudspeaker between two of its calls.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// So many samples are written, at this volume.
        Write(usize, f32),
        /// Nothing comes.
        Late,
        /// The sound is over.
        Rest,
    }

    /// Playing as it should be, loud, soft and muted; too little, nothing, and the sound again; its end, silence, and the next
    /// one; and more than the ring's end is far away.
    const STEPS: [Step; 12] = [
        Step::Late,
        Step::Write(2 * PERIOD, 1.5),
        Step::Write(PERIOD, 0.1),
        Step::Write(PERIOD, 0.0),
        Step::Late,
        Step::Write(PERIOD / 3, 1.0),
        Step::Late,
        Step::Late,
        Step::Write(3 * PERIOD, 1.0),
        Step::Rest,
        Step::Late,
        Step::Write(PERIOD, 1.0),
    ];

    /// Visits to the heap in a loudspeaker's calls, over all steps several times.
    fn visits_of_loudspeaker(state: &Arc<Shared>, ring: &mut Producer<f32>, mut call: impl FnMut()) -> u64 {
        let mut visits = 0;
        for step in STEPS.into_iter().cycle().take(10 * STEPS.len()) {
            match step {
                Step::Write(count, volume) => {
                    state.set_sounding(true);
                    for i in 0..count {
                        let _ = ring.push((i as f32 * 0.1).sin() * volume);
                    }
                }
                Step::Late => {}
                Step::Rest => state.set_sounding(false),
            }
            visits += heap::visits(&mut call);
        }
        visits
    }

    #[test]
    fn the_heap_is_watched() {
        assert_eq!(heap::visits(|| drop(std::hint::black_box(Box::new(1)))), 2);
    }

    #[test]
    fn a_loudspeaker_s_callback_does_not_go_to_the_heap() {
        fn check<T: Sample + FromSample<f32> + std::fmt::Debug>() {
            let (state, (mut ring, consumer)) = (Shared::new(), RingBuffer::new(5 * PERIOD));
            let mut playing = Playing::new(consumer, 2 * 48_000, &state);
            let mut data = [T::EQUILIBRIUM; PERIOD];
            let mut heard = 0;
            let visits = visits_of_loudspeaker(&state, &mut ring, || {
                playing.fill(&mut data);
                heard += usize::from(data.iter().any(|sample| *sample != T::EQUILIBRIUM));
            });
            assert_eq!(visits, 0, "{}", std::any::type_name::<T>());
            assert!(heard >= 40 && state.missed() >= 10 && !state.missing().is_zero(), "{heard} calls, {state:?}");
        }
        check::<f32>();
        check::<i16>();
        check::<i32>();
        check::<u8>();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_feeds_pulseaudio_does_not_go_to_the_heap() {
        let (state, (mut ring, consumer)) = (Shared::new(), RingBuffer::new(5 * PERIOD));
        let mut feeding = Feeding::new(consumer, &state);
        let (room, mut waits, mut fed) = (4 * PERIOD * BYTES, 0, 0);
        let mut buffer = [0; 4 * PERIOD * BYTES];
        let visits = visits_of_loudspeaker(&state, &mut ring, || {
            // The device has played a period since it asked last; then there is more than it was asked for.
            waits -= (PERIOD * BYTES).min(waits);
            for _ in 0..2 {
                let bytes = feeding.fill(&mut buffer[..room - waits], room);
                (waits, fed) = (waits + bytes, fed + bytes);
            }
        });
        assert_eq!(visits, 0);
        assert!(fed > 40 * PERIOD * BYTES && state.missed() >= 10, "{fed} bytes, {state:?}");
        assert!(state.take_least_left().is_some());
    }

    #[test]
    fn a_microphone_s_callback_does_not_go_to_the_heap() {
        fn check<T: Sample + std::fmt::Debug>(mut call: impl FnMut(&mut Hearing))
        where
            f32: FromSample<T>,
        {
            let (state, (producer, mut ring)) = (Shared::new(), RingBuffer::new(5 * PERIOD + 7));
            let mut hearing = Hearing::new(producer, &state);
            let mut visits = 0;
            for turn in 0..100 {
                // Who reads comes late now and then, and not all has room.
                if turn % 10 < 3 {
                    let waiting = ring.slots();
                    ring.read_chunk(waiting).expect("so many wait").commit_all();
                }
                visits += heap::visits(|| call(&mut hearing));
            }
            assert_eq!(visits, 0, "{}", std::any::type_name::<T>());
            assert!(ring.slots() == 5 * PERIOD + 7 && state.missed() >= 10, "{state:?}");
        }
        check::<f32>(|hearing| hearing.handle_samples(&[0.5_f32; PERIOD]));
        check::<i16>(|hearing| hearing.handle_samples(&[1_000_i16; PERIOD]));
        check::<i32>(|hearing| hearing.handle_samples(&[1_000_000_i32; PERIOD]));
        check::<u8>(|hearing| hearing.handle_samples(&[200_u8; PERIOD]));
        #[cfg(target_os = "linux")]
        check::<f32>(|hearing| hearing.handle_bytes(&[0x3e; PERIOD * BYTES]));
    }

    #[test]
    fn nothing_that_waits_is_named_here() {
        let (code, _) = include_str!("callback.rs").split_once("#[cfg(test)]").expect("tests stand at the end");
        let waits =
            ["Mutex", "RwLock", "Condvar", "Barrier", "Once", "Lazy", "mpsc", "lock()", "park", "sleep", "tracing"];
        let found: Vec<_> = waits.into_iter().filter(|word| code.contains(word)).collect();
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn silence_counts_only_in_the_middle_of_a_sound_and_each_gap_once() {
        let state = Shared::new();
        let mut gaps = Gaps::new(&state);
        let mut check = |sounding, steps: &[(bool, bool)], expected| {
            state.set_sounding(sounding);
            let silent = steps.iter().filter(|(is_dry, is_given)| gaps.handle_step(*is_dry, *is_given)).count();
            assert_eq!((silent, state.missed()), expected, "{steps:?}");
        };
        check(false, &[(true, false), (true, false)], (0, 0));
        // What is written has not reached the device yet.
        check(true, &[(true, false), (true, true), (false, true)], (0, 0));
        check(true, &[(true, false), (true, false), (true, true), (false, true)], (3, 1));
        check(true, &[(true, true)], (1, 2));
        check(false, &[(false, true), (true, false)], (0, 2));
        check(true, &[(true, true)], (0, 2));
    }
}
