//! What must hold for any bytes: one function for each fuzz target, shared by `fuzz/` and `tests/it/fuzz_regression`.
//!
//! Each of them panics if the code under test does, or if a promise of it is broken.

#![allow(dead_code, unreachable_pub, reason = "each fuzz target uses one of these")]

#[path = "frames.rs"]
pub mod frames;
#[path = "net.rs"]
pub mod net;

use bytes::{Bytes, BytesMut};
use kachel::codec::canvas::{Canvas, Picture};
use kachel::codec::ctx::dictionary::Dictionary;
use kachel::codec::ctx::encode::{CtxEncoder, Pixels};
use kachel::codec::ctx::model::Canvas as Walk;
use kachel::codec::ctx::tables::COSTS;
use kachel::codec::encode::{Encoder, FRAME_BYTES_TARGET, View};
use kachel::codec::format::{
    CACHE_SLOTS, Content, FRAME_BYTES_MAX, Frame, FrameHeader, HARVESTS_MAX, SectionWriter, TileRecord,
    WAVE_LANE_BYTES_MAX,
};
use kachel::codec::plan::{Plan, Wave};
use kachel::codec::stage::harvest;
use kachel::codec::wave::encode::WaveEncoder;
use kachel::codec::wave::lift::{forward, inverse, place};
use kachel::codec::wave::{COEFFICIENT_MAX, LANE_BANDS, color, shift, tone};
use kachel::geom::{BlockMask, Rect, Size, TILE, TileGrid, TileIndex};
use kachel::proto::print::host::{ENDED_MAX, HostJobs};
use kachel::proto::print::journal::{RECORD_BYTES_MAX, append};
use kachel::proto::print::viewer::ViewerJobs;
use kachel::proto::screen::assembler::Assembler;
use kachel::proto::sound::jitter::{JitterBuffer, Playout};
use kachel::proto::sound::packet::{SoundPacket, frame_samples};
use kachel::proto::wire::{self, Relay, Splitter, WireError, single_message};
use net::{Path, World};
use std::collections::BTreeSet;
use std::time::Duration;

/// Panics if a promise does not hold for these bytes.
pub type Oracle = fn(&[u8]);

/// All oracles by the name of their target, which is also the name of their folder in `tests/data/fuzz`.
pub const ORACLES: [(&str, Oracle); 17] = [
    ("assembler", assembler),
    ("ctx", ctx),
    ("cursor_shape", cursor_shape),
    ("frame_parse", frame_parse),
    ("frames", frames),
    ("host_message", host_message),
    ("input_message", input_message),
    ("ipp_head", ipp_head),
    ("ipp_words", ipp_words),
    ("print_journal", print_journal),
    ("relay", relay),
    ("session_pair", session_pair),
    ("sound_packet", sound_packet),
    ("splitter", splitter),
    ("tile_roundtrip", tile_roundtrip),
    ("viewer_message", viewer_message),
    ("wave", wave),
];

/// The screen of [`frame_parse`]: cut tiles and cut blocks at both edges.
const SCREEN: Size = Size::new(200, 150);
/// Larger screens are parsed and not drawn: they would only cost memory.
const DRAWN_PIXELS_MAX: u64 = 1 << 17;

