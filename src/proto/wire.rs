//! Messages to bytes and back: control, input, cursor shapes, and the relay between front and session process.
//!
//! The only place of the protocol that knows byte order (frames: `codec::format`). PROTOCOL.md specifies the same in
//! prose; `tests/it/wire.rs` holds its examples. Nothing here decides anything. Printing's messages: [`print`].

mod marks;
pub mod print;

use crate::codec::bytes::{ReadError, Reader, put_varint};
use crate::codec::marks::{Agreement, TileMarks};
use crate::geom::{Point, Size};
use crate::limits::{CURSOR_SIDE_MAX, CURSORS_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, RELAY_BYTES_MAX};
use bytes::{Buf, Bytes, BytesMut};
use print::{PrintWish, PrintWord};
use thiserror::Error;

/// Version of the protocol that this build speaks.
pub const VERSION: u16 = 1;

/// Capability: the host sends what its session plays.
pub const CAPABILITY_SOUND: u32 = 1;
/// Capability: the host takes what the viewer's microphone hears, once the user has switched it on.
pub const CAPABILITY_MICROPHONE: u32 = 2;

/// First byte of the viewer's input stream.
pub const STREAM_INPUT: u8 = 0x01;
/// First byte of a host's stream that carries one frame.
pub const STREAM_FRAME: u8 = 0x10;
/// First byte of a host's stream that carries one cursor shape.
pub const STREAM_CURSOR: u8 = 0x11;

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// A value is cut off or malformed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The message is longer than its limit.
    #[error("message of {0} bytes is too long")]
    Length(usize),
    /// The type is unknown in this direction.
    #[error("message type {0:#04x} is unknown")]
    Type(u8),
    /// The message is longer than its content.
    #[error("{count} bytes follow the content of message type {kind:#04x}")]
    Trailing {
        /// The message's type.
        kind: u8,
        /// How many bytes.
        count: usize,
    },
    /// A field has a value that it cannot have.
    #[error("field {field} cannot be {value}")]
    Value {
        /// Its name in PROTOCOL.md.
        field: &'static str,
        /// What was found.
        value: u32,
    },
    /// A text is not UTF-8, too long, or holds control characters.
    #[error("field {0} is not a plain short text")]
    Text(&'static str),
}

/// Why a connection was closed by one end: the QUIC application error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum CloseCode {
    /// The user left; the session goes on.
    Bye = 0,
    /// The peer broke the protocol.
    Protocol = 1,
    /// No common version.
    Version = 2,
    /// The device is not, or no longer, on the host's list.
    UnknownDevice = 3,
    /// Another viewer took over the session.
    TakenOver = 4,
    /// The desktop ended: the user logged out, or an administrator ended it.
    Ended = 5,
    /// The host cannot start or reach the desktop.
    NoDesktop = 6,
    /// The host stops; it will come back.
    Restarting = 7,
    /// The host has as many viewers as it takes.
    Full = 8,
    /// The peer was too slow to say hello.
    Timeout = 9,
}

/// Lock keys, each on or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockKeys {
    /// Caps Lock.
    pub caps: bool,
    /// Num Lock.
    pub num: bool,
    /// Scroll Lock.
    pub scroll: bool,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAction {
    /// It went up.
    Release = 0,
    /// It went down.
    Press = 1,
    /// It is held and repeats; the viewer's keyboard sets the rhythm, so that a stalled link types nothing by itself.
    Repeat = 2,
}

/// A pointer button.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PointerButton {
    /// The main button.
    Left = 1,
    /// The wheel.
    Middle = 2,
    /// The one with the menu.
    Right = 3,
    /// Back, at the thumb.
    Back = 8,
    /// Forward, at the thumb.
    Forward = 9,
}

