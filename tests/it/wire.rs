//! The protocol's bytes: the examples of PROTOCOL.md, read out of the document itself, its table of limits, and what
//! happens to messages that are cut off, too long, out of range, or plain noise.

use crate::fuzz::{self, net::Random};
use bytes::{Bytes, BytesMut};
use kachel::codec::canvas::Canvas;
use kachel::codec::ctx::tables;
use kachel::codec::format::{self, CopyRect, Frame, FrameHeader, SectionWriter};
use kachel::codec::marks::{Agreement, MARKS_MAX, TileMarks};
use kachel::geom::{self, BlockMask, Point, Rect, Size, TileIndex};
use kachel::limits;
use kachel::proto::input::QUEUE_MAX;
use kachel::proto::screen::assembler::Assembler;
use kachel::proto::session::client::{GIVE_UP_AFTER, STALL_AFTER};
use kachel::proto::sound::packet::{SoundKind, SoundPacket};
use kachel::proto::wire::print::{
    ColorMode, JobId, JobOffer, JobOptions, JobReason, JobState, PrintWish, PrintWord, Printer, PrinterKey, Sides,
    document_head, put_document_head,
};
use kachel::proto::wire::{
    CloseCode, CursorShape, Hello, HostMessage, InputEvent, InputMessage, KeyAction, LockKeys, PathState,
    PointerButton, Progress, Relay, SoundWish, Splitter, VERSION, ViewerMessage, Welcome, WireError, single_message,
};
use std::collections::BTreeMap;
use std::fmt::Debug;

const DOCUMENT: &str = include_str!("../../PROTOCOL.md");

/// Every example of the document by name.
pub(crate) fn examples() -> BTreeMap<&'static str, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut lines = DOCUMENT.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("```hex ") else { continue };
        let body: Vec<&str> = lines.by_ref().take_while(|l| *l != "```").collect();
        assert!(found.insert(name, bytes_of(&body)).is_none(), "two examples {name}");
    }
    found
}

/// Pairs of hexadecimal digits; `#` begins a comment, `(...)xN` repeats.
fn bytes_of(lines: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines {
        let text = line.split('#').next().unwrap_or_default().trim();
        match text.strip_prefix('(').and_then(|t| t.split_once(")x")) {
            Some((group, times)) => out.extend(pairs(group).repeat(times.trim().parse().expect("a number of times"))),
            None => out.extend(pairs(text)),
        }
    }
    out
}

fn pairs(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|pair| u8::from_str_radix(pair, 16).expect("a byte in hexadecimal")).collect()
}

/// What an example says in Rust: the bytes it must encode to, and what its bytes must decode to.
fn check<T: PartialEq + Debug>(
    examples: &mut BTreeMap<&'static str, Vec<u8>>,
    name: &str,
    value: T,
    encode: impl Fn(&T, &mut Vec<u8>),
    decode: impl Fn(&[u8]) -> T,
) {
    let bytes = examples.remove(name).unwrap_or_else(|| panic!("PROTOCOL.md has no example {name}"));
    let mut written = Vec::new();
    encode(&value, &mut written);
    assert_eq!(written, bytes, "{name}");
    assert_eq!(decode(&bytes), value, "{name}");
}