/// A frame that parses stays inside its screen, its cache and its bytes, and can be drawn.
pub fn frame_parse(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let Ok(frame) = Frame::parse(bytes.clone(), SCREEN) else { return };
    let size = frame.header.key.unwrap_or(SCREEN);
    let grid = TileGrid::new(size);
    assert!(bytes.len() <= FRAME_BYTES_MAX && frame.header.depends_on < frame.header.sequence);
    for store in &frame.stores {
        assert!(store.slot < CACHE_SLOTS && store.tile.0 < grid.count());
    }
    for uncover in &frame.uncovers {
        assert!(uncover.slot < CACHE_SLOTS && uncover.tile.0 < grid.count());
    }
    for amend in &frame.amends {
        assert!(amend.slot < CACHE_SLOTS && amend.tile.0 < grid.count());
    }
    for (i, copy) in frame.copies.iter().enumerate() {
        assert!(size.rect().contains(copy.source) && size.rect().contains(copy.destination()));
        assert!(frame.copies[..i].iter().all(|c| !c.destination().intersects(copy.destination())));
    }
    assert!(frame.harvests.len() <= HARVESTS_MAX && frame.harvests.is_sorted());
    let mut written = vec![BlockMask::NONE; grid.count() as usize];
    for (i, record) in frame.tiles.iter().enumerate() {
        assert!(record.tile.0 < grid.count() && !record.blocks.is_empty());
        assert!(record.blocks.0 & !grid.visible(record.tile).0 == 0, "an invisible block");
        let before = &mut written[record.tile.0 as usize];
        assert!(before.0 & record.blocks.0 == 0, "a block written twice");
        before.0 |= record.blocks.0;
        let starts_again = i == 0 || frame.harvests.contains(&i);
        assert!(starts_again || frame.tiles[i - 1].tile <= record.tile, "tiles do not ascend");
        match &record.content {
            Content::Solid(color) => assert!(*color <= 0x00ff_ffff),
            Content::Cache(slot) => assert!(*slot < CACHE_SLOTS),
            Content::Pack { colors, palette, indices } => {
                assert!((2..=16).contains(&colors.len()) && palette + 3 * colors.len() <= indices.start);
                assert!(indices.end <= bytes.len());
            }
            Content::Ctx { head, streams, lengths, .. } => {
                let words: usize = lengths.iter().map(|l| usize::from(*l)).sum();
                assert!(head.lanes <= lengths.len() && streams + 2 * words <= bytes.len());
            }
            Content::Wave { streams, lengths, .. } => {
                let bytes_used: usize = lengths.iter().map(|l| usize::from(*l)).sum();
                assert!(lengths.iter().all(|l| u32::from(*l) <= WAVE_LANE_BYTES_MAX));
                assert!(streams + bytes_used <= bytes.len());
            }
            Content::Raw(pixels) => {
                assert!(pixels.end <= bytes.len() && pixels.len() == record.blocks.count() as usize * 768);
            }
        }
    }
    if size.area() > DRAWN_PIXELS_MAX {
        return;
    }
    let mut canvas = Canvas::new();
    canvas.apply(&Plan { key: Some(size), ..Plan::default() });
    let plan = Plan::new(&frame, grid, |_| BlockMask::ALL);
    assert!(plan.damage.iter().all(|r| size.rect().contains(*r)));
    canvas.apply(&plan);
    assert!(canvas.screen.size == size && canvas.screen.pixels.iter().all(|p| *p <= 0x00ff_ffff));
    // With some blocks written by later frames, nothing but the others changes.
    let mut other = Canvas::new();
    other.apply(&Plan { key: Some(size), ..Plan::default() });
    other.apply(&Plan::new(&frame, grid, |tile| BlockMask(0x5a5a ^ tile.0 as u16)));
}

/// Sound frames of every kind, with damaged payloads, and those of a desktop: only what a plan names as damage changes, and
/// the viewer of the desktop holds the same pixels in the end.
pub fn frames(data: &[u8]) {
    let mut before = Picture::default();
    frames::play(data, &mut |plan, screen| {
        assert!(screen.pixels.iter().all(|p| *p <= 0x00ff_ffff));
        assert!(plan.key.is_some() || before.size == screen.size);
        for damage in &plan.damage {
            assert!(screen.size.rect().contains(*damage));
            if plan.key.is_none() {
                let rows = (damage.y..damage.bottom()).map(|y| (y * screen.size.w + damage.x) as usize);
                for row in rows.map(|start| start..start + damage.w as usize) {
                    before.pixels[row.clone()].copy_from_slice(&screen.pixels[row]);
                }
            }
        }
        if plan.key.is_some() {
            before = screen.clone();
        }
        assert!(before == *screen, "something changed outside the damage");
    });
}