/// Viewer to host, on the control stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewerMessage {
    /// The first message.
    Hello(Hello),
    /// The picture's new place has this size in physical pixels; the user has stopped resizing.
    Viewport(Size),
    /// The frame with this number, and all before it, are on the screen.
    FrameShown(u32),
    /// The window can (or cannot) be seen; while it cannot, the host sends no frame.
    Visible(bool),
    /// Something is wrong with the picture: start again with a key frame.
    Refresh,
    /// What came of [`HostMessage::Marks`].
    Agreement(Agreement),
    /// About printers and print jobs.
    Print(PrintWish),
    /// How the session's sound is to be sent.
    Sound(SoundWish),
    /// The user switched the microphone on or off; packets count only while it is on.
    Microphone(bool),
}

/// How a viewer wants the session's sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum SoundWish {
    /// Not at all.
    Nothing = 0,
    /// Each frame in one packet.
    #[default]
    Once = 1,
    /// Each frame in two packets, as some are lost.
    Twice = 2,
}

/// The viewer's first words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Highest version it speaks.
    pub version: u16,
    /// Bit set of what it can besides; none is defined in version 1, unknown ones are ignored.
    pub capabilities: u32,
    /// Size of the picture's place in physical pixels.
    pub viewport: Size,
    /// Scale of the viewer's screen in percent, for the desktop's fonts.
    pub scale_percent: u16,
    /// Keyboard layout in X's words, "de", "ch", "us".
    pub layout: String,
    /// Its variant in X's words, "nodeadkeys", or nothing.
    pub variant: String,
    /// The user's language, "de-DE".
    pub locale: String,
}

/// Host to viewer, on the control stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostMessage {
    /// The answer to hello.
    Welcome(Welcome),
    /// The session's pointer looks like this shape from now on; 0 hides it.
    Cursor(u32),
    /// What the host is doing before the first frame.
    Progress(Progress),
    /// The session's lock keys.
    Locks(LockKeys),
    /// What settled tiles must look like.
    Marks(TileMarks),
    /// About print jobs.
    Print(PrintWord),
    /// A program in the session listens to the microphone, or no longer does. Information: it switches nothing.
    Listening(bool),
}

/// The host's answer to hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version both use.
    pub version: u16,
    /// Bit set of what both can besides.
    pub capabilities: u32,
    /// The session's name, for the window's title.
    pub session: String,
}

/// Steps on the way to the first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The X server and the desktop are being started.
    StartingDesktop = 1,
    /// The session process is being started again; the desktop went on.
    ResumingDesktop = 2,
    /// The desktop is there.
    Ready = 3,
}

/// One input event with its number, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputMessage {
    /// The number of the event in its connection; each is the one before plus 1.
    pub number: u32,
    /// What happened.
    pub event: InputEvent,
}

/// What a user did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputEvent {
    /// A key, by its USB HID usage on page 0x07: the place on the keyboard, not the letter.
    Key {
        /// 0x04 to 0xe7.
        usage: u16,
        /// What it did.
        action: KeyAction,
    },
    /// The pointer is here, in pixels of the session's screen.
    Motion(Point),
    /// A button.
    Button {
        /// Which.
        button: PointerButton,
        /// Whether it went down.
        pressed: bool,
    },
    /// The wheel turned, in 1/120 of a detent; positive is right and down.
    Wheel {
        /// Sideways.
        dx: i16,
        /// Up and down.
        dy: i16,
    },
    /// Every key and button is up: the window lost the focus.
    ReleaseAll,
    /// The viewer's lock keys; the host makes the session's equal.
    Locks(LockKeys),
}

/// A cursor shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorShape {
    /// 1 to [`CURSORS_MAX`]; a shape with a known number replaces the old one.
    pub id: u32,
    /// 1x1 to 256x256.
    pub size: Size,
    /// The pixel that points.
    pub hot: Point,
    /// `size.w * size.h` pixels, 0xAARRGGBB, colours multiplied by alpha.
    pub pixels: Vec<u32>,
}