#[test]
fn examples_of_the_document_are_what_the_code_speaks() {
    let mut all = examples();
    let viewer = |bytes: &[u8]| ViewerMessage::decode(single_message(bytes).unwrap()).unwrap();
    let host = |bytes: &[u8]| HostMessage::decode(single_message(bytes).unwrap()).unwrap();
    let input = |bytes: &[u8]| InputMessage::decode(single_message(bytes).unwrap()).unwrap();
    let relay = |bytes: &[u8]| Relay::decode(&mut BytesMut::from(bytes)).unwrap().unwrap();

    let hello = Hello {
        version: 1,
        capabilities: 0,
        viewport: Size::new(1920, 1080),
        scale_percent: 100,
        layout: "de".into(),
        variant: String::new(),
        locale: "de-DE".into(),
    };
    for (name, message) in [
        ("hello", ViewerMessage::Hello(hello)),
        ("viewport", ViewerMessage::Viewport(Size::new(1280, 720))),
        ("frame-shown", ViewerMessage::FrameShown(300)),
        ("visible", ViewerMessage::Visible(false)),
        ("refresh", ViewerMessage::Refresh),
        ("agreement", ViewerMessage::Agreement(Agreement { sequence: 300, first: 16, wrong: vec![17] })),
        ("sound", ViewerMessage::Sound(SoundWish::Twice)),
        ("microphone", ViewerMessage::Microphone(true)),
    ] {
        check(&mut all, name, message, ViewerMessage::encode, viewer);
    }
    let num = LockKeys { num: true, ..LockKeys::default() };
    for (name, message) in [
        ("welcome", HostMessage::Welcome(Welcome { version: 1, capabilities: 0, session: "amt".into() })),
        ("cursor", HostMessage::Cursor(7)),
        ("progress", HostMessage::Progress(Progress::Ready)),
        ("locks", HostMessage::Locks(num)),
        ("marks", HostMessage::Marks(TileMarks { sequence: 300, first: 16, marks: vec![0x0123_4567_89ab_cdef, 2] })),
        ("listening", HostMessage::Listening(true)),
    ] {
        check(&mut all, name, message, HostMessage::encode, host);
    }
    let job = JobId([1; 16]);
    for (name, wish) in [
        ("print-printers", PrintWish::Printers(vec![printer()])),
        ("print-wanted", PrintWish::Wanted { job, offset: 4096 }),
        ("print-received", PrintWish::Received { job, offset: 8192 }),
        ("print-state", PrintWish::State { job, state: JobState::Stopped, reason: JobReason::MediaEmpty }),
    ] {
        check(&mut all, name, ViewerMessage::Print(wish), ViewerMessage::encode, viewer);
    }
    for (name, word) in [
        ("print-offer", PrintWord::Offer(offer())),
        ("print-cancel", PrintWord::Cancel(job)),
        ("print-settled", PrintWord::Settled(job)),
    ] {
        check(&mut all, name, HostMessage::Print(word), HostMessage::encode, host);
    }
    let caps = LockKeys { caps: true, ..LockKeys::default() };
    let events = [
        ("key-press", InputEvent::Key { usage: 0x04, action: KeyAction::Press }),
        ("key-release", InputEvent::Key { usage: 0xe6, action: KeyAction::Release }),
        ("motion", InputEvent::Motion(Point { x: 960, y: 540 })),
        ("button", InputEvent::Button { button: PointerButton::Left, pressed: true }),
        ("wheel-down", InputEvent::Wheel { dx: 0, dy: 120 }),
        ("wheel-up", InputEvent::Wheel { dx: 0, dy: -120 }),
        ("release-all", InputEvent::ReleaseAll),
        ("locks-event", InputEvent::Locks(caps)),
    ];
    for (number, (name, event)) in (1..).zip(events) {
        check(&mut all, name, InputMessage { number, event }, InputMessage::encode, input);
    }
    let shape =
        CursorShape { id: 1, size: Size::new(2, 1), hot: Point::default(), pixels: vec![0xffff_ffff, 0x8000_0000] };
    check(&mut all, "cursor-shape", shape, CursorShape::encode, |b| CursorShape::decode(b).unwrap());
    for (name, message) in [
        ("relay-attached", Relay::Attached { device: "demo".into(), frames: 0, inputs: 0 }),
        ("relay-detached", Relay::Detached),
        ("relay-path", Relay::Path(PathState { rtt_us: 10_000, window_bytes: 65_536, queued_bytes: 0 })),
        ("relay-control", Relay::Control(Bytes::from_static(&[1, 5]))),
        ("relay-input", Relay::Input(Bytes::from_static(&[2, 5, 7]))),
        ("relay-frame", Relay::Frame(Bytes::from_static(&[1, 1, 0, 0x80, 1, 0x40]))),
        ("relay-cursor", Relay::Cursor(Bytes::from_static(&[1, 1, 1, 0, 0, 0, 0, 0, 0xff]))),
        ("relay-close", Relay::Close(CloseCode::TakenOver as u32)),
        ("relay-status", Relay::Status(Bytes::new())),
        ("relay-document-begin", Relay::DocumentBegin(document_begin())),
        ("relay-document", Relay::Document(Bytes::from_static(b"%P"))),
        ("relay-document-end", Relay::DocumentEnd),
        ("relay-sound", Relay::Sound(Bytes::from_static(&[1, 0, 7, 0, 0x80, 7, 0, 0, 0xfc, 3]))),
        ("relay-sound-control", Relay::SoundControl(Bytes::from_static(&[2, 8, 0]))),
    ] {
        check(&mut all, name, message, Relay::encode, relay);
    }
    let sound = SoundPacket {
        kind: SoundKind::Sound,
        last: false,
        sequence: 7,
        timestamp: 1920,
        previous: Some(Bytes::from_static(&[0xfc, 1, 2])),
        frame: Bytes::from_static(&[0xfc, 3, 4, 5]),
    };
    let packet = |bytes: &[u8]| SoundPacket::decode(Bytes::copy_from_slice(bytes)).unwrap();
    check(&mut all, "sound-packet", sound, SoundPacket::encode, packet);
    all.retain(|name, _| {
        !name.starts_with("frame-") && !["ctx-cross", "ctx-dictionary", "ctx-former", "wave-slope"].contains(name)
    });
    assert!(all.is_empty(), "examples that no test looks at: {:?}", all.keys());
}

fn printer() -> Printer {
    Printer {
        key: PrinterKey([7; 16]),
        name: "Büro2".into(),
        is_default: true,
        color: true,
        duplex: true,
        ready: true,
        media: vec!["iso_a4_210x297mm".into()],
        sources: vec!["top".into()],
    }
}

fn offer() -> JobOffer {
    JobOffer {
        job: JobId([1; 16]),
        printer: PrinterKey([7; 16]),
        size: 1000,
        sha256: [0x2a; 32],
        title: "Brief".into(),
        options: JobOptions {
            copies: 2,
            sides: Sides::LongEdge,
            color: ColorMode::Monochrome,
            source: "top".into(),
            pages: vec![(2, 3)],
            ..JobOptions::default()
        },
    }
}

fn document_begin() -> Bytes {
    let mut bytes = Vec::new();
    put_document_head(&mut bytes, JobId([1; 16]), 0);
    bytes.into()
}