/// Whatever is drawn, the viewer holds the same pixels.
pub fn tile_roundtrip(data: &[u8]) {
    let mut next = data.iter().map(|b| u32::from(*b));
    let (Some(w), Some(h)) = (next.next(), next.next()) else { return };
    let size = Size::new(1 + w % 160, 1 + h % 160);
    let mut screen = Picture::new(size);
    let mut encoder = Encoder::new(size);
    let (mut assembler, mut canvas) = (Assembler::new(), Canvas::new());
    let mut now = Duration::ZERO;
    let mut operations = 0;
    while let (Some(kind), Some(x), Some(y), Some(w), Some(h), Some(a)) =
        (next.next(), next.next(), next.next(), next.next(), next.next(), next.next())
    {
        operations += 1;
        if operations > 16 {
            break;
        }
        let r = Rect::new(x % size.w, y % size.h, 1 + w, 1 + h).intersection(size.rect());
        let old = screen.clone();
        for py in r.y..r.bottom() {
            for px in r.x..r.right() {
                let pixel = &mut screen.pixels[(py * size.w + px) as usize];
                let grain =
                    (px.wrapping_mul(0x9e37_79b9) ^ py.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0xc2b2_ae35) >> 29;
                *pixel = match kind % 6 {
                    _ if kind & 0x10 != 0 => (((px + py * 2 + a) / 2 % 200 + grain) * 0x0001_0101) ^ (a << 2),
                    0 => a * 0x0101_0101,
                    1 => ((px + py * 3) % (2 + a % 20)) * 0x0011_2233,
                    2 => px.wrapping_mul(0x9e37_79b9) ^ py.wrapping_mul(0x85eb_ca6b) ^ a,
                    3 => old.row((py + a) % size.h)[px as usize],
                    4 => old.row(py)[((px + a) % size.w) as usize],
                    _ => *pixel ^ (a << 8),
                };
            }
        }
        encoder.handle_damage(r);
        if kind & 0x40 != 0 {
            encoder.handle_refresh();
        }
        now += Duration::from_millis(u64::from(a) * 4);
        if kind & 0x80 != 0 {
            continue;
        }
        let mut frames = Vec::new();
        while encoder.has_work() {
            let budget = if kind & 0x20 != 0 { 1_500 } else { FRAME_BYTES_TARGET };
            frames.extend(encoder.encode(&View::of(&screen), 0, now, budget));
        }
        while let Some(at) = encoder.refine_at() {
            now = now.max(at);
            frames.push(encoder.refine(0, now, FRAME_BYTES_TARGET).expect("its time has come"));
        }
        frames::deliver(frames, a, &mut assembler, &mut canvas, &mut |_, _| {});
        assert_eq!(canvas.screen.size, size);
        assert!(screen.pixels.iter().zip(&canvas.screen.pixels).all(|(a, b)| a & 0x00ff_ffff == *b), "pixels differ");
        assert!(canvas.screen == *encoder.held(), "the host does not know what the viewer holds");
    }
}

/// A wavelet tile: the bytes as a payload that no encoder made, and as pixels, of which comes back what the quantiser leaves
/// of their coefficients, bit by bit, and nearly what they were unless coefficients were cut.
pub fn wave(data: &[u8]) {
    let Some((&[quantiser, low, high], rest)) = data.split_first_chunk::<3>() else { return };
    let size = Size::new(TILE, TILE);
    let mut canvas = Canvas::new();
    let job = |lengths| Wave {
        origin: 0,
        blocks: 0xffff | u32::from(low) << 16 | u32::from(high) << 24,
        quantiser: quantiser.into(),
        base: u32::from(low) << 16 | u32::from(high) << 8 | u32::from(quantiser),
        streams: 0,
        lengths,
        pad: 0,
    };
    let each = (rest.len() / 12).min(WAVE_LANE_BYTES_MAX as usize) as u32;
    let bytes = Bytes::copy_from_slice(rest);
    canvas.apply(&Plan { key: Some(size), waves: vec![job([each | each << 16; 6])], bytes, ..Plan::default() });
    assert!(canvas.screen.pixels.iter().all(|p| *p <= 0x00ff_ffff));

    let quantiser = quantiser % 8;
    let (blocks, last) = (BlockMask(u16::from_le_bytes([low, high]).max(1)), rest.len().max(1));
    let byte = |i: usize| u32::from(*rest.get(i % last).unwrap_or(&0));
    let pixels = std::array::from_fn(|i| byte(3 * i) | byte(3 * i + 1) << 8 | byte(3 * i + 2) << 16);
    let (mut payload, mut out, mut sections) = (Vec::new(), Vec::new(), SectionWriter::new());
    WaveEncoder::new().write(&pixels, blocks, quantiser, &mut payload);
    sections.wave(TileIndex(0), Some(blocks), &payload);
    FrameHeader { sequence: 1, depends_on: 0, input: 0, key: Some(size), more: false, lossy: true }.write(&mut out);
    sections.finish(&mut out);
    let frame = Frame::parse(out.into(), size).expect("our own frame");
    let mut canvas = Canvas::new();
    canvas.apply(&Plan::new(&frame, TileGrid::new(size), |_| BlockMask::ALL));
    let (left, is_cut) = left_by_quantiser(&frame, &pixels, quantiser);
    for (i, (found, pixel)) in canvas.screen.pixels.iter().zip(&pixels).enumerate() {
        let is_coded = blocks.contains((i / 64 / 16 * 4 + i % 64 / 16) as u32);
        assert_eq!(*found, if is_coded { left[i] } else { 0 }, "pixel {i}, which was {pixel:06x}");
        let apart = [0, 8, 16].map(|s| (found >> s & 255).abs_diff(pixel >> s & 255)).into_iter().max();
        // A coefficient is off by a step at most, and a pixel is made of a few of each level.
        let is_as_promised = !is_coded || is_cut || apart <= Some(40 << quantiser);
        assert!(is_as_promised, "pixel {i} is {found:06x}, not {pixel:06x}");
    }
}