/// Between front and session process, over a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relay {
    /// Front to session: a viewer came; what it said so far follows as [`Relay::Control`]. The session says the same back,
    /// and what it said before was for a viewer before.
    Attached {
        /// The device's name on the host's list.
        device: String,
        /// Frames that the viewer's connection has carried so far: the next one has the number after it. More than 0 if
        /// an earlier session process died.
        frames: u32,
        /// Input events that it has carried so far, likewise.
        inputs: u32,
    },
    /// Front to session: the viewer is gone.
    Detached,
    /// Front to session: the path to the viewer.
    Path(PathState),
    /// Either way: one control message, framed as on the stream.
    Control(Bytes),
    /// Front to session: one input message, framed as on the stream.
    Input(Bytes),
    /// Session to front: one frame for a stream of its own.
    Frame(Bytes),
    /// Session to front: one cursor shape for a stream of its own.
    Cursor(Bytes),
    /// Session to front: close the viewer's connection with this code.
    Close(u32),
    /// Either way: what the session tells about itself, as JSON; empty is the question.
    Status(Bytes),
    /// Session to front: a stream for a document begins; job and offset, as in the stream ([`print::document_head`]).
    DocumentBegin(Bytes),
    /// Session to front: further bytes of it.
    Document(Bytes),
    /// Session to front: it is whole.
    DocumentEnd,
    /// Either way, on the sound process' socket: one datagram of sound.
    Sound(Bytes),
    /// Either way, on the sound process' socket: one control message about sound, framed as on the stream.
    SoundControl(Bytes),
}

/// What the front knows about the way to the viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathState {
    /// Smoothed round trip in microseconds.
    pub rtt_us: u32,
    /// Congestion window in bytes.
    pub window_bytes: u32,
    /// Bytes of frames that the front has taken and not yet given to QUIC.
    pub queued_bytes: u32,
}

impl CloseCode {
    /// All codes.
    pub const ALL: [CloseCode; 10] = [
        CloseCode::Bye,
        CloseCode::Protocol,
        CloseCode::Version,
        CloseCode::UnknownDevice,
        CloseCode::TakenOver,
        CloseCode::Ended,
        CloseCode::NoDesktop,
        CloseCode::Restarting,
        CloseCode::Full,
        CloseCode::Timeout,
    ];

    /// The code with this number, if it is one of ours.
    pub fn from_number(number: u64) -> Option<CloseCode> {
        CloseCode::ALL.into_iter().find(|c| *c as u64 == number)
    }
}

impl LockKeys {
    fn bits(self) -> u8 {
        u8::from(self.caps) | u8::from(self.num) << 1 | u8::from(self.scroll) << 2
    }

    fn from_bits(bits: u8) -> Result<LockKeys, WireError> {
        if bits > 7 {
            return Err(WireError::Value { field: "locks", value: bits.into() });
        }
        Ok(LockKeys { caps: bits & 1 != 0, num: bits & 2 != 0, scroll: bits & 4 != 0 })
    }
}

impl PointerButton {
    /// The button with this number, X's own.
    pub fn from_number(number: u8) -> Option<PointerButton> {
        use PointerButton::{Back, Forward, Left, Middle, Right};
        [Left, Middle, Right, Back, Forward].into_iter().find(|b| *b as u8 == number)
    }
}