#[test]
fn messages_about_printing_survive_their_way_and_hold_their_bounds() {
    let mut random = Random(9);
    for _ in 0..500 {
        let id = std::array::from_fn(|_| random.next() as u8);
        let (job, offset) = (JobId(id), within(&mut random, 0, limits::JOB_BYTES_MAX));
        let word = ["iso_a4_210x297mm", "x", "tray-1", "custom_1.5x2in"][random.below(4) as usize];
        let one = Printer { key: PrinterKey(id), name: text(&mut random), media: vec![word.into(); 24], ..printer() };
        let other = Printer { sources: vec![word.into(); random.below(9) as usize], ..printer() };
        let wish = match random.below(4) {
            0 => PrintWish::Printers([vec![], vec![one.clone()], vec![one, other]][random.below(3) as usize].clone()),
            1 => PrintWish::Wanted { job, offset },
            2 => PrintWish::Received { job, offset },
            _ => PrintWish::State { job, state: JobState::Unknown, reason: JobReason::User },
        };
        let options = JobOptions {
            copies: within(&mut random, 1, limits::COPIES_OF_JOB_MAX),
            media: word.into(),
            pages: (0..random.below(17)).map(|n| (2 * n + 1, 2 * n + 2)).collect(),
            ..offer().options
        };
        let size = within(&mut random, 1, limits::JOB_BYTES_MAX);
        let word = [
            PrintWord::Offer(JobOffer { size, title: text(&mut random), options, ..offer() }),
            PrintWord::Cancel(job),
            PrintWord::Settled(job),
        ][random.below(3) as usize]
            .clone();
        let (wish, word) = (ViewerMessage::Print(wish), HostMessage::Print(word));
        check_body(&wish, &body_of(|out| wish.encode(out)), ViewerMessage::decode);
        check_body(&word, &body_of(|out| word.encode(out)), HostMessage::decode);
    }
    let refused = |printers: Vec<Printer>| {
        let message = ViewerMessage::Print(PrintWish::Printers(printers));
        ViewerMessage::decode(&body_of(|out| message.encode(out))).unwrap_err()
    };
    let many = (0..17).map(|n| Printer { key: PrinterKey([n; 16]), ..printer() }).collect();
    assert_eq!(refused(many), WireError::Value { field: "printers", value: 17 });
    assert_eq!(refused(vec![printer(), printer()]), WireError::Text("printer key"));
    for media in ["", "a4; rm -rf", "a/b", "ä", &"x".repeat(65)] {
        let bad = Printer { media: vec![media.into()], ..printer() };
        assert_eq!(refused(vec![bad]), WireError::Text("media"), "{media}");
    }
    for (options, field) in [
        (JobOptions { copies: 0, ..offer().options }, "copies"),
        (JobOptions { copies: 1000, ..offer().options }, "copies"),
        (JobOptions { number_up: 3, ..offer().options }, "number up"),
        (JobOptions { pages: vec![(3, 2)], ..offer().options }, "last page"),
        (JobOptions { pages: vec![(1, 5), (5, 6)], ..offer().options }, "first page"),
    ] {
        let message = HostMessage::Print(PrintWord::Offer(JobOffer { options, ..offer() }));
        let error = HostMessage::decode(&body_of(|out| message.encode(out))).unwrap_err();
        assert!(matches!(error, WireError::Value { field: f, .. } if f == field), "{field}: {error}");
    }
    // The largest message that may be said fits.
    let word = "w".repeat(limits::KEYWORD_BYTES_MAX);
    let full = |n| Printer {
        key: PrinterKey([n; 16]),
        name: "n".repeat(255),
        media: vec![word.clone(); limits::MEDIA_MAX],
        sources: vec![word.clone(); limits::SOURCES_MAX],
        ..printer()
    };
    let message = ViewerMessage::Print(PrintWish::Printers((0..16).map(full).collect()));
    assert_eq!(ViewerMessage::decode(&body_of(|out| message.encode(out))).unwrap(), message);
}

#[test]
fn a_documents_head_is_read_once_it_is_whole() {
    for offset in [0, 127, 128, limits::JOB_BYTES_MAX] {
        let mut bytes = Vec::new();
        put_document_head(&mut bytes, JobId([0x80; 16]), offset);
        for end in 0..bytes.len() {
            assert_eq!(document_head(&bytes[..end]), Ok(None), "cut at {end}");
        }
        let length = bytes.len();
        bytes.extend_from_slice(b"%PDF");
        assert_eq!(document_head(&bytes), Ok(Some((JobId([0x80; 16]), offset, length))));
    }
    assert!(document_head(&[0xff; 40]).is_err());
}

/// The document's frames, written by hand.
fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |sequence, distance: u32, input, key: Option<Size>, more, fill: &dyn Fn(&mut SectionWriter)| {
        let depends_on = if key.is_some() { 0 } else { sequence - distance };
        let mut out = Vec::new();
        FrameHeader { sequence, depends_on, input, key, more, lossy: false }.write(&mut out);
        let mut writer = SectionWriter::new();
        fill(&mut writer);
        writer.finish(&mut out);
        out
    };
    let tile = TileIndex;
    vec![
        (
            "frame-key",
            frame(1, 0, 0, Some(Size::new(128, 64)), false, &|w| {
                w.solid(tile(0), None, 0x00ff_ffff);
                w.solid(tile(1), None, 0x00ff_ffff);
            }),
        ),
        (
            "frame-pack",
            frame(2, 1, 1, None, false, &|w| {
                let indices: Vec<u8> = (0..256).map(|i| u8::from(i % 16 < 4)).collect();
                w.pack(tile(0), Some(BlockMask(1)), &[0x00ff_ffff, 0], &indices);
            }),
        ),
        (
            "frame-raw",
            frame(3, 2, 1, None, true, &|w| {
                w.raw(tile(1), Some(BlockMask(1 << 5)), &[0x00ff_0000; 256]);
            }),
        ),
        (
            "frame-copy",
            frame(4, 1, 1, None, false, &|w| {
                w.copy(CopyRect { source: Rect::new(0, 16, 64, 48), x: 0, y: 0 });
                w.solid(tile(0), Some(BlockMask(0xf000)), 0x0000_8000);
            }),
        ),
        (
            "frame-store",
            frame(5, 1, 1, None, false, &|w| {
                w.store(tile(0), 6);
                w.store(tile(1), 7);
                w.solid(tile(1), None, 0x0010_2030);
            }),
        ),
        ("frame-cache", frame(6, 1, 300, None, false, &|w| w.cache(tile(0), 7))),
        (
            "frame-masks",
            frame(7, 1, 300, None, false, &|w| {
                w.solid(tile(1), Some(BlockMask(0x00ff)), 0x0000_0080);
                let indices: Vec<u8> = [3, 2, 1, 0].repeat(64);
                w.pack(tile(1), Some(BlockMask(0x0100)), &[0x00ff_0000, 0x0000_ff00, 0x0000_00ff], &indices);
            }),
        ),
        (
            "frame-uncover",
            frame(8, 1, 300, None, false, &|w| {
                w.copy(CopyRect { source: Rect::new(64, 0, 32, 32), x: 10, y: 5 });
                w.uncover(tile(0), 7);
            }),
        ),
        (
            "frame-amend",
            frame(9, 1, 300, None, false, &|w| {
                w.uncover(tile(1), 7);
                w.solid(tile(1), Some(BlockMask(1)), 0x00ff_0000);
                w.amend(tile(1), 7);
            }),
        ),
        (
            "frame-edge",
            frame(10, 0, 300, Some(Size::new(20, 20)), false, &|w| {
                w.raw(tile(0), None, &[0x0010_2030; 1024]);
            }),
        ),
    ]
}