/// What the lossy mode makes of a tile without a payload between: PROTOCOL.md, "Mode WAVE". Also whether coefficients are
/// cut because they are too large, as only noise has them.
fn left_by_quantiser(frame: &Frame, pixels: &Pixels, quantiser: u8) -> (Pixels, bool) {
    let [TileRecord { blocks, content: Content::Wave { head, .. }, .. }] = &*frame.tiles else {
        panic!("one tile was written")
    };
    let (base, most) = (tone(head.base), COEFFICIENT_MAX.unsigned_abs());
    let mut is_cut = false;
    let mut planes = [[[0; 64]; 64]; 3];
    for (component, plane) in planes.iter_mut().enumerate() {
        for (i, pixel) in pixels.iter().enumerate() {
            let (x, y) = (i % 64, i / 64);
            let is_coded = blocks.contains((y / 16 * 4 + x / 16) as u32);
            plane[y][place(x)] = if is_coded { tone(*pixel)[component] - base[component] } else { 0 };
        }
        forward(plane);
        for band in LANE_BANDS.into_iter().flatten() {
            let shift = shift(quantiser, component, band.level);
            for row in &mut plane[band.y..][..band.side] {
                for value in &mut row[band.x..][..band.side] {
                    is_cut |= value.unsigned_abs() > most;
                    let steps = value.unsigned_abs().min(most) >> shift;
                    let size = if steps > 0 { ((steps << shift) + (1 << shift >> 1)).min(most) } else { 0 };
                    *value = value.signum() * size.cast_signed();
                }
            }
        }
        inverse(plane);
    }
    let at = |i: usize, component: usize| planes[component][i / 64][place(i % 64)] + base[component];
    (std::array::from_fn(|i| color([at(i, 0), at(i, 1), at(i, 2)])), is_cut)
}