impl ViewerMessage {
    /// Appends the message with its length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        framed(out, |out| match self {
            ViewerMessage::Hello(h) => {
                out.push(0x01);
                out.extend_from_slice(&h.version.to_le_bytes());
                out.extend_from_slice(&h.capabilities.to_le_bytes());
                put_size(out, h.viewport);
                put_varint(out, h.scale_percent.into());
                put_text(out, &h.layout);
                put_text(out, &h.variant);
                put_text(out, &h.locale);
            }
            ViewerMessage::Viewport(size) => {
                out.push(0x02);
                put_size(out, *size);
            }
            ViewerMessage::FrameShown(sequence) => {
                out.push(0x03);
                put_varint(out, *sequence);
            }
            ViewerMessage::Visible(visible) => out.extend_from_slice(&[0x04, u8::from(*visible)]),
            ViewerMessage::Refresh => out.push(0x05),
            ViewerMessage::Agreement(answer) => marks::encode_agreement(answer, out),
            ViewerMessage::Print(wish) => wish.encode(out),
            ViewerMessage::Sound(wish) => out.extend_from_slice(&[0x08, *wish as u8]),
            ViewerMessage::Microphone(on) => out.extend_from_slice(&[0x09, u8::from(*on)]),
        });
    }

    /// Decodes a message without its length.
    ///
    /// # Errors
    /// [`WireError`] for anything that is not exactly one message.
    pub fn decode(body: &[u8]) -> Result<ViewerMessage, WireError> {
        whole(body, |kind, r| {
            Ok(match kind {
                0x01 => ViewerMessage::Hello(Hello {
                    version: r.u16()?,
                    capabilities: r.u32()?,
                    viewport: take_size(r)?,
                    scale_percent: take_scale(r)?,
                    layout: take_text(r, "layout")?,
                    variant: take_text(r, "variant")?,
                    locale: take_text(r, "locale")?,
                }),
                0x02 => ViewerMessage::Viewport(take_size(r)?),
                0x03 => ViewerMessage::FrameShown(r.varint()?),
                0x04 => ViewerMessage::Visible(take_bool(r, "visible")?),
                0x05 => ViewerMessage::Refresh,
                marks::KIND_AGREEMENT => ViewerMessage::Agreement(marks::decode_agreement(r)?),
                kind if PrintWish::is_kind(kind) => ViewerMessage::Print(PrintWish::decode(kind, r)?),
                0x08 => ViewerMessage::Sound(match r.u8()? {
                    0 => SoundWish::Nothing,
                    1 => SoundWish::Once,
                    2 => SoundWish::Twice,
                    other => return Err(WireError::Value { field: "wish", value: other.into() }),
                }),
                0x09 => ViewerMessage::Microphone(take_bool(r, "on")?),
                _ => return Err(WireError::Type(kind)),
            })
        })
    }
}

impl HostMessage {
    /// Appends the message with its length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        framed(out, |out| match self {
            HostMessage::Welcome(w) => {
                out.push(0x81);
                out.extend_from_slice(&w.version.to_le_bytes());
                out.extend_from_slice(&w.capabilities.to_le_bytes());
                put_text(out, &w.session);
            }
            HostMessage::Cursor(id) => {
                out.push(0x82);
                put_varint(out, *id);
            }
            HostMessage::Progress(step) => out.extend_from_slice(&[0x83, *step as u8]),
            HostMessage::Locks(locks) => out.extend_from_slice(&[0x84, locks.bits()]),
            HostMessage::Marks(marks) => marks::encode_marks(marks, out),
            HostMessage::Print(word) => word.encode(out),
            HostMessage::Listening(listening) => out.extend_from_slice(&[0x88, u8::from(*listening)]),
        });
    }

    /// Decodes a message without its length.
    ///
    /// # Errors
    /// [`WireError`] for anything that is not exactly one message.
    pub fn decode(body: &[u8]) -> Result<HostMessage, WireError> {
        whole(body, |kind, r| {
            Ok(match kind {
                0x81 => HostMessage::Welcome(Welcome {
                    version: r.u16()?,
                    capabilities: r.u32()?,
                    session: take_text(r, "session")?,
                }),
                0x82 => {
                    let id = r.varint()?;
                    if id > CURSORS_MAX {
                        return Err(WireError::Value { field: "cursor", value: id });
                    }
                    HostMessage::Cursor(id)
                }
                0x83 => HostMessage::Progress(match r.u8()? {
                    1 => Progress::StartingDesktop,
                    2 => Progress::ResumingDesktop,
                    3 => Progress::Ready,
                    other => return Err(WireError::Value { field: "step", value: other.into() }),
                }),
                0x84 => HostMessage::Locks(LockKeys::from_bits(r.u8()?)?),
                marks::KIND_MARKS => HostMessage::Marks(marks::decode_marks(r)?),
                0x90..=0x9f => HostMessage::Print(PrintWord::decode(kind, r)?),
                0x88 => HostMessage::Listening(take_bool(r, "listening")?),
                _ => return Err(WireError::Type(kind)),
            })
        })
    }
}

