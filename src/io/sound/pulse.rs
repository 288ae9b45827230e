//! PulseAudio, and PipeWire where it speaks for it: devices with their numbers, loudspeaker and microphone, without cpal.
//!
//! cpal asks for two periods and fills both at once, so that a thread may be late by one of them and no more, and it hears
//! nothing of what was missing. Here the server has room for more than ever waits in it, gets what there is, and says with
//! each request how far it has played. How much waits is decided elsewhere.

use super::SoundDeviceError;
use super::callback::{Feeding, Hearing, Shared};
use crate::proto::sound::ahead::AHEAD_MAX;
use crate::proto::sound::packet::RATE;
use pulseaudio::protocol::stream::{BufferAttr, StreamFlags};
use pulseaudio::protocol::{ChannelMap, DEFAULT_SINK, DEFAULT_SOURCE, PlaybackStreamParams, RecordStreamParams};
use pulseaudio::protocol::{SampleFormat, SampleSpec};
use pulseaudio::{Client, ClientError, PlaybackSource, PlaybackStream, RecordStream};
use rtrb::{Consumer, Producer};
use std::ffi::CStr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Of a sample.
pub(super) const BYTES: usize = size_of::<f32>();
/// Channels of a loudspeaker.
pub(super) const STEREO: usize = 2;
/// The server asks anew after so much, and its device takes so much at once.
const REQUEST: Duration = Duration::from_millis(10);
/// What the server has room for; it keeps three requests for itself.
const ROOM: Duration = AHEAD_MAX.saturating_add(REQUEST.saturating_mul(3));
/// A server that does not answer for this long has no device.
const PATIENCE: Duration = Duration::from_secs(3);
/// A device that takes nothing of a sound for this long is no longer one.
const STUCK: Duration = Duration::from_secs(2);

/// A connection to the server.
#[derive(Debug)]
pub(super) struct Pulse {
    client: Client,
}

/// A device, and its number, never used twice: one that was unplugged and is back has another one.
pub(super) struct Found {
    /// As cpal makes it, which is what preferences hold.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) number: u32,
}

/// An open loudspeaker.
pub(super) struct Playback {
    stream: PlaybackStream,
    link: Arc<Link>,
}

/// What the server's side of a loudspeaker and its owner share besides [`Shared`].
#[derive(Default)]
struct Link {
    /// Of the server's buffer; 0 until it is known.
    room_bytes: AtomicU32,
    /// Wakes the thread that writes to the server.
    waker: OnceLock<Waker>,
}

impl Pulse {
    /// None where no server answers.
    pub(super) fn open() -> Option<Pulse> {
        Some(Pulse { client: Client::from_env(c"kachel").ok()? })
    }

    /// Loudspeakers; none when the server does not answer.
    pub(super) fn outputs(&self) -> Option<Vec<Found>> {
        let sinks = within(self.client.list_sinks()).ok()?;
        Some(sinks.iter().map(|sink| Found::new(&sink.name, sink.description.as_deref(), sink.index)).collect())
    }

    /// Microphones, and what hears a loudspeaker.
    pub(super) fn inputs(&self) -> Option<Vec<Found>> {
        let sources = within(self.client.list_sources()).ok()?;
        Some(sources.iter().map(|s| Found::new(&s.name, s.description.as_deref(), s.index)).collect())
    }

    /// The system's own choice of a loudspeaker.
    pub(super) fn default_output(&self) -> Option<Found> {
        let sink = within(self.client.sink_info_by_name(DEFAULT_SINK.to_owned())).ok()?;
        Some(Found::new(&sink.name, sink.description.as_deref(), sink.index))
    }

    /// The same for the microphone.
    pub(super) fn default_input(&self) -> Option<Found> {
        let source = within(self.client.source_info_by_name(DEFAULT_SOURCE.to_owned())).ok()?;
        Some(Found::new(&source.name, source.description.as_deref(), source.index))
    }