/// Tiles of pixels one after the other, entropy-coded with what was harvested of those before: they come back exactly, cost
/// about what was measured, and a damaged payload is no frame or is drawn.
pub fn ctx(data: &[u8]) {
    let mut input = frames::Input(data);
    let size = Size::new(TILE, TILE);
    let (mut encoder, mut dictionary, mut canvas) = (CtxEncoder::new(), Dictionary::new(), Canvas::new());
    canvas.apply(&Plan { key: Some(size), ..Plan::default() });
    for sequence in 2..10 {
        if input.is_empty() {
            break;
        }
        let (what, mask) = (input.byte(), BlockMask(input.word() as u16));
        let blocks = if what & 1 == 0 || mask.is_empty() { BlockMask::ALL } else { mask };
        let pixels = input.pixels();
        let (mut payload, mut out, mut sections) = (Vec::new(), Vec::new(), SectionWriter::new());
        let former: Box<Pixels> = Box::new(std::array::from_fn(|i| canvas.screen.pixels[i]));
        let former = (what & 8 != 0).then_some(&*former);
        let measured = encoder.measure(&pixels, former, blocks, (what & 6 != 0).then_some(&dictionary), &COSTS);
        encoder.write(&measured, &COSTS, &mut payload);
        assert!(payload.len().abs_diff(measured.bytes) <= 24 + payload.len() / 50, "it costs what was not measured");
        sections.ctx(TileIndex(0), (blocks != BlockMask::ALL).then_some(blocks), measured.set, &payload);
        sections.harvest();
        FrameHeader { sequence, depends_on: sequence - 1, input: 0, key: None, more: false, lossy: false }
            .write(&mut out);
        sections.finish(&mut out);

        let mut damaged = out.clone();
        let at = out.len() - 1 - input.word() as usize % (payload.len() + 2);
        damaged[at] ^= input.byte() as u8;
        if let Ok(frame) = Frame::parse(damaged.into(), size) {
            canvas.clone().apply(&Plan::new(&frame, TileGrid::new(size), |_| BlockMask::ALL));
        }

        let before = canvas.screen.clone();
        let frame = Frame::parse(out.into(), size).expect("our own frame");
        let plan = Plan::new(&frame, TileGrid::new(size), |_| BlockMask::ALL);
        canvas.apply(&plan);
        harvest::run(&plan.harvests, &canvas.screen, &mut Walk::new(), &mut dictionary);
        for (i, found) in canvas.screen.pixels.iter().enumerate() {
            let is_coded = blocks.contains((i / 64 / 16 * 4 + i % 64 / 16) as u32);
            assert_eq!(*found, if is_coded { pixels[i] } else { before.pixels[i] }, "pixel {i}");
        }
    }
}

/// Each byte sequence is one message at most, and each message one byte sequence.
fn message<T>(data: &[u8], decode: impl Fn(&[u8]) -> Result<T, WireError>, encode: impl Fn(&T, &mut Vec<u8>)) {
    let Ok(message) = decode(data) else { return };
    let mut framed = Vec::new();
    encode(&message, &mut framed);
    assert_eq!(single_message(&framed).expect("our own length"), data, "two forms of one message");
}

/// A viewer's control message.
pub fn viewer_message(data: &[u8]) {
    message(data, wire::ViewerMessage::decode, wire::ViewerMessage::encode);
}

/// A host's control message.
pub fn host_message(data: &[u8]) {
    message(data, wire::HostMessage::decode, wire::HostMessage::encode);
}

/// An input message.
pub fn input_message(data: &[u8]) {
    message(data, wire::InputMessage::decode, wire::InputMessage::encode);
}

/// What a program asks for of a job, and what a print system says of its printers: whatever it is, it goes over the wire.
pub fn ipp_words(data: &[u8]) {
    #[cfg(all(unix, feature = "host", feature = "viewer"))]
    {
        use kachel::io::ipp::{client, head, printer};
        use kachel::proto::wire::print::{JobId, JobOffer, PrintWish, PrintWord, Printer, PrinterKey};
        let Ok(Some(head)) = head(data) else { return };
        let media = ["iso_a4_210x297mm", "na_letter_8.5x11in"].map(str::to_owned).to_vec();
        let sources = vec!["tray-1".to_owned(), "tray-2".to_owned()];
        for is_rich in [false, true] {
            let printer = Printer {
                key: PrinterKey([1; 16]),
                name: "printer".into(),
                is_default: true,
                color: is_rich,
                duplex: is_rich,
                ready: true,
                media: if is_rich { media.clone() } else { Vec::new() },
                sources: if is_rich { sources.clone() } else { Vec::new() },
            };
            let (job, title, options) = printer::read_job(&head, &printer);
            let job = job.unwrap_or(JobId([2; 16]));
            let offer = JobOffer { job, printer: printer.key, size: 1, sha256: [3; 32], title, options };
            let said = wire::HostMessage::Print(PrintWord::Offer(offer));
            let mut bytes = Vec::new();
            said.encode(&mut bytes);
            assert_eq!(single_message(&bytes).and_then(wire::HostMessage::decode), Ok(said));
        }
        let mut printers = client::read_printers(&head, &[4; 16]);
        // Who names a printer twice has one; `viewer::printers` leaves the others out.
        let mut keys = BTreeSet::new();
        printers.retain(|p| keys.insert(p.key.0));
        let said = wire::ViewerMessage::Print(PrintWish::Printers(printers));
        let mut bytes = Vec::new();
        said.encode(&mut bytes);
        assert_eq!(single_message(&bytes).and_then(wire::ViewerMessage::decode), Ok(said));
    }
    #[cfg(not(all(unix, feature = "host", feature = "viewer")))]
    let _ = data;
}

