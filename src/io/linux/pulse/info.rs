//! What the server says about itself, its one sink, its two sources, and the programs' streams.

use super::client::Client;
use super::stream::{Playback, Recording};
use super::{Device, samples};
use pulseaudio::protocol::{
    ChannelMap, ChannelVolume, FormatEncoding, FormatInfo, Prop, Props, SampleFormat, SampleSpec, ServerInfo,
    SinkFlags, SinkInfo, SinkInputInfo, SinkState, SourceFlags, SourceInfo, SourceOutputInfo, SourceState, Volume,
};
use std::ffi::{CStr, CString};

/// The sink's and its monitor's number.
pub(super) const SINK: u32 = 0;
/// The source that hears the sink.
pub(super) const MONITOR: u32 = 0;
/// The source that is the viewer's microphone.
pub(super) const SOURCE: u32 = 1;
/// Their names.
pub(super) const SINK_NAME: &CStr = c"kachel";
pub(super) const MONITOR_NAME: &CStr = c"kachel.monitor";
pub(super) const SOURCE_NAME: &CStr = c"kachel.microphone";
/// What programs are told that is between us and the user's ear: a frame, the way, the jitter buffer.
pub(super) const LATENCY_US: u64 = 80_000;
/// Steps of a volume slider.
const VOLUME_STEPS: u32 = 65_537;

/// A question whose answer needs all clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// All streams that play, or one by its number.
    SinkInputs(Option<u32>),
    /// All streams that record, or one by its number.
    SourceOutputs(Option<u32>),
    /// All clients, or one by its number.
    Clients(Option<u32>),
}

/// Its answer.
#[derive(Debug)]
pub(super) enum Answer {
    SinkInputs(Vec<SinkInputInfo>),
    SourceOutputs(Vec<SourceOutputInfo>),
    Clients(Vec<pulseaudio::protocol::ClientInfo>),
}

/// The answer; none if the one that was asked for is not there.
pub(super) fn answer(question: Question, clients: &[Client]) -> Option<Answer> {
    let (one, answer) = match question {
        Question::SinkInputs(one) => {
            let all = clients.iter().flat_map(Client::sink_inputs);
            (one, Answer::SinkInputs(all.filter(|i| one.is_none_or(|one| one == i.index)).collect()))
        }
        Question::SourceOutputs(one) => {
            let all = clients.iter().flat_map(Client::source_outputs);
            (one, Answer::SourceOutputs(all.filter(|i| one.is_none_or(|one| one == i.index)).collect()))
        }
        Question::Clients(one) => {
            let all = clients.iter().map(Client::info);
            (one, Answer::Clients(all.filter(|i| one.is_none_or(|one| one == i.index)).collect()))
        }
    };
    let count = match &answer {
        Answer::SinkInputs(list) => list.len(),
        Answer::SourceOutputs(list) => list.len(),
        Answer::Clients(list) => list.len(),
    };
    (one.is_none() || count > 0).then_some(answer)
}

/// What the mixer works with.
fn spec(channels: u8) -> SampleSpec {
    SampleSpec { format: SampleFormat::Float32Le, channels, sample_rate: crate::proto::sound::packet::RATE }
}

fn props(description: &CStr) -> Props {
    let mut props = Props::new();
    props.set(Prop::DeviceDescription, description);
    props.set(Prop::DeviceClass, c"sound");
    props
}

pub(super) fn server() -> ServerInfo {
    ServerInfo {
        server_name: Some(c"kachel".to_owned()),
        server_version: Some(c"16.1".to_owned()),
        user_name: Some(c"kachel".to_owned()),
        host_name: Some(c"kachel".to_owned()),
        sample_spec: spec(2),
        cookie: 0,
        default_sink_name: Some(SINK_NAME.to_owned()),
        default_source_name: Some(SOURCE_NAME.to_owned()),
        channel_map: ChannelMap::stereo(),
    }
}

pub(super) fn sink(device: &Device) -> SinkInfo {
    SinkInfo {
        index: SINK,
        name: SINK_NAME.to_owned(),
        description: Some(c"Kachel".to_owned()),
        props: props(c"Kachel"),
        state: SinkState::Running,
        sample_spec: spec(2),
        channel_map: ChannelMap::stereo(),
        owner_module_index: None,
        cvolume: device.sink_volume,
        muted: device.sink_muted,
        monitor_source_index: Some(MONITOR),
        monitor_source_name: Some(MONITOR_NAME.to_owned()),
        flags: SinkFlags::LATENCY | SinkFlags::DECIBEL_VOLUME,
        actual_latency: LATENCY_US,
        configured_latency: LATENCY_US,
        driver: Some(c"kachel".to_owned()),
        base_volume: Volume::NORM,
        volume_steps: Some(VOLUME_STEPS),
        card_index: None,
        ports: Vec::new(),
        active_port: 0,
        formats: vec![FormatInfo::new(FormatEncoding::Pcm)],
    }
}