#[test]
fn frames_of_the_document_give_the_pixels_it_speaks_of() {
    let mut all = examples();
    all.retain(|name, _| name.starts_with("frame-") && *name != "frame-shown");
    let (mut assembler, mut canvas) = (Assembler::new(), Canvas::new());
    for (name, written) in frames() {
        let bytes = all.remove(name).unwrap_or_else(|| panic!("PROTOCOL.md has no example {name}"));
        assert_eq!(written, bytes, "{name}");
        assembler.handle_frame(bytes.into()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let update = assembler.poll_update().unwrap_or_else(|e| panic!("{name}: {e}")).expect(name);
        assert_eq!(update.more, name == "frame-raw");
        canvas.apply(&update.plan);
        let expected: &[(u32, u32, u32)] = match name {
            "frame-key" => &[(0, 0, 0x00ff_ffff), (127, 63, 0x00ff_ffff)],
            "frame-pack" => &[(3, 15, 0), (4, 15, 0x00ff_ffff), (0, 16, 0x00ff_ffff)],
            "frame-raw" => &[(80, 16, 0x00ff_0000), (95, 31, 0x00ff_0000), (79, 16, 0x00ff_ffff)],
            "frame-copy" => &[(0, 0, 0x00ff_ffff), (0, 47, 0x00ff_ffff), (0, 48, 0x0000_8000), (64, 48, 0x00ff_ffff)],
            "frame-store" => &[(64, 0, 0x0010_2030), (80, 16, 0x0010_2030), (0, 48, 0x0000_8000)],
            "frame-cache" => &[(0, 0, 0x00ff_ffff), (16, 16, 0x00ff_0000), (0, 48, 0x00ff_ffff)],
            "frame-masks" => &[(64, 31, 0x80), (64, 32, 0xff), (65, 32, 0xff), (66, 32, 0xff00), (67, 32, 0x00ff_0000)],
            "frame-uncover" => &[(10, 5, 0x80), (9, 5, 0x00ff_ffff), (41, 36, 0x80), (42, 36, 0x00ff_ffff)],
            // Nothing of it is seen.
            "frame-amend" => &[(64, 0, 0x80), (64, 32, 0xff), (10, 5, 0x80), (41, 36, 0x80)],
            _ => &[(0, 0, 0x0010_2030), (19, 19, 0x0010_2030)],
        };
        for (x, y, color) in expected {
            assert_eq!(canvas.screen.row(*y)[*x as usize], *color, "{name} at {x}, {y}");
        }
    }
    assert_eq!(canvas.screen.size, Size::new(20, 20));
    assert!(all.is_empty(), "examples that no test looks at: {:?}", all.keys());
}

/// Rows of the document's tables of limits: name and value.
fn limit_rows() -> BTreeMap<&'static str, u64> {
    let start = DOCUMENT.find("\n## Limits\n").expect("a chapter of limits");
    let chapter = DOCUMENT[start..].split("\n## Appendix").next().expect("a first part");
    let mut rows = BTreeMap::new();
    for line in chapter.lines().filter(|l| l.starts_with("| `")) {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (name, value) = (cells.next().expect("a name"), cells.next().expect("a value"));
        assert!(rows.insert(name.trim_matches('`'), value.parse().expect("a number")).is_none(), "{name} twice");
    }
    rows
}

#[test]
fn the_tables_are_those_that_the_document_names() {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, tables::FILE);
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(DOCUMENT.contains(&format!("560,448 bytes whose SHA-256 is\n`{hash}`")), "{hash}");
    assert_eq!(tables::FILE.len(), 560_448);
}