/// The head of an IPP message: within its bytes, its words within the wire's bounds, the same in pieces as at once, and what
/// is written of it and read again says the same.
pub fn ipp_head(data: &[u8]) {
    #[cfg(feature = "print")]
    {
        use kachel::io::ipp::{HeadReader, each, head, write};
        let whole = head(data);
        let mut reader = HeadReader::default();
        let piece = 1 + usize::from(*data.last().unwrap_or(&0)) % 64;
        let ends = (piece..data.len()).step_by(piece).chain([data.len()]);
        let pieces =
            ends.map(|end| reader.read(&data[..end])).find(|read| !matches!(read, Ok(None))).unwrap_or(Ok(None));
        assert_eq!(format!("{whole:?}"), format!("{pieces:?}"), "in pieces it is another one");

        let Ok(Some(first)) = whole else { return };
        assert!(first.length <= data.len());
        let mut written = first.header.to_bytes().to_vec();
        for group in first.attributes.groups() {
            written.push(group.tag() as u8);
            for attribute in group.attributes() {
                let name = attribute.name();
                assert!(first.text(name.as_str()).is_none_or(|t| t.len() <= 255 && !t.contains(char::is_control)));
                first.number(name.as_str());
                // The crate writes all values of an attribute with the tag of the first.
                for (i, value) in each(attribute.value()).iter().enumerate() {
                    let name = if i == 0 { name.as_str() } else { "" };
                    written.extend_from_slice(&write::attribute(name, value.clone()).to_bytes());
                }
            }
        }
        written.push(3);
        let again = head(&written).expect("it was read before").expect("all of it");
        assert_eq!(again.length, written.len());
        assert_eq!(format!("{:?}", again.attributes), format!("{:?}", first.attributes));
    }
    #[cfg(not(feature = "print"))]
    let _ = data;
}

/// A journal of print jobs, of either end: what is read from it can be written again and says the same, within bounds. The
/// bytes are a journal, and once more its records, each behind its length in two bytes: no fuzzer guesses their checksums.
pub fn print_journal(data: &[u8]) {
    journal_bytes(data);
    let (mut journal, mut rest) = (Vec::new(), data);
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (body, behind) = behind.split_at(usize::from(u16::from_le_bytes(*length)).min(behind.len()));
        if (1..=RECORD_BYTES_MAX).contains(&body.len()) {
            append(&mut journal, body);
        }
        rest = behind;
    }
    journal_bytes(&journal);
}

fn journal_bytes(data: &[u8]) {
    let (host, _) = HostJobs::recover(data, Duration::ZERO);
    // Open ones are as many as the file has: none is left out.
    assert!(host.jobs().iter().filter(|job| job.state.is_some_and(|state| state.is_end())).count() <= ENDED_MAX);
    let written = host.snapshot();
    let (again, errors) = HostJobs::recover(&written, Duration::ZERO);
    assert_eq!(errors, [], "our own journal says nothing");
    assert_eq!(again.snapshot(), written);
    let viewer = ViewerJobs::recover(data);
    let written = viewer.snapshot();
    assert!(written.len() <= data.len());
    assert_eq!(ViewerJobs::recover(&written).snapshot(), written);
}

/// A cursor shape.
pub fn cursor_shape(data: &[u8]) {
    let Ok(shape) = wire::CursorShape::decode(data) else { return };
    assert!(shape.pixels.len() as u64 == shape.size.area() && shape.hot.x < shape.size.w && shape.hot.y < shape.size.h);
    let mut bytes = Vec::new();
    shape.encode(&mut bytes);
    assert_eq!(bytes, data, "two forms of one shape");
}