impl InputMessage {
    /// Appends the message with its length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        framed(out, |out| {
            let (kind, number) = (self.event.kind(), self.number);
            out.push(kind);
            put_varint(out, number);
            match self.event {
                InputEvent::Key { usage, action } => {
                    put_varint(out, usage.into());
                    out.push(action as u8);
                }
                InputEvent::Motion(p) => {
                    put_varint(out, p.x);
                    put_varint(out, p.y);
                }
                InputEvent::Button { button, pressed } => out.extend_from_slice(&[button as u8, u8::from(pressed)]),
                InputEvent::Wheel { dx, dy } => {
                    out.extend_from_slice(&dx.to_le_bytes());
                    out.extend_from_slice(&dy.to_le_bytes());
                }
                InputEvent::ReleaseAll => {}
                InputEvent::Locks(locks) => out.push(locks.bits()),
            }
        });
    }

    /// Decodes a message without its length.
    ///
    /// # Errors
    /// [`WireError`] for anything that is not exactly one message.
    pub fn decode(body: &[u8]) -> Result<InputMessage, WireError> {
        whole(body, |kind, r| {
            let number = r.varint()?;
            let event = match kind {
                0x01 => {
                    let usage = r.varint()?;
                    if !(0x04..=0xe7).contains(&usage) {
                        return Err(WireError::Value { field: "usage", value: usage });
                    }
                    let action = match r.u8()? {
                        0 => KeyAction::Release,
                        1 => KeyAction::Press,
                        2 => KeyAction::Repeat,
                        other => return Err(WireError::Value { field: "action", value: other.into() }),
                    };
                    InputEvent::Key { usage: usage as u16, action }
                }
                0x02 => InputEvent::Motion(Point { x: take_coordinate(r)?, y: take_coordinate(r)? }),
                0x03 => {
                    let number = r.u8()?;
                    let button = PointerButton::from_number(number)
                        .ok_or(WireError::Value { field: "button", value: number.into() })?;
                    InputEvent::Button { button, pressed: take_bool(r, "pressed")? }
                }
                0x04 => InputEvent::Wheel { dx: r.u16()?.cast_signed(), dy: r.u16()?.cast_signed() },
                0x05 => InputEvent::ReleaseAll,
                0x06 => InputEvent::Locks(LockKeys::from_bits(r.u8()?)?),
                _ => return Err(WireError::Type(kind)),
            };
            Ok(InputMessage { number, event })
        })
    }
}

impl InputEvent {
    fn kind(&self) -> u8 {
        match self {
            InputEvent::Key { .. } => 0x01,
            InputEvent::Motion(_) => 0x02,
            InputEvent::Button { .. } => 0x03,
            InputEvent::Wheel { .. } => 0x04,
            InputEvent::ReleaseAll => 0x05,
            InputEvent::Locks(_) => 0x06,
        }
    }
}