#[test]
fn limits_of_the_document_are_those_of_the_code() {
    let ms = |d: std::time::Duration| d.as_millis() as u64;
    let code: BTreeMap<&str, u64> = BTreeMap::from([
        ("VERSION", VERSION.into()),
        ("TILE", geom::TILE.into()),
        ("BLOCK", geom::BLOCK.into()),
        ("SCREEN_SIDE_MAX", format::SCREEN_SIDE_MAX.into()),
        ("CACHE_SLOTS", format::CACHE_SLOTS.into()),
        ("COPIES_MAX", format::COPIES_MAX as u64),
        ("HARVESTS_MAX", format::HARVESTS_MAX as u64),
        ("MARKS_MAX", MARKS_MAX.into()),
        ("PACK_COLORS_MAX", format::PACK_COLORS_MAX as u64),
        ("WAVE_LANE_BYTES_MAX", format::WAVE_LANE_BYTES_MAX.into()),
        ("SEQUENCE_MAX", format::SEQUENCE_MAX.into()),
        ("FRAME_BYTES_MAX", format::FRAME_BYTES_MAX as u64),
        ("HELD_ALIVE", ms(limits::HELD_ALIVE)),
        ("HELD_TIMEOUT", ms(limits::HELD_TIMEOUT)),
        ("STALL_AFTER", ms(STALL_AFTER)),
        ("GIVE_UP_AFTER", ms(GIVE_UP_AFTER)),
        ("QUEUE_MAX", QUEUE_MAX as u64),
        ("MESSAGE_BYTES_MAX", limits::MESSAGE_BYTES_MAX as u64),
        ("HELLO_BYTES_MAX", limits::HELLO_BYTES_MAX as u64),
        ("NAME_BYTES_MAX", limits::NAME_BYTES_MAX as u64),
        ("CURSOR_SIDE_MAX", limits::CURSOR_SIDE_MAX.into()),
        ("CURSORS_MAX", limits::CURSORS_MAX.into()),
        ("FRAMES_IN_FLIGHT_MAX", limits::FRAMES_IN_FLIGHT_MAX.into()),
        ("SMALL_FRAME_BYTES", limits::SMALL_FRAME_BYTES as u64),
        ("SMALL_FRAMES_UNSHOWN_MAX", limits::SMALL_FRAMES_UNSHOWN_MAX.into()),
        ("FRAMES_WAITING_MAX", limits::FRAMES_WAITING_MAX as u64),
        ("RELAY_BYTES_MAX", limits::RELAY_BYTES_MAX as u64),
        ("PORT", limits::PORT.into()),
        ("IDLE_TIMEOUT", ms(limits::IDLE_TIMEOUT)),
        ("KEEP_ALIVE", ms(limits::KEEP_ALIVE)),
        ("HANDSHAKE_TIMEOUT", ms(limits::HANDSHAKE_TIMEOUT)),
        ("HELLO_TIMEOUT", ms(limits::HELLO_TIMEOUT)),
        ("HANDSHAKES_MAX", limits::HANDSHAKES_MAX as u64),
        ("VIEWERS_MAX", limits::VIEWERS_MAX as u64),
        ("VIEWER_UNI_STREAMS", limits::VIEWER_UNI_STREAMS.into()),
        ("VIEWER_BIDI_STREAMS", limits::VIEWER_BIDI_STREAMS.into()),
        ("ACKS_OWED_MAX", limits::ACKS_OWED_MAX.into()),
        ("HOST_UNI_STREAMS", limits::HOST_UNI_STREAMS.into()),
        ("HOST_UNFINISHED_BYTES_MAX", limits::HOST_UNFINISHED_BYTES_MAX as u64),
        ("VIEWER_STREAM_WINDOW", limits::VIEWER_STREAM_WINDOW.into()),
        ("VIEWER_CONNECTION_WINDOW", limits::VIEWER_CONNECTION_WINDOW.into()),
        ("HOST_STREAM_WINDOW", limits::HOST_STREAM_WINDOW.into()),
        ("HOST_CONNECTION_WINDOW", limits::HOST_CONNECTION_WINDOW.into()),
        ("SEND_WINDOW", limits::SEND_WINDOW),
        ("DATAGRAM_BUFFER", limits::DATAGRAM_BUFFER as u64),
        ("SOUND_FRAME_BYTES_MAX", limits::SOUND_FRAME_BYTES_MAX as u64),
        ("SOUND_QUEUE", ms(limits::SOUND_QUEUE)),
        ("SOUND_DELAY_MAX", ms(limits::SOUND_DELAY_MAX)),
        ("HANDSHAKE_BUFFER", limits::HANDSHAKE_BUFFER),
        ("HANDSHAKE_BUFFERS", limits::HANDSHAKE_BUFFERS),
        ("CRYPTO_BUFFER", limits::CRYPTO_BUFFER as u64),
        ("RESET_INTERVAL", ms(limits::RESET_INTERVAL)),
        ("UDP_BUFFER", limits::UDP_BUFFER as u64),
        ("ATTEMPT_DELAY", ms(limits::ATTEMPT_DELAY)),
        ("VIEWER_OUTBOX", limits::VIEWER_OUTBOX as u64),
        ("RELAY_QUEUE", limits::RELAY_QUEUE as u64),
        ("RELAY_BACKLOG", limits::RELAY_BACKLOG as u64),
        ("SESSION_BACKLOG", limits::SESSION_BACKLOG as u64),
        ("PATH_INTERVAL", ms(limits::PATH_INTERVAL)),
        ("SEND_WINDOW_MIN", limits::SEND_WINDOW_MIN),
        ("PRINTERS_MAX", limits::PRINTERS_MAX as u64),
        ("MEDIA_MAX", limits::MEDIA_MAX as u64),
        ("SOURCES_MAX", limits::SOURCES_MAX as u64),
        ("KEYWORD_BYTES_MAX", limits::KEYWORD_BYTES_MAX as u64),
        ("JOB_BYTES_MAX", limits::JOB_BYTES_MAX.into()),
        ("DOCUMENTS_BYTES_MAX", limits::DOCUMENTS_BYTES_MAX),
        ("JOBS_MAX", limits::JOBS_MAX as u64),
        ("COPIES_OF_JOB_MAX", limits::COPIES_OF_JOB_MAX.into()),
        ("PAGE_RANGES_MAX", limits::PAGE_RANGES_MAX as u64),
        ("DOCUMENT_WINDOW", limits::DOCUMENT_WINDOW.into()),
        ("DOCUMENT_WINDOW_MIN", limits::DOCUMENT_WINDOW_MIN.into()),
        ("DOCUMENT_CHUNK", limits::DOCUMENT_CHUNK.into()),
        ("DOCUMENT_CONFIRM", limits::DOCUMENT_CONFIRM.into()),
        ("TRIAL_BYTES_MAX", limits::TRIAL_BYTES_MAX),
        ("ADDRESSES_MAX", limits::ADDRESSES_MAX as u64),
    ]);
    let document = limit_rows();
    assert_eq!(document, code, "left PROTOCOL.md, right the code");
    // Neither may a new limit be forgotten here.
    for line in include_str!("../../src/limits.rs").lines() {
        let Some(name) = line.strip_prefix("pub const ").and_then(|l| l.split(':').next()) else { continue };
        assert!(name == "ALPN" || code.contains_key(name), "{name} is in limits.rs and not in this test");
    }
    assert_eq!(limits::ALPN, b"kachel/1");
    assert!(DOCUMENT.contains("| ALPN | `kachel/1` |"));
}