/// Relay messages one after the other.
pub fn relay(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    let mut written = Vec::new();
    while let Ok(Some(message)) = Relay::decode(&mut buffer) {
        message.encode(&mut written);
        assert!(data.starts_with(&written), "two forms of one message");
    }
}

/// A stream cut into messages, in pieces whose size the first byte says.
pub fn splitter(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let mut splitter = Splitter::new(usize::from(first) * 16 + 1);
    let mut written = Vec::new();
    'pieces: for piece in data.chunks(usize::from(first % 32) + 1) {
        splitter.handle_bytes(piece);
        loop {
            match splitter.poll_message() {
                Ok(Some(body)) => {
                    assert!((1..=usize::from(first) * 16 + 1).contains(&body.len()));
                    kachel::codec::bytes::put_varint(&mut written, body.len() as u32);
                    written.extend_from_slice(&body);
                }
                Ok(None) => break,
                Err(_) => break 'pieces,
            }
        }
    }
    assert!(data.starts_with(&written), "bytes were lost or made up");
}

/// Datagrams of sound, each with its length and the milliseconds before it: one form each, and what is played of them is
/// bounded in number, depth and speed.
pub fn sound_packet(mut data: &[u8]) {
    let mut jitter = JitterBuffer::new();
    let mut now = Duration::ZERO;
    while let Some((&[length, pause], rest)) = data.split_first_chunk::<2>() {
        let (datagram, rest) = rest.split_at(usize::from(length).min(rest.len()));
        (data, now) = (rest, now + Duration::from_millis(pause.into()));
        if let Ok(packet) = SoundPacket::decode(Bytes::copy_from_slice(datagram)) {
            let mut bytes = Vec::new();
            packet.encode(&mut bytes);
            assert_eq!(bytes, datagram, "two forms of one packet");
            assert!(frame_samples(&packet.frame).is_some());
            jitter.handle_packet(packet, now);
        }
        for turn in 0.. {
            assert!(turn < 40, "more is played than is kept");
            match jitter.poll_playout(now) {
                Playout::Idle => break,
                Playout::Frame(frame) | Playout::Skip(frame) | Playout::Recover(frame) => {
                    assert!(frame_samples(&frame).is_some());
                }
                Playout::Conceal => {}
            }
            if turn as u8 >= pause % 8 {
                break;
            }
        }
        assert!((jitter.speed() - 1.0).abs() < 0.0041 && jitter.depth(now) <= kachel::limits::SOUND_DELAY_MAX);
    }
}

/// Frames one after the other, each with its length in two bytes before it.
pub fn assembler(mut data: &[u8]) {
    let (mut assembler, mut canvas) = (Assembler::new(), Canvas::new());
    let mut complete = 0;
    while let Some((length, rest)) = data.split_first_chunk::<2>() {
        let (frame, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        data = rest;
        if FrameHeader::parse(frame).is_ok_and(|(h, _)| h.key.is_some_and(|size| size.area() > DRAWN_PIXELS_MAX)) {
            continue;
        }
        if assembler.handle_frame(Bytes::copy_from_slice(frame)).is_err() {
            return;
        }
        loop {
            match assembler.poll_update() {
                Ok(Some(update)) => {
                    canvas.apply(&update.plan);
                    assert!(update.complete >= complete, "frames that were complete are no longer");
                    complete = update.complete;
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// Host and viewer over a virtual network: the bytes are the way's nature and what happens at both ends.
pub fn session_pair(data: &[u8]) {
    let Some((head, script)) = data.split_first_chunk::<4>() else { return };
    let path = Path {
        delay: Duration::from_millis(1 + u64::from(head[0] % 100)),
        jitter: Duration::from_millis(u64::from(head[1] % 50)),
        loss_percent: u32::from(head[2] % 25),
    };
    let mut world = World::new(Size::new(150, 100), path, u64::from(head[3]));
    for &what in script.iter().take(60) {
        match what {
            0..=239 => world.act(what.into()),
            240..=244 => world.break_connection(),
            245..=249 => world.cut(Duration::from_millis(u64::from(what - 244) * 700)),
            _ => world.replace_session(),
        }
        world.run(Duration::from_millis(u64::from(what % 7) * 8));
    }
    world.settle();
}
