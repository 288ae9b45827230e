//! One connected program: its bytes in and out, its streams, and the answer to each of its commands.

use super::info::{self, Answer, MONITOR, MONITOR_NAME, Question, SINK, SINK_NAME, SOURCE, SOURCE_NAME};
use super::stream::{Notice, Playback, Recording, playback_attr, record_attr};
use super::{Device, STREAMS_MAX, samples};
use bytes::{Buf, BytesMut};
use pulseaudio::protocol::{
    self, ChannelMap, Command, CommandReply, CreatePlaybackStreamReply, CreateRecordStreamReply, DEFAULT_SINK,
    DEFAULT_SOURCE, DESCRIPTOR_SIZE, MIN_VERSION, PlaybackLatency, PlaybackStreamParams, Props, PulseError,
    RecordLatency, RecordStreamParams, SampleSpec, SetPlaybackStreamBufferAttrReply, SetRecordStreamBufferAttrReply,
    SubscriptionEvent, SubscriptionEventFacility as Facility, SubscriptionEventType as Change, SubscriptionMask,
};
use std::collections::VecDeque;
use std::ffi::CStr;
use std::io::{Cursor, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::SystemTime;
use thiserror::Error;

/// Version of the protocol that is spoken: the crate's own messages are incomplete above it.
const VERSION: u16 = 32;
/// Read at once.
const READ_BYTES: usize = 64 << 10;
/// Reads at a time: more than a program ever plays at once.
const READS_MAX: usize = 8;
/// Longest message of a program: libpulse cuts what is played into 64 KiB.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes that wait for a program that does not read; then recorded sound is dropped.
const BACKLOG_DROP: usize = 256 << 10;
/// With so many it is sent away.
const BACKLOG_MAX: usize = 1 << 20;
/// Streams of one program.
const CLIENT_STREAMS_MAX: usize = 64;
/// Numbers that mean a command, or nothing.
const NONE: u32 = u32::MAX;

/// Why a program is sent away.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    #[error("it hung up")]
    Gone,
    #[error("a message of {0} bytes is too long")]
    Length(usize),
    #[error("it does not read")]
    Backlog,
    #[error("it begins without saying who it is")]
    Stranger,
}

/// One program.
#[derive(Debug)]
pub(super) struct Client {
    socket: UnixStream,
    index: u32,
    input: BytesMut,
    output: BytesMut,
    version: u16,
    props: Props,
    playbacks: Vec<Playback>,
    recordings: Vec<Recording>,
    next_channel: u32,
    subscribed: SubscriptionMask,
    questions: VecDeque<(u32, Question)>,
    notices: Vec<Notice>,
    underruns_before: u64,
}

impl Client {
    pub(super) fn new(socket: UnixStream, index: u32) -> std::io::Result<Client> {
        socket.set_nonblocking(true)?;
        Ok(Client {
            socket,
            index,
            input: BytesMut::new(),
            output: BytesMut::new(),
            version: 0,
            props: Props::new(),
            playbacks: Vec::new(),
            recordings: Vec::new(),
            next_channel: 0,
            subscribed: SubscriptionMask::empty(),
            questions: VecDeque::new(),
            notices: Vec::new(),
            underruns_before: 0,
        })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn has_backlog(&self) -> bool {
        !self.output.is_empty()
    }

    pub(super) fn is_playing(&self) -> bool {
        self.playbacks.iter().any(Playback::is_playing)
    }

    pub(super) fn is_recording(&self, source: u32) -> bool {
        self.recordings.iter().any(|r| r.source == source && !r.corked)
    }

    pub(super) fn playing(&self) -> usize {
        self.playbacks.iter().filter(|p| p.is_playing()).count()
    }

    pub(super) fn recording(&self) -> usize {
        self.recordings.iter().filter(|r| !r.corked).count()
    }

    pub(super) fn underruns(&self) -> u64 {
        self.underruns_before + self.playbacks.iter().map(|p| p.underruns).sum::<u64>()
    }

    pub(super) fn sink_inputs(&self) -> impl Iterator<Item = protocol::SinkInputInfo> + '_ {
        self.playbacks.iter().map(|p| info::sink_input(p, self.index))
    }