#[test]
fn close_codes_of_the_document_are_those_of_the_code() {
    let start = DOCUMENT.find("\n## Close codes\n").expect("a chapter of codes");
    let rows: Vec<String> = DOCUMENT[start..]
        .lines()
        .take_while(|l| !l.starts_with("Other ways"))
        .filter(|l| l.starts_with("| ") && l.as_bytes()[2].is_ascii_digit())
        .map(|l| l.split('|').skip(1).take(2).map(str::trim).collect::<Vec<_>>().join(" "))
        .collect();
    let code: Vec<String> = CloseCode::ALL.iter().map(|c| format!("{} `{c:?}`", *c as u32)).collect();
    assert_eq!(rows, code);
    assert_eq!(CloseCode::from_number(CloseCode::ALL.len() as u64), None);
}

fn text(random: &mut Random) -> String {
    let count = [0, 1, 5, 40, 250][random.below(5) as usize];
    let mut text = String::new();
    while text.len() < count {
        text.push(['a', 'Z', '-', '_', 'ä', '€', '漢'][random.below(7) as usize]);
    }
    while text.len() > limits::NAME_BYTES_MAX {
        text.pop();
    }
    text
}

fn number(random: &mut Random) -> u32 {
    [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u32::MAX, random.next()][random.below(8) as usize]
}

fn within(random: &mut Random, min: u32, max: u32) -> u32 {
    match random.below(4) {
        0 => min,
        1 => max,
        _ => min + random.below(max - min + 1),
    }
}

fn size(random: &mut Random) -> Size {
    Size::new(within(random, 1, 8192), within(random, 1, 8192))
}

fn locks(random: &mut Random) -> LockKeys {
    let mut bit = || random.below(2) == 1;
    LockKeys { caps: bit(), num: bit(), scroll: bit() }
}

fn viewer_message(random: &mut Random) -> ViewerMessage {
    match random.below(6) {
        5 => ViewerMessage::Agreement(Agreement {
            sequence: number(random),
            first: number(random),
            wrong: (0..within(random, 0, MARKS_MAX)).map(|_| number(random)).collect(),
        }),
        0 => ViewerMessage::Hello(Hello {
            version: random.next() as u16,
            capabilities: number(random),
            viewport: size(random),
            scale_percent: within(random, 50, 400) as u16,
            layout: text(random),
            variant: text(random),
            locale: text(random),
        }),
        1 => ViewerMessage::Viewport(size(random)),
        2 => ViewerMessage::FrameShown(number(random)),
        3 => ViewerMessage::Visible(random.below(2) == 1),
        _ => ViewerMessage::Refresh,
    }
}

fn host_message(random: &mut Random) -> HostMessage {
    match random.below(5) {
        4 => HostMessage::Marks(TileMarks {
            sequence: number(random),
            first: number(random),
            marks: (0..within(random, 1, 40))
                .map(|_| u64::from(number(random)) << 32 | u64::from(number(random)))
                .collect(),
        }),
        0 => HostMessage::Welcome(Welcome {
            version: random.next() as u16,
            capabilities: number(random),
            session: text(random),
        }),
        1 => HostMessage::Cursor(within(random, 0, limits::CURSORS_MAX)),
        2 => HostMessage::Progress(
            [Progress::StartingDesktop, Progress::ResumingDesktop, Progress::Ready][random.below(3) as usize],
        ),
        _ => HostMessage::Locks(locks(random)),
    }
}

fn input_message(random: &mut Random) -> InputMessage {
    use PointerButton::{Back, Forward, Left, Middle, Right};
    let event = match random.below(6) {
        0 => InputEvent::Key {
            usage: within(random, 0x04, 0xe7) as u16,
            action: [KeyAction::Release, KeyAction::Press, KeyAction::Repeat][random.below(3) as usize],
        },
        1 => InputEvent::Motion(Point { x: within(random, 0, 8191), y: within(random, 0, 8191) }),
        2 => InputEvent::Button {
            button: [Left, Middle, Right, Back, Forward][random.below(5) as usize],
            pressed: random.below(2) == 1,
        },
        3 => InputEvent::Wheel { dx: random.next() as i16, dy: random.next() as i16 },
        4 => InputEvent::ReleaseAll,
        _ => InputEvent::Locks(locks(random)),
    };
    InputMessage { number: number(random), event }
}

fn cursor_shape(random: &mut Random) -> CursorShape {
    let size = Size::new(within(random, 1, 20), within(random, 1, 20));
    CursorShape {
        id: within(random, 1, limits::CURSORS_MAX),
        size,
        hot: Point { x: random.below(size.w), y: random.below(size.h) },
        pixels: (0..size.area()).map(|_| number(random)).collect(),
    }
}