    /// Opens a loudspeaker that plays what is in the ring, stereo at 48 kHz, once it is told to.
    pub(super) fn open_output(
        &self,
        number: u32,
        ring: Consumer<f32>,
        state: &Arc<Shared>,
    ) -> Result<Playback, SoundDeviceError> {
        let link = Arc::new(Link::default());
        let source =
            Source { feeding: Feeding::new(ring, state), link: Arc::clone(&link), _end: End(Arc::clone(state)) };
        let params = PlaybackStreamParams {
            sample_spec: spec(STEREO),
            channel_map: ChannelMap::stereo(),
            sink_index: Some(number),
            buffer_attr: BufferAttr {
                target_length: bytes_of(ROOM, STEREO),
                // After a gap it goes on with what there is: an end shorter than this would never be heard.
                pre_buffering: (STEREO * BYTES) as u32,
                minimum_request_length: bytes_of(REQUEST, STEREO),
                ..BufferAttr::default()
            },
            // The device is to take as little at once as is asked for at once.
            flags: StreamFlags { start_corked: true, early_requests: true, ..StreamFlags::default() },
            ..PlaybackStreamParams::default()
        };
        let stream = within(self.client.create_playback_stream(params, source))?;
        link.room_bytes.store(stream.buffer_attr().target_length, Ordering::Relaxed);
        Ok(Playback { stream, link })
    }

    /// Opens a microphone that fills the ring, mono at 48 kHz, at once.
    pub(super) fn open_input(
        &self,
        number: u32,
        ring: Producer<f32>,
        state: &Arc<Shared>,
    ) -> Result<RecordStream, SoundDeviceError> {
        let mut ear = Ear { hearing: Hearing::new(ring, state), _end: End(Arc::clone(state)) };
        let record = move |data: &[u8]| ear.handle_bytes(data);
        let params = RecordStreamParams {
            sample_spec: spec(1),
            channel_map: ChannelMap::mono(),
            source_index: Some(number),
            // What the server keeps is not bounded by it: where it or we come late, nothing is lost.
            buffer_attr: BufferAttr { fragment_size: bytes_of(REQUEST, 1), ..BufferAttr::default() },
            flags: StreamFlags { adjust_latency: true, ..StreamFlags::default() },
            ..RecordStreamParams::default()
        };
        within(self.client.create_record_stream(params, record))
    }
}

impl Found {
    fn new(name: &CStr, description: Option<&CStr>, number: u32) -> Found {
        let id = cpal::DeviceId::new(cpal::HostId::PulseAudio, name.to_string_lossy()).to_string();
        Found { id, name: description.unwrap_or(name).to_string_lossy().into_owned(), number }
    }
}

impl Playback {
    /// Begins.
    pub(super) fn play(&self) -> Result<(), SoundDeviceError> {
        within(self.stream.uncork())
    }

    /// Tells the thread that writes to the server of something in the ring.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.link.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Whether the server has stopped asking in the middle of a sound: it ended the stream, or its device stands still.
    pub(super) fn is_stuck(&self, state: &Shared) -> bool {
        state.is_sounding() && state.since_asked() > STUCK
    }
}

/// What the server plays; called by a thread of the crate, which is told of requests and woken by the owner.
struct Source {
    feeding: Feeding,
    link: Arc<Link>,
    _end: End,
}

impl PlaybackSource for Source {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<usize> {
        let this = self.get_mut();
        this.link.waker.get_or_init(|| context.waker().clone());
        let room = this.link.room_bytes.load(Ordering::Relaxed) as usize;
        if room == 0 {
            return Poll::Pending;
        }
        // No bytes would mean the end.
        match this.feeding.fill(buffer, room) {
            0 => Poll::Pending,
            bytes => Poll::Ready(bytes),
        }
    }
}

/// What takes what the server has recorded.
struct Ear {
    hearing: Hearing,
    _end: End,
}

impl Ear {
    fn handle_bytes(&mut self, data: &[u8]) {
        self.hearing.handle_bytes(data);
    }
}

/// Goes with the connection.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.note_failed();
    }
}

/// Waits for the server's answer, but not for ever.
fn within<T>(answer: impl Future<Output = Result<T, ClientError>>) -> Result<T, SoundDeviceError> {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let (mut answer, until) = (pin!(answer), Instant::now() + PATIENCE);
    loop {
        if let Poll::Ready(answer) = answer.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Ok(answer?);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(SoundDeviceError::Silent);
        }
        std::thread::park_timeout(left);
    }
}

fn spec(channels: usize) -> SampleSpec {
    SampleSpec { format: SampleFormat::Float32Le, channels: channels as u8, sample_rate: RATE }
}

fn bytes_of(time: Duration, channels: usize) -> u32 {
    time.as_millis() as u32 * (RATE / 1_000) * (channels * BYTES) as u32
}

pub(super) fn duration_of(bytes: usize) -> Duration {
    Duration::from_micros((bytes / (STEREO * BYTES)) as u64 * 1_000_000 / u64::from(RATE))
}