    pub(super) fn source_outputs(&self) -> impl Iterator<Item = protocol::SourceOutputInfo> + '_ {
        self.recordings.iter().map(|r| info::source_output(r, self.index))
    }

    pub(super) fn info(&self) -> protocol::ClientInfo {
        protocol::ClientInfo {
            index: self.index,
            name: info::name_of(&self.props, c"program"),
            owner_module_index: None,
            driver: Some(c"kachel".to_owned()),
            props: self.props.clone(),
        }
    }

    /// Reads and answers what has come, and writes what waits.
    ///
    /// A program that always has more to say leaves the rest for the next time, so that others are served and its
    /// answers go out.
    pub(super) fn handle_ready(&mut self, device: &mut Device) -> Result<(), ClientError> {
        for _ in 0..READS_MAX {
            self.input.reserve(READ_BYTES);
            let mut chunk = [0; READ_BYTES];
            match self.socket.read(&mut chunk) {
                Ok(0) => return Err(ClientError::Gone),
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(ClientError::Gone),
            }
            self.handle_messages(device)?;
            self.flush()?;
        }
        self.flush()
    }

    /// Its streams are over.
    pub(super) fn leave(&mut self, device: &mut Device) {
        for index in self.playbacks.drain(..).map(|p| p.index) {
            device.streams -= 1;
            device.tell(Facility::SinkInput, Change::Removed, index);
        }
        for index in self.recordings.drain(..).map(|r| r.index) {
            device.streams -= 1;
            device.tell(Facility::SourceOutput, Change::Removed, index);
        }
    }

    /// Adds what it plays to stereo samples.
    pub(super) fn mix(&mut self, mixed: &mut [f32]) {
        for at in 0..self.playbacks.len() {
            let mut notices = std::mem::take(&mut self.notices);
            self.playbacks[at].mix(mixed, &mut notices);
            let channel = self.playbacks[at].channel;
            self.notify(channel, notices.drain(..));
            self.notices = notices;
        }
        // A program that does not read is noticed when it is waited for.
        let _ = self.flush();
    }

    fn notify(&mut self, channel: u32, notices: impl IntoIterator<Item = Notice>) {
        for notice in notices {
            match notice {
                Notice::Request(length) => self.event(&Command::Request(protocol::Request { channel, length })),
                Notice::Started => self.event(&Command::Started(channel)),
                Notice::Underflow(offset) => self.event(&Command::Underflow(protocol::Underflow { channel, offset })),
                Notice::Drained(sequence) => self.ack(sequence),
            }
        }
    }

    /// Hands it what it records of this source.
    pub(super) fn record(&mut self, source: u32, samples: &[f32], channels: usize) {
        for at in 0..self.recordings.len() {
            let recording = &mut self.recordings[at];
            if recording.source != source || !samples.len().is_multiple_of(channels) {
                continue;
            }
            let channel = recording.channel;
            if let Some(bytes) = recording.record(samples)
                && self.output.len() < BACKLOG_DROP
            {
                let mut block = Vec::with_capacity(bytes.len() + DESCRIPTOR_SIZE);
                // Writing into memory cannot fail.
                let _ = protocol::write_memblock(&mut block, channel, &bytes, 0);
                self.output.extend_from_slice(&block);
            }
        }
        let _ = self.flush();
    }

    /// A question that needs the other clients, and the number of its request.
    pub(super) fn poll_question(&mut self) -> Option<(u32, Question)> {
        self.questions.pop_front()
    }

    pub(super) fn answer(&mut self, sequence: u32, answer: Option<Answer>) {
        match answer {
            Some(Answer::SinkInputs(list)) => self.reply(sequence, &list),
            Some(Answer::SourceOutputs(list)) => self.reply(sequence, &list),
            Some(Answer::Clients(list)) => self.reply(sequence, &list),
            None => self.error(sequence, PulseError::NoEntity),
        }
        let _ = self.flush();
    }

    /// Tells it of a change, if it wants to hear of such.
    pub(super) fn tell(&mut self, facility: Facility, change: Change, index: u32) {
        if self.subscribed.bits() & 1 << facility as u32 == 0 {
            return;
        }
        let event = SubscriptionEvent { event_facility: facility, event_type: change, index: Some(index) };
        self.event(&Command::SubscribeEvent(event));
        let _ = self.flush();
    }

    fn flush(&mut self) -> Result<(), ClientError> {
        while !self.output.is_empty() {
            match self.socket.write(&self.output) {
                Ok(count) => self.output.advance(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(ClientError::Gone),
            }
        }
        if self.output.len() > BACKLOG_MAX { Err(ClientError::Backlog) } else { Ok(()) }
    }

    fn handle_messages(&mut self, device: &mut Device) -> Result<(), ClientError> {
        loop {
            let Some(head) = self.input.first_chunk::<DESCRIPTOR_SIZE>() else { return Ok(()) };
            let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let (length, channel, flags) = (word(0) as usize, word(4), word(16));
            let offset = (u64::from(word(8)) << 32 | u64::from(word(12))).cast_signed();
            if length > MESSAGE_BYTES_MAX {
                return Err(ClientError::Length(length));
            }
            if self.input.len() < DESCRIPTOR_SIZE + length {
                return Ok(());
            }
            self.input.advance(DESCRIPTOR_SIZE);
            let body = self.input.split_to(length);
            if channel == NONE {
                self.handle_command(&body, device)?;
            } else if let Some(playback) = self.playbacks.iter_mut().find(|p| p.channel == channel) {
                playback.write(&body, offset, flags as u8);
            }
        }
    }

    fn handle_command(&mut self, body: &[u8], device: &mut Device) -> Result<(), ClientError> {
        let version = if self.version == 0 { VERSION } else { self.version };
        // The crate computes with unchecked times: what a hostile program writes must not end everybody's sound.
        let read = std::panic::catch_unwind(|| Command::read_tag_prefixed(&mut Cursor::new(body), version));
        let (sequence, command) = match read {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => {
                tracing::debug!(%error, "Command not understood at the sound server");
                // Each begins with two tagged numbers: the command's and its own.
                let sequence = body.get(6..10).map_or(NONE, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
                self.error(sequence, PulseError::NotSupported);
                return Ok(());
            }
            Err(_) => return Err(ClientError::Stranger),
        };
        if self.version == 0 {
            let Command::Auth(auth) = command else { return Err(ClientError::Stranger) };
            // Who may connect was decided by the directory and the socket; a cookie adds nothing.
            if auth.version < MIN_VERSION {
                self.error(sequence, PulseError::Version);
                return Ok(());
            }
            self.version = auth.version.min(VERSION);
            let reply = protocol::AuthReply { version: VERSION, ..Default::default() };
            self.reply(sequence, &reply);
            return Ok(());
        }
        tracing::trace!(?command, "Command at the sound server");
        self.obey(sequence, command, device);
        Ok(())
    }

    fn obey(&mut self, sequence: u32, command: Command, device: &mut Device) {
        match command {
            Command::SetClientName(props) => {
                self.props = props;
                device.tell(Facility::Client, Change::New, self.index);
                let client_id = self.index;
                self.reply(sequence, &protocol::SetClientNameReply { client_id });
            }
            Command::CreatePlaybackStream(params) => self.create_playback(sequence, params, device),
            Command::CreateRecordStream(params) => self.create_recording(sequence, params, device),
            Command::DeletePlaybackStream(channel) => {
                let found = self.playbacks.iter().position(|p| p.channel == channel);
                if let Some(at) = found {
                    let stream = self.playbacks.remove(at);
                    self.underruns_before += stream.underruns;
                    device.streams -= 1;
                    device.tell(Facility::SinkInput, Change::Removed, stream.index);
                }
                self.done(sequence, found.is_some());
            }
            Command::DeleteRecordStream(channel) => {
                let found = self.recordings.iter().position(|r| r.channel == channel);
                if let Some(at) = found {
                    let index = self.recordings.remove(at).index;
                    device.streams -= 1;
                    device.tell(Facility::SourceOutput, Change::Removed, index);
                }
                self.done(sequence, found.is_some());
            }
            Command::CorkPlaybackStream(cork) => {
                self.playback(sequence, cork.channel, |p| p.corked = cork.cork);
                if let Some(p) = self.playbacks.iter().find(|p| p.channel == cork.channel) {
                    device.tell(Facility::SinkInput, Change::Changed, p.index);
                }
            }
            Command::CorkRecordStream(cork) => self.recording_do(sequence, cork.channel, |r| r.corked = cork.cork),
            Command::FlushPlaybackStream(channel) => self.flush_playback(sequence, channel),
            Command::FlushRecordStream(channel) => self.recording_do(sequence, channel, Recording::flush),
            Command::PrebufPlaybackStream(channel) => self.playback(sequence, channel, Playback::refill),
            Command::TriggerPlaybackStream(channel) => self.playback(sequence, channel, Playback::trigger),
            Command::DrainPlaybackStream(channel) => self.drain(sequence, channel),
            Command::GetPlaybackLatency(params) => self.playback_latency(sequence, &params),
            Command::GetRecordLatency(params) => self.record_latency(sequence, &params),
            Command::SetPlaybackStreamBufferAttr(params) => self.set_playback_attr(sequence, &params),
            Command::SetRecordStreamBufferAttr(params) => self.set_record_attr(sequence, &params),
            Command::UpdatePlaybackStreamSampleRate(params) => {
                let rate = params.sample_rate.clamp(1_000, 384_000);
                self.playback(sequence, params.index, |p| p.set_rate(rate));
            }
            Command::UpdateRecordStreamSampleRate(params) => {
                let rate = params.sample_rate.clamp(1_000, 384_000);
                self.recording_do(sequence, params.index, |r| r.set_rate(rate));
            }
            Command::SetSinkInputVolume(params) => {
                let ours = self.playbacks.iter_mut().find(|p| p.index == params.index);
                let found = ours.map(|p| p.volume = params.volume).is_some();
                device.tell(Facility::SinkInput, Change::Changed, params.index);
                self.done(sequence, found);
            }
            Command::SetSinkInputMute(params) => {
                let ours = self.playbacks.iter_mut().find(|p| p.index == params.index);
                let found = ours.map(|p| p.muted = params.mute).is_some();
                device.tell(Facility::SinkInput, Change::Changed, params.index);
                self.done(sequence, found);
            }
            Command::SetSourceOutputVolume(params) => {
                let ours = self.recordings.iter_mut().find(|r| r.index == params.index);
                let found = ours.map(|r| r.volume = params.volume).is_some();
                self.done(sequence, found);
            }
            Command::SetSourceOutputMute(params) => {
                let ours = self.recordings.iter_mut().find(|r| r.index == params.index);
                let found = ours.map(|r| r.muted = params.mute).is_some();
                self.done(sequence, found);
            }
            Command::SetSinkVolume(params) => {
                device.sink_volume = params.volume;
                device.tell(Facility::Sink, Change::Changed, SINK);
                self.ack(sequence);
            }
            Command::SetSinkMute(params) => {
                device.sink_muted = params.mute;
                device.tell(Facility::Sink, Change::Changed, SINK);
                self.ack(sequence);
            }
            Command::SetSourceVolume(params) => {
                device.source_volume = params.volume;
                device.tell(Facility::Source, Change::Changed, SOURCE);
                self.ack(sequence);
            }
            Command::SetSourceMute(params) => {
                device.source_muted = params.mute;
                device.tell(Facility::Source, Change::Changed, SOURCE);
                self.ack(sequence);
            }
            Command::Subscribe(mask) => {
                self.subscribed = mask;
                self.ack(sequence);
            }
            other => self.inform(sequence, other, device),
        }
    }

    /// Commands that only ask, and those that have nothing to change here.
    fn inform(&mut self, sequence: u32, command: Command, device: &Device) {
        match command {
            Command::GetServerInfo => self.reply(sequence, &info::server()),
            Command::GetSinkInfoList => self.reply(sequence, &vec![info::sink(device)]),
            Command::GetSourceInfoList => {
                self.reply(sequence, &vec![info::source(device, MONITOR), info::source(device, SOURCE)]);
            }
            Command::GetSinkInfo(which) => match sink_named(which.index, which.name.as_deref()) {
                true => self.reply(sequence, &info::sink(device)),
                false => self.error(sequence, PulseError::NoEntity),
            },
            Command::GetSourceInfo(which) => match source_named(which.index, which.name.as_deref()) {
                Some(index) => self.reply(sequence, &info::source(device, index)),
                None => self.error(sequence, PulseError::NoEntity),
            },
            Command::LookupSink(name) => match sink_named(None, Some(&name)) {
                true => self.reply(sequence, &protocol::LookupReply(SINK)),
                false => self.error(sequence, PulseError::NoEntity),
            },
            Command::LookupSource(name) => match source_named(None, Some(&name)) {
                Some(index) => self.reply(sequence, &protocol::LookupReply(index)),
                None => self.error(sequence, PulseError::NoEntity),
            },
            Command::GetSinkInputInfoList => self.questions.push_back((sequence, Question::SinkInputs(None))),
            Command::GetSinkInputInfo(one) => self.questions.push_back((sequence, Question::SinkInputs(Some(one)))),
            Command::GetSourceOutputInfoList => self.questions.push_back((sequence, Question::SourceOutputs(None))),
            Command::GetSourceOutputInfo(one) => {
                self.questions.push_back((sequence, Question::SourceOutputs(Some(one))));
            }
            Command::GetClientInfoList => self.questions.push_back((sequence, Question::Clients(None))),
            Command::GetClientInfo(one) => self.questions.push_back((sequence, Question::Clients(Some(one)))),
            Command::GetCardInfoList => self.reply(sequence, &protocol::CardInfoList::new()),
            Command::GetModuleInfoList => self.reply(sequence, &protocol::ModuleInfoList::new()),
            Command::GetSampleInfoList => self.reply(sequence, &protocol::SampleInfoList::new()),
            Command::Stat => self.reply(sequence, &protocol::StatInfo::default()),
            Command::GetCardInfo(_) | Command::GetModuleInfo(_) | Command::GetSampleInfo(_) | Command::PlaySample(_) => {
                self.error(sequence, PulseError::NoEntity);
            }
            // Properties and names are for other programs to read; the first ones stay.
            Command::SetPlaybackStreamName(_)
            | Command::SetRecordStreamName(_)
            | Command::UpdatePlaybackStreamProplist(_)
            | Command::UpdateRecordStreamProplist(_)
            | Command::UpdateClientProplist(_)
            | Command::RemovePlaybackStreamProplist(_)
            | Command::RemoveRecordStreamProplist(_)
            | Command::RemoveClientProplist
            // There is one sink and one source: they are the default, and streams are there already.
            | Command::SetDefaultSink(_)
            | Command::SetDefaultSource(_)
            | Command::MoveSinkInput(_)
            | Command::MoveSourceOutput(_)
            | Command::SuspendSink(_)
            | Command::SuspendSource(_) => self.ack(sequence),
            Command::Extension(_) => self.error(sequence, PulseError::NoExtension),
            other => {
                tracing::debug!(?other, "Command not supported by the sound server");
                self.error(sequence, PulseError::NotSupported);
            }
        }
    }

    fn create_playback(&mut self, sequence: u32, params: PlaybackStreamParams, device: &mut Device) {
        let (spec, map) = match self.chosen(params.sample_spec, params.channel_map, &params.formats, device) {
            Ok(chosen) => chosen,
            Err(error) => return self.error(sequence, error),
        };
        if !sink_named(params.sink_index, params.sink_name.as_deref()) {
            return self.error(sequence, PulseError::NoEntity);
        }
        let (channel, index) = (self.next_channel, device.take_index());
        self.next_channel = self.next_channel.wrapping_add(1);
        let attr = playback_attr(&spec, &params.buffer_attr);
        let mut stream = Playback::new(channel, index, spec, map, attr);
        stream.corked = params.flags.start_corked;
        stream.muted = params.flags.start_muted.unwrap_or(false);
        stream.volume = params.cvolume.unwrap_or(stream.volume);
        stream.props = params.props;
        self.playbacks.push(stream);
        device.streams += 1;
        device.tell(Facility::SinkInput, Change::New, index);
        let reply = CreatePlaybackStreamReply {
            channel,
            stream_index: index,
            requested_bytes: attr.target_length,
            buffer_attr: attr,
            sample_spec: spec,
            channel_map: map,
            stream_latency: info::LATENCY_US,
            sink_index: SINK,
            sink_name: Some(SINK_NAME.to_owned()),
            suspended: false,
            format: info::format_of(&spec),
        };
        self.reply(sequence, &reply);
    }

    fn create_recording(&mut self, sequence: u32, params: RecordStreamParams, device: &mut Device) {
        let (spec, map) = match self.chosen(params.sample_spec, params.channel_map, &params.formats, device) {
            Ok((spec, map)) if samples::is_recordable(spec.format) => (spec, map),
            Ok(_) => return self.error(sequence, PulseError::NotSupported),
            Err(error) => return self.error(sequence, error),
        };
        let Some(source) = source_named(params.source_index, params.source_name.as_deref()) else {
            return self.error(sequence, PulseError::NoEntity);
        };
        let (channel, index) = (self.next_channel, device.take_index());
        self.next_channel = self.next_channel.wrapping_add(1);
        let attr = record_attr(&spec, &params.buffer_attr);
        let channels = if source == MONITOR { 2 } else { 1 };
        let mut stream = Recording::new(channel, index, source, spec, map, attr, channels);
        stream.corked = params.flags.start_corked;
        stream.muted = params.flags.start_muted.unwrap_or(false);
        stream.volume = params.cvolume.unwrap_or(stream.volume);
        stream.props = params.props;
        self.recordings.push(stream);
        device.streams += 1;
        device.tell(Facility::SourceOutput, Change::New, index);
        let reply = CreateRecordStreamReply {
            channel,
            stream_index: index,
            buffer_attr: attr,
            sample_spec: spec,
            channel_map: map,
            stream_latency: info::LATENCY_US,
            sink_index: source,
            sink_name: Some(if source == MONITOR { MONITOR_NAME } else { SOURCE_NAME }.to_owned()),
            suspended: false,
            format: info::format_of(&spec),
        };
        self.reply(sequence, &reply);
    }

    /// The samples of a new stream: as the program says, in either of the two ways to say it.
    fn chosen(
        &self,
        spec: SampleSpec,
        map: ChannelMap,
        formats: &[protocol::FormatInfo],
        device: &Device,
    ) -> Result<(SampleSpec, ChannelMap), PulseError> {
        if device.streams >= STREAMS_MAX || self.playbacks.len() + self.recordings.len() >= CLIENT_STREAMS_MAX {
            return Err(PulseError::TooLarge);
        }
        let spec =
            if samples::is_valid(&spec) { spec } else { info::spec_of(formats).ok_or(PulseError::NotSupported)? };
        let map = match spec.channels {
            channels if map.num_channels() == channels => map,
            1 => ChannelMap::mono(),
            2 => ChannelMap::stereo(),
            channels => ChannelMap::new((0..channels).map(|_| protocol::ChannelPosition::Mono)),
        };
        Ok((spec, map))
    }

    fn flush_playback(&mut self, sequence: u32, channel: u32) {
        let Some(stream) = self.playbacks.iter_mut().find(|p| p.channel == channel) else {
            return self.error(sequence, PulseError::NoEntity);
        };
        stream.flush();
        let asked = stream.ask();
        self.ack(sequence);
        self.notify(channel, asked);
    }

    fn drain(&mut self, sequence: u32, channel: u32) {
        match self.playbacks.iter_mut().find(|p| p.channel == channel) {
            None => self.error(sequence, PulseError::NoEntity),
            Some(stream) if stream.queued() == 0 => self.ack(sequence),
            // Answered when it has been played.
            Some(stream) => stream.drain(sequence),
        }
    }

    fn playback_latency(&mut self, sequence: u32, params: &protocol::LatencyParams) {
        let Some(stream) = self.playbacks.iter().find(|p| p.channel == params.channel) else {
            return self.error(sequence, PulseError::NoEntity);
        };
        let playing = stream.is_playing();
        let reply = PlaybackLatency {
            sink_usec: info::LATENCY_US,
            source_usec: 0,
            playing,
            local_time: params.now,
            remote_time: SystemTime::now(),
            write_offset: stream.written,
            read_offset: stream.read,
            underrun_for: if playing { 0 } else { u64::MAX },
            playing_for: stream.playing_for,
        };
        self.reply(sequence, &reply);
    }

    fn record_latency(&mut self, sequence: u32, params: &protocol::LatencyParams) {
        let Some(stream) = self.recordings.iter().find(|r| r.channel == params.channel) else {
            return self.error(sequence, PulseError::NoEntity);
        };
        let reply = RecordLatency {
            sink_usec: 0,
            source_usec: info::LATENCY_US,
            playing: false,
            local_time: params.now,
            remote_time: SystemTime::now(),
            write_offset: stream.written,
            read_offset: stream.written,
        };
        self.reply(sequence, &reply);
    }

    fn set_playback_attr(&mut self, sequence: u32, params: &protocol::SetPlaybackStreamBufferAttrParams) {
        let Some(stream) = self.playbacks.iter_mut().find(|p| p.channel == params.index) else {
            return self.error(sequence, PulseError::NoEntity);
        };
        let buffer_attr = playback_attr(&stream.spec, &params.buffer_attr);
        stream.set_attr(buffer_attr);
        let asked = stream.ask();
        self.reply(
            sequence,
            &SetPlaybackStreamBufferAttrReply { buffer_attr, configured_sink_latency: info::LATENCY_US },
        );
        self.notify(params.index, asked);
    }

    fn set_record_attr(&mut self, sequence: u32, params: &protocol::SetRecordStreamBufferAttrParams) {
        let Some(stream) = self.recordings.iter_mut().find(|r| r.channel == params.index) else {
            return self.error(sequence, PulseError::NoEntity);
        };
        let buffer_attr = record_attr(&stream.spec, &params.buffer_attr);
        stream.attr = buffer_attr;
        let reply = SetRecordStreamBufferAttrReply { buffer_attr, configured_source_latency: info::LATENCY_US };
        self.reply(sequence, &reply);
    }

    fn playback(&mut self, sequence: u32, channel: u32, change: impl FnOnce(&mut Playback)) {
        let found = self.playbacks.iter_mut().find(|p| p.channel == channel).map(change).is_some();
        self.done(sequence, found);
    }

    fn recording_do(&mut self, sequence: u32, channel: u32, change: impl FnOnce(&mut Recording)) {
        let found = self.recordings.iter_mut().find(|r| r.channel == channel).map(change).is_some();
        self.done(sequence, found);
    }

    fn done(&mut self, sequence: u32, found: bool) {
        if found { self.ack(sequence) } else { self.error(sequence, PulseError::NoEntity) }
    }

    fn ack(&mut self, sequence: u32) {
        let mut bytes = Vec::new();
        let _ = protocol::write_ack_message(&mut bytes, sequence);
        self.output.extend_from_slice(&bytes);
    }

    fn error(&mut self, sequence: u32, error: PulseError) {
        let mut bytes = Vec::new();
        let _ = protocol::write_error(&mut bytes, sequence, &error);
        self.output.extend_from_slice(&bytes);
    }

    fn reply(&mut self, sequence: u32, reply: &impl CommandReply) {
        let mut bytes = Vec::new();
        if let Err(error) = protocol::write_reply_message(&mut bytes, sequence, reply, self.version) {
            tracing::warn!(%error, "Answer of the sound server not written");
            return self.error(sequence, PulseError::Internal);
        }
        self.output.extend_from_slice(&bytes);
    }

    fn event(&mut self, event: &Command) {
        let mut bytes = Vec::new();
        if let Err(error) = protocol::write_command_message(&mut bytes, NONE, event, self.version) {
            tracing::warn!(%error, "Event of the sound server not written");
            return;
        }
        self.output.extend_from_slice(&bytes);
    }
}

fn sink_named(index: Option<u32>, name: Option<&CStr>) -> bool {
    match (index, name) {
        (Some(index), _) => index == SINK,
        (None, None) => true,
        (None, Some(name)) => [SINK_NAME, DEFAULT_SINK].contains(&name),
    }
}

fn source_named(index: Option<u32>, name: Option<&CStr>) -> Option<u32> {
    match (index, name) {
        (Some(index), _) => [MONITOR, SOURCE].contains(&index).then_some(index),
        (None, None) => Some(SOURCE),
        (None, Some(name)) if [SOURCE_NAME, DEFAULT_SOURCE].contains(&name) => Some(SOURCE),
        (None, Some(name)) if name == MONITOR_NAME || name == c"@DEFAULT_MONITOR@" => Some(MONITOR),
        _ => None,
    }
}