pub(super) fn source(device: &Device, index: u32) -> SourceInfo {
    let monitor = index == MONITOR;
    let description = if monitor { c"Monitor of Kachel" } else { c"Kachel microphone" };
    SourceInfo {
        index,
        name: if monitor { MONITOR_NAME } else { SOURCE_NAME }.to_owned(),
        description: Some(description.to_owned()),
        props: props(description),
        state: SourceState::Running,
        sample_spec: spec(if monitor { 2 } else { 1 }),
        channel_map: if monitor { ChannelMap::stereo() } else { ChannelMap::mono() },
        owner_module_index: None,
        cvolume: if monitor { ChannelVolume::norm(2) } else { device.source_volume },
        base_volume: Volume::NORM,
        volume_steps: Some(VOLUME_STEPS),
        muted: !monitor && device.source_muted,
        monitor_of_sink_index: monitor.then_some(SINK),
        monitor_of_sink_name: monitor.then(|| SINK_NAME.to_owned()),
        flags: SourceFlags::LATENCY | SourceFlags::DECIBEL_VOLUME,
        actual_latency: LATENCY_US,
        configured_latency: LATENCY_US,
        driver: Some(c"kachel".to_owned()),
        card_index: None,
        ports: Vec::new(),
        active_port: 0,
        formats: vec![FormatInfo::new(FormatEncoding::Pcm)],
    }
}

/// A stream's name as its program gave it.
pub(super) fn name_of(props: &Props, other: &CStr) -> CString {
    let text = |prop| props.get(prop).and_then(|bytes| CStr::from_bytes_until_nul(bytes).ok()).map(CStr::to_owned);
    text(Prop::MediaName).or_else(|| text(Prop::ApplicationName)).unwrap_or_else(|| other.to_owned())
}

pub(super) fn sink_input(stream: &Playback, client: u32) -> SinkInputInfo {
    SinkInputInfo {
        index: stream.index,
        name: name_of(&stream.props, c"playback"),
        owner_module_index: None,
        client_index: Some(client),
        sink_index: SINK,
        sample_spec: stream.spec,
        channel_map: stream.map,
        cvolume: stream.volume,
        buffer_latency: stream.latency_us(),
        sink_latency: LATENCY_US,
        resample_method: None,
        driver: Some(c"kachel".to_owned()),
        props: stream.props.clone(),
        muted: stream.muted,
        corked: stream.corked,
        has_volume: true,
        volume_writable: true,
        format: format_of(&stream.spec),
    }
}

pub(super) fn source_output(stream: &Recording, client: u32) -> SourceOutputInfo {
    SourceOutputInfo {
        index: stream.index,
        name: name_of(&stream.props, c"recording"),
        owner_module_index: None,
        client_index: Some(client),
        source_index: stream.source,
        sample_spec: stream.spec,
        channel_map: stream.map,
        cvolume: stream.volume,
        buffer_latency: 0,
        source_latency: LATENCY_US,
        resample_method: None,
        driver: Some(c"kachel".to_owned()),
        props: stream.props.clone(),
        muted: stream.muted,
        corked: stream.corked,
        has_volume: true,
        volume_writable: true,
        format: format_of(&stream.spec),
    }
}

/// Names of sample formats, as a format's properties say them.
const FORMAT_NAMES: [(&str, SampleFormat); 13] = [
    ("u8", SampleFormat::U8),
    ("aLaw", SampleFormat::Alaw),
    ("uLaw", SampleFormat::Ulaw),
    ("s16le", SampleFormat::S16Le),
    ("s16be", SampleFormat::S16Be),
    ("float32le", SampleFormat::Float32Le),
    ("float32be", SampleFormat::Float32Be),
    ("s32le", SampleFormat::S32Le),
    ("s32be", SampleFormat::S32Be),
    ("s24le", SampleFormat::S24Le),
    ("s24be", SampleFormat::S24Be),
    ("s24-32le", SampleFormat::S24In32Le),
    ("s24-32be", SampleFormat::S24In32Be),
];

/// A sample format in the extended form.
pub(super) fn format_of(spec: &SampleSpec) -> FormatInfo {
    let mut format = FormatInfo::new(FormatEncoding::Pcm);
    let name = FORMAT_NAMES.iter().find(|(_, f)| *f == spec.format).map_or("s16le", |(name, _)| name);
    for (key, value) in [
        (c"format.sample_format", format!("\"{name}\"")),
        (c"format.rate", spec.sample_rate.to_string()),
        (c"format.channels", spec.channels.to_string()),
    ] {
        let mut value = value.into_bytes();
        value.push(0);
        format.props.set_bytes(key, value);
    }
    format
}

/// The sample format that a program asks for in the extended form (JSON values), where it gives no plain one.
pub(super) fn spec_of(formats: &[FormatInfo]) -> Option<SampleSpec> {
    let pcm = formats.iter().find(|f| matches!(f.encoding, FormatEncoding::Pcm | FormatEncoding::Any))?;
    let text = |key: &CStr| {
        let bytes = pcm.props.get_bytes(key)?;
        let text = std::str::from_utf8(bytes).ok()?.trim_end_matches('\0');
        Some(text.trim_matches('"').to_owned())
    };
    let format = text(c"format.sample_format")
        .and_then(|name| FORMAT_NAMES.iter().find(|(known, _)| *known == name))
        .map_or(SampleFormat::S16Le, |(_, format)| *format);
    let sample_rate = text(c"format.rate").and_then(|t| t.parse().ok()).unwrap_or(48_000);
    let channels = text(c"format.channels").and_then(|t| t.parse().ok()).unwrap_or(2);
    let spec = SampleSpec { format, channels, sample_rate };
    samples::is_valid(&spec).then_some(spec)
}