fn relay_message(random: &mut Random) -> Relay {
    let bytes = Bytes::from((0..random.below(40)).map(|_| random.next() as u8).collect::<Vec<_>>());
    match random.below(9) {
        0 => Relay::Attached { device: text(random), frames: number(random), inputs: number(random) },
        1 => Relay::Detached,
        2 => Relay::Path(PathState {
            rtt_us: number(random),
            window_bytes: number(random),
            queued_bytes: number(random),
        }),
        3 => Relay::Control(bytes),
        4 => Relay::Input(bytes),
        5 => Relay::Frame(bytes),
        6 => Relay::Cursor(bytes),
        7 => Relay::Close(number(random)),
        _ => Relay::Status(bytes),
    }
}

/// A message survives its way; each of its beginnings is an error, and so is each byte behind it.
fn check_body<T: PartialEq + Debug>(value: &T, body: &[u8], decode: impl Fn(&[u8]) -> Result<T, WireError>) {
    assert_eq!(decode(body).as_ref(), Ok(value));
    for end in 0..body.len() {
        assert!(matches!(decode(&body[..end]), Err(WireError::Read(_))), "{value:?} cut at {end}");
    }
    for more in [&[0u8][..], &[0xff], &[1; 300]] {
        let long = [body, more].concat();
        assert!(matches!(decode(&long), Err(WireError::Trailing { .. })), "{value:?} with {} more", more.len());
    }
}

fn body_of(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut framed = Vec::new();
    encode(&mut framed);
    single_message(&framed).expect("our own length is right").to_vec()
}

#[test]
fn every_message_survives_its_way_and_no_beginning_of_it_passes() {
    let mut random = Random(7);
    for _ in 0..1_500 {
        let message = viewer_message(&mut random);
        check_body(&message, &body_of(|out| message.encode(out)), ViewerMessage::decode);
        let message = host_message(&mut random);
        check_body(&message, &body_of(|out| message.encode(out)), HostMessage::decode);
        let message = input_message(&mut random);
        check_body(&message, &body_of(|out| message.encode(out)), InputMessage::decode);
    }
    for _ in 0..60 {
        let shape = cursor_shape(&mut random);
        let mut bytes = Vec::new();
        shape.encode(&mut bytes);
        check_body(&shape, &bytes, CursorShape::decode);
    }
}

#[test]
fn relay_messages_survive_their_way_in_any_pieces() {
    let mut random = Random(8);
    let sent: Vec<Relay> = (0..2_000).map(|_| relay_message(&mut random)).collect();
    let mut bytes = Vec::new();
    sent.iter().for_each(|m| m.encode(&mut bytes));
    let (mut buffer, mut received) = (BytesMut::new(), Vec::new());
    while !bytes.is_empty() {
        let piece = 1 + random.below(bytes.len().min(50) as u32) as usize;
        buffer.extend_from_slice(&bytes[..piece]);
        bytes.drain(..piece);
        while let Some(message) = Relay::decode(&mut buffer).unwrap() {
            received.push(message);
        }
    }
    assert!(received == sent && buffer.is_empty());
    for length in [0, limits::RELAY_BYTES_MAX as u32 + 1, u32::MAX] {
        let mut buffer = BytesMut::from(&length.to_le_bytes()[..]);
        assert_eq!(Relay::decode(&mut buffer), Err(WireError::Length(length as usize)));
    }
    let mut buffer = BytesMut::from(&(limits::RELAY_BYTES_MAX as u32).to_le_bytes()[..]);
    assert_eq!(Relay::decode(&mut buffer), Ok(None));
}