impl CursorShape {
    /// Appends the shape; it has a stream of its own and so no length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for v in [self.id, self.size.w, self.size.h, self.hot.x, self.hot.y] {
            put_varint(out, v);
        }
        for p in &self.pixels {
            out.extend_from_slice(&p.to_le_bytes());
        }
    }

    /// Decodes a whole shape.
    ///
    /// # Errors
    /// [`WireError`] for anything that is not exactly one shape.
    pub fn decode(bytes: &[u8]) -> Result<CursorShape, WireError> {
        let mut r = Reader::new(bytes);
        let id = in_range(&mut r, "cursor", 1, CURSORS_MAX)?;
        let size =
            Size::new(in_range(&mut r, "width", 1, CURSOR_SIDE_MAX)?, in_range(&mut r, "height", 1, CURSOR_SIDE_MAX)?);
        let hot = Point { x: in_range(&mut r, "hot x", 0, size.w - 1)?, y: in_range(&mut r, "hot y", 0, size.h - 1)? };
        let data = r.take(size.area() as usize * 4)?;
        if r.remaining() > 0 {
            return Err(WireError::Trailing { kind: STREAM_CURSOR, count: r.remaining() });
        }
        let pixels = data.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok(CursorShape { id, size, hot, pixels })
    }
}

impl Relay {
    /// Appends the message with its head: `u32` length of what follows, lane, body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        match self {
            Relay::Attached { device, frames, inputs } => {
                out.push(1);
                put_text(out, device);
                put_varint(out, *frames);
                put_varint(out, *inputs);
            }
            Relay::Detached => out.push(2),
            Relay::Path(p) => {
                out.push(3);
                for v in [p.rtt_us, p.window_bytes, p.queued_bytes] {
                    put_varint(out, v);
                }
            }
            Relay::Control(b) => put_lane(out, 4, b),
            Relay::Input(b) => put_lane(out, 5, b),
            Relay::Frame(b) => put_lane(out, 6, b),
            Relay::Cursor(b) => put_lane(out, 7, b),
            Relay::Close(code) => {
                out.push(8);
                put_varint(out, *code);
            }
            Relay::Status(b) => put_lane(out, 9, b),
            Relay::DocumentBegin(b) => put_lane(out, 12, b),
            Relay::Document(b) => put_lane(out, 13, b),
            Relay::DocumentEnd => out.push(14),
            Relay::Sound(b) => put_lane(out, 10, b),
            Relay::SoundControl(b) => put_lane(out, 11, b),
        }
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// Takes the first whole message out of what has been received, or `None` until there is one.
    ///
    /// # Errors
    /// [`WireError`] if the peer does not speak this.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Relay>, WireError> {
        let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length == 0 || length > RELAY_BYTES_MAX {
            return Err(WireError::Length(length));
        }
        if buffer.len() < 4 + length {
            buffer.reserve(4 + length - buffer.len());
            return Ok(None);
        }
        buffer.advance(4);
        let mut body = buffer.split_to(length).freeze();
        let lane = body.get_u8();
        let plain = |body: &Bytes, read: fn(&mut Reader) -> Result<Relay, WireError>| {
            let mut r = Reader::new(body);
            let message = read(&mut r)?;
            if r.remaining() > 0 {
                return Err(WireError::Trailing { kind: lane, count: r.remaining() });
            }
            Ok(Some(message))
        };
        match lane {
            1 => plain(&body, |r| {
                Ok(Relay::Attached { device: take_text(r, "device")?, frames: r.varint()?, inputs: r.varint()? })
            }),
            2 => plain(&body, |_| Ok(Relay::Detached)),
            3 => plain(&body, |r| {
                Ok(Relay::Path(PathState { rtt_us: r.varint()?, window_bytes: r.varint()?, queued_bytes: r.varint()? }))
            }),
            4 => Ok(Some(Relay::Control(body))),
            5 => Ok(Some(Relay::Input(body))),
            6 => Ok(Some(Relay::Frame(body))),
            7 => Ok(Some(Relay::Cursor(body))),
            8 => plain(&body, |r| Ok(Relay::Close(r.varint()?))),
            9 => Ok(Some(Relay::Status(body))),
            12 => Ok(Some(Relay::DocumentBegin(body))),
            13 => Ok(Some(Relay::Document(body))),
            14 => plain(&body, |_| Ok(Relay::DocumentEnd)),
            10 => Ok(Some(Relay::Sound(body))),
            11 => Ok(Some(Relay::SoundControl(body))),
            other => Err(WireError::Type(other)),
        }
    }
}