#[test]
fn limits_hold_at_their_edges() {
    let viewer = |body: &[u8]| ViewerMessage::decode(body).is_ok();
    let host = |body: &[u8]| HostMessage::decode(body).is_ok();
    let input = |body: &[u8]| InputMessage::decode(body).is_ok();
    let cursor = |head: &[u8], pixels: usize| CursorShape::decode(&[head, &vec![0; 4 * pixels]].concat()).is_ok();
    let hello = |scale: &[u8], name: usize| {
        let head = [&[1, 1, 0, 0, 0, 0, 0, 1, 1], scale, &[(name & 0x7f) as u8 | 0x80, (name >> 7) as u8]].concat();
        viewer(&[&head[..], &vec![b'x'; name], &[0, 0]].concat())
    };
    let cases: [(&str, bool, bool); 40] = [
        ("width 0", viewer(&[2, 0, 1]), false),
        ("width 1", viewer(&[2, 1, 1]), true),
        ("height 0", viewer(&[2, 1, 0]), false),
        ("width 8192", viewer(&[2, 0x80, 0x40, 1]), true),
        ("width 8193", viewer(&[2, 0x81, 0x40, 1]), false),
        ("height 8193", viewer(&[2, 1, 0x81, 0x40]), false),
        ("scale 49", hello(&[49], 128), false),
        ("scale 50", hello(&[50], 128), true),
        ("scale 400", hello(&[0x90, 3], 128), true),
        ("scale 401", hello(&[0x91, 3], 128), false),
        ("name of 255", hello(&[100], 255), true),
        ("name of 256", hello(&[100], 256), false),
        ("visible 1", viewer(&[4, 1]), true),
        ("visible 2", viewer(&[4, 2]), false),
        ("number in six bytes", viewer(&[3, 0xff, 0xff, 0xff, 0xff, 0x80, 0]), false),
        ("number 2^32 - 1", viewer(&[3, 0xff, 0xff, 0xff, 0xff, 0x0f]), true),
        ("number 2^32", viewer(&[3, 0x80, 0x80, 0x80, 0x80, 0x10]), false),
        ("number not shortest", viewer(&[3, 0x80, 0]), false),
        ("viewer type 0", viewer(&[0]), false),
        ("viewer type 6", viewer(&[6]), false),
        ("host type in the other direction", viewer(&[0x82, 1]), false),
        ("cursor 256", host(&[0x82, 0x80, 2]), true),
        ("cursor 257", host(&[0x82, 0x81, 2]), false),
        ("step 0", host(&[0x83, 0]), false),
        ("step 4", host(&[0x83, 4]), false),
        ("locks 7", host(&[0x84, 7]), true),
        ("locks 8", host(&[0x84, 8]), false),
        ("usage 3", input(&[1, 1, 3, 1]), false),
        ("usage 4", input(&[1, 1, 4, 1]), true),
        ("usage e7", input(&[1, 1, 0xe7, 1, 1]), true),
        ("usage e8", input(&[1, 1, 0xe8, 1, 1]), false),
        ("action 3", input(&[1, 1, 4, 3]), false),
        ("x 8191", input(&[2, 1, 0xff, 0x3f, 0]), true),
        ("x 8192", input(&[2, 1, 0x80, 0x40, 0]), false),
        ("button 4", input(&[3, 1, 4, 1]), false),
        ("locks 8 as an event", input(&[6, 1, 8]), false),
        ("shape 0", cursor(&[0, 1, 1, 0, 0], 1), false),
        ("shape of 256 x 256", cursor(&[1, 0x80, 2, 0x80, 2, 0xff, 1, 0xff, 1], 65_536), true),
        ("shape of 257 x 1", cursor(&[1, 0x81, 2, 1, 0, 0], 257), false),
        ("hot point outside", cursor(&[1, 1, 1, 1, 0], 1), false),
    ];
    for (name, found, expected) in cases {
        assert_eq!(found, expected, "{name}");
    }
    for bad in ["a\u{0}", "\u{7f}", "\u{9b}31m", "line\n"] {
        let body = [&[0x81, 1, 0, 0, 0, 0, 0, bad.len() as u8], bad.as_bytes()].concat();
        assert_eq!(HostMessage::decode(&body), Err(WireError::Text("session")), "{bad:?}");
    }
    assert_eq!(HostMessage::decode(&[0x81, 1, 0, 0, 0, 0, 0, 1, 0xff]), Err(WireError::Text("session")));
}

#[test]
fn our_own_long_names_are_cut_between_characters() {
    let welcome = HostMessage::Welcome(Welcome { version: 1, capabilities: 0, session: "€".repeat(100) });
    let body = body_of(|out| welcome.encode(out));
    let Ok(HostMessage::Welcome(read)) = HostMessage::decode(&body) else { panic!("our own message is refused") };
    assert_eq!(read.session, "€".repeat(85));
}

#[test]
fn a_stream_is_cut_into_messages_however_it_arrives() {
    let mut random = Random(3);
    let sent: Vec<ViewerMessage> = (0..500).map(|_| viewer_message(&mut random)).collect();
    let mut bytes = Vec::new();
    sent.iter().for_each(|m| m.encode(&mut bytes));
    for piece_max in [1, 2, 7, 5_000] {
        let (mut splitter, mut received, mut left) = (Splitter::new(limits::MESSAGE_BYTES_MAX), Vec::new(), &bytes[..]);
        while !left.is_empty() {
            let (piece, rest) = left.split_at((1 + random.below(piece_max) as usize).min(left.len()));
            left = rest;
            splitter.handle_bytes(piece);
            while let Some(body) = splitter.poll_message().unwrap() {
                received.push(ViewerMessage::decode(&body).unwrap());
            }
        }
        assert!(received == sent, "pieces of up to {piece_max}");
    }
    let length = |limit: usize, head: &[u8]| {
        let mut splitter = Splitter::new(limit);
        splitter.handle_bytes(head);
        splitter.poll_message()
    };
    assert_eq!(length(100, &[0]), Err(WireError::Length(0)));
    assert_eq!(length(100, &[100]), Ok(None));
    assert_eq!(length(100, &[101]), Err(WireError::Length(101)));
    assert_eq!(length(limits::MESSAGE_BYTES_MAX, &[0x80, 0x80, 4]), Ok(None));
    assert_eq!(length(limits::MESSAGE_BYTES_MAX, &[0x81, 0x80, 4]), Err(WireError::Length(65_537)));
    assert!(matches!(length(100, &[0xff; 5]), Err(WireError::Read(_))));
}

/// 100,000 inputs through every parser: noise, and good bytes with some of them changed.
#[test]
fn hostile_bytes_are_refused_and_never_panic() {
    let mut random = Random(99);
    for case in 0..100_000u32 {
        let mut bytes: Vec<u8> = match case % 4 {
            0 => (0..random.below(48)).map(|_| random.next() as u8).collect(),
            1 => body_of(|out| viewer_message(&mut random).encode(out)),
            2 => body_of(|out| input_message(&mut random).encode(out)),
            _ => body_of(|out| host_message(&mut random).encode(out)),
        };
        for _ in 0..random.below(4) {
            if !bytes.is_empty() {
                let at = random.below(bytes.len() as u32) as usize;
                bytes[at] = random.next() as u8;
            }
        }
        fuzz::viewer_message(&bytes);
        fuzz::host_message(&bytes);
        fuzz::input_message(&bytes);
        fuzz::cursor_shape(&bytes);
        fuzz::relay(&bytes);
        fuzz::splitter(&bytes);
        let _ = Frame::parse(bytes.into(), Size::new(200, 150));
    }
}