/// Cuts a stream into messages: each is a varint length and that many bytes.
#[derive(Debug)]
pub struct Splitter {
    buffer: BytesMut,
    limit: usize,
}

impl Splitter {
    /// Splits messages of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit }
    }

    /// Changes the limit, once the peer is known.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Adds what was received.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the next whole message without its length.
    ///
    /// # Errors
    /// [`WireError::Length`] as soon as a message says that it is empty or longer than the limit.
    pub fn poll_message(&mut self) -> Result<Option<Bytes>, WireError> {
        let mut r = Reader::new(&self.buffer);
        let length = match r.varint() {
            Ok(length) => length as usize,
            Err(ReadError::Short { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if length == 0 || length > self.limit {
            return Err(WireError::Length(length));
        }
        if r.remaining() < length {
            return Ok(None);
        }
        let head = r.offset();
        self.buffer.advance(head);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

/// The one message in bytes that hold it with its length, as [`Relay::Control`] and [`Relay::Input`] do.
///
/// # Errors
/// [`WireError`] if the bytes are anything else than one message.
pub fn single_message(framed: &[u8]) -> Result<&[u8], WireError> {
    let mut r = Reader::new(framed);
    let length = r.varint()? as usize;
    if length != r.remaining() || length > MESSAGE_BYTES_MAX {
        return Err(WireError::Length(length));
    }
    Ok(r.take(length)?)
}

fn framed(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let mut message = Vec::new();
    body(&mut message);
    debug_assert!(message.len() <= MESSAGE_BYTES_MAX, "our own messages are short");
    put_varint(out, message.len() as u32);
    out.extend_from_slice(&message);
}

fn whole<T>(body: &[u8], read: impl FnOnce(u8, &mut Reader) -> Result<T, WireError>) -> Result<T, WireError> {
    let mut r = Reader::new(body);
    let kind = r.u8()?;
    let message = read(kind, &mut r)?;
    if r.remaining() > 0 {
        return Err(WireError::Trailing { kind, count: r.remaining() });
    }
    Ok(message)
}

fn put_lane(out: &mut Vec<u8>, lane: u8, body: &[u8]) {
    out.push(lane);
    out.extend_from_slice(body);
}

fn put_size(out: &mut Vec<u8>, size: Size) {
    put_varint(out, size.w);
    put_varint(out, size.h);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(NAME_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    put_varint(out, end as u32);
    out.extend_from_slice(&text.as_bytes()[..end]);
}

fn in_range(r: &mut Reader, field: &'static str, min: u32, max: u32) -> Result<u32, WireError> {
    let value = r.varint()?;
    if (min..=max).contains(&value) { Ok(value) } else { Err(WireError::Value { field, value }) }
}

fn take_size(r: &mut Reader) -> Result<Size, WireError> {
    let side = crate::codec::format::SCREEN_SIDE_MAX;
    Ok(Size::new(in_range(r, "width", 1, side)?, in_range(r, "height", 1, side)?))
}

fn take_coordinate(r: &mut Reader) -> Result<u32, WireError> {
    in_range(r, "coordinate", 0, crate::codec::format::SCREEN_SIDE_MAX - 1)
}

fn take_scale(r: &mut Reader) -> Result<u16, WireError> {
    Ok(in_range(r, "scale", 50, 400)? as u16)
}

fn take_bool(r: &mut Reader, field: &'static str) -> Result<bool, WireError> {
    match r.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(WireError::Value { field, value: other.into() }),
    }
}

fn take_text(r: &mut Reader, field: &'static str) -> Result<String, WireError> {
    let length = r.varint()? as usize;
    if length > NAME_BYTES_MAX {
        return Err(WireError::Text(field));
    }
    let text = std::str::from_utf8(r.take(length)?).map_err(|_| WireError::Text(field))?;
    if text.chars().any(char::is_control) {
        return Err(WireError::Text(field));
    }
    Ok(text.to_owned())
}
