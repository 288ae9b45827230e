//! The limits of messages, QUIC, sound and printing in one place, each with its reason.
//!
//! PROTOCOL.md lists all limits; a test compares the numbers. Those of the frame format stand in `codec::format`.

use std::time::Duration;

/// Longest control or input message. A peer that says more is broken or hostile.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Longest first message of a viewer: nothing else is parsed before it is welcome.
pub const HELLO_BYTES_MAX: usize = 4 << 10;
/// Longest name (session, device, keyboard layout, locale), in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest side of a cursor shape in pixels.
pub const CURSOR_SIDE_MAX: u32 = 256;
/// Cursor shapes a viewer keeps; the host numbers them 1 to this and then reuses the oldest.
pub const CURSORS_MAX: u32 = 256;
/// Frames on their way or not yet shown, at most: enough for 100 ms at 60 pictures a second, small enough that what
/// is on the screen is never far behind.
pub const FRAMES_IN_FLIGHT_MAX: u32 = 8;
/// A frame of at most so many bytes is a caret or a letter, and not worth an answer of its own, which would cost a packet
/// in either direction.
pub const SMALL_FRAME_BYTES: usize = 256;
/// Small frames after which a viewer may be silent: with the next one it says that it shows all of them.
pub const SMALL_FRAMES_UNSHOWN_MAX: u32 = 7;
/// Frames that a viewer holds because they came before one they depend on, and those it has applied although one before
/// them is missing. All that can be in flight, twice: a session process that starts anew does not wait for what its
/// predecessor had sent.
pub const FRAMES_WAITING_MAX: usize = 2 * (FRAMES_IN_FLIGHT_MAX + SMALL_FRAMES_UNSHOWN_MAX) as usize;
/// Longest message between front and session process: a frame, a cursor, or a control message, and its head.
pub const RELAY_BYTES_MAX: usize = crate::codec::format::FRAME_BYTES_MAX + 64;

/// The application protocol of version 1 in the TLS handshake.
pub const ALPN: &[u8] = b"kachel/1";
/// UDP port where nothing else is said.
pub const PORT: u16 = 7474;
/// A connection without any packet for this long is gone.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The viewer's sign of life on an idle connection: well inside [`IDLE_TIMEOUT`] and inside what home routers keep.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// While something is held down, a viewer says something at least this often.
pub const HELD_ALIVE: Duration = Duration::from_secs(1);
/// A host releases everything when something is held down and the viewer has said nothing for this long: it may have been
/// killed, and QUIC alone notices that only after [`IDLE_TIMEOUT`].
pub const HELD_TIMEOUT: Duration = Duration::from_secs(3);
/// A handshake takes no longer.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time from the end of the handshake to a valid hello.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that may be in their handshake at once; above a quarter of it, addresses must be proven first (Retry).
pub const HANDSHAKES_MAX: usize = 1024;
/// Viewers at once on one front.
pub const VIEWERS_MAX: usize = 512;
/// Streams that a viewer may open towards the host: one for input (each connection opens it once).
pub const VIEWER_UNI_STREAMS: u32 = 2;
/// Two-way streams that a viewer may open: control, and room for one print job or the like in later versions.
pub const VIEWER_BIDI_STREAMS: u32 = 2;
/// Packets of a viewer that a host may leave unacknowledged for a moment: a key pressed and let go, and what a hand does
/// with the pointer until the picture answers.
pub const ACKS_OWED_MAX: u32 = 9;
/// Streams that a host may have open towards a viewer: all frames in flight and some cursor shapes, and so many more that
/// the leave to open further ones, given for an eighth of them at once, costs one packet in sixteen frames. What is in
/// them is bounded by [`HOST_UNFINISHED_BYTES_MAX`].
pub const HOST_UNI_STREAMS: u32 = 128;
/// Bytes that a viewer keeps of all streams together that have not come whole. QUIC's windows do not bound them, as they are
/// read when they come; on a path that loses packets, every frame in flight may lack one. So many of the longest, twice: a
/// session process that starts anew does not wait for what its predecessor had sent. Frames and cursor shapes are in
/// truth far shorter than that.
pub const HOST_UNFINISHED_BYTES_MAX: usize =
    2 * FRAMES_IN_FLIGHT_MAX as usize * (crate::codec::format::FRAME_BYTES_MAX + 1);
/// What a host takes from one stream of a viewer before it must read.
pub const VIEWER_STREAM_WINDOW: u32 = 64 << 10;
/// What a host takes from one connection before it must read.
pub const VIEWER_CONNECTION_WINDOW: u32 = 256 << 10;
/// What a viewer takes from one stream: a whole frame.
pub const HOST_STREAM_WINDOW: u32 = crate::codec::format::FRAME_BYTES_MAX as u32;
/// What a viewer takes from one connection before it must read: four of the longest frames.
pub const HOST_CONNECTION_WINDOW: u32 = 4 * crate::codec::format::FRAME_BYTES_MAX as u32;
/// What either end keeps of data sent and not acknowledged.
pub const SEND_WINDOW: u64 = 8 << 20;
/// Datagrams waiting at either end: 400 ms of sound, each frame twice. Older ones give way, as nobody wants to hear them.
pub const DATAGRAM_BUFFER: usize = 16 << 10;
/// Longest Opus frame in a datagram: two of them and their head fit any path that carries QUIC, and 200 kbit/s are more
/// than stereo needs.
pub const SOUND_FRAME_BYTES_MAX: usize = 500;
/// Sound that a receiver keeps; the oldest gives way.
pub const SOUND_QUEUE: Duration = Duration::from_millis(400);
/// Longest time that a receiver holds sound back: with its device's 50 ms it stays within the 150 ms after which people
/// begin to interrupt each other (ITU-T G.114).
pub const SOUND_DELAY_MAX: Duration = Duration::from_millis(100);
/// Bytes of packets kept for one connection attempt that is not yet looked at.
pub const HANDSHAKE_BUFFER: u64 = 64 << 10;
/// The same for all attempts together.
pub const HANDSHAKE_BUFFERS: u64 = 16 << 20;
/// Handshake bytes that may wait for missing ones: our certificates are under 4 KiB, post-quantum keys under 2 KiB.
pub const CRYPTO_BUFFER: usize = 16 << 10;
/// Least time between two stateless resets: a front that comes back tells a thousand viewers a second to reconnect.
pub const RESET_INTERVAL: Duration = Duration::from_millis(1);
/// Socket buffers asked of the system: a burst of half a frame must not be lost between card and program.
pub const UDP_BUFFER: usize = 2 << 20;
/// The next address of a host is tried when the one before has not answered for this long (RFC 8305, section 8).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Bytes of control or input that a viewer keeps while the host does not take them: seconds of typing. More is a
/// stalled link, which the caller hears at once.
pub const VIEWER_OUTBOX: usize = 64 << 10;
/// Bytes of frames that the front takes from a session before QUIC has taken them. Then it reads no more.
pub const RELAY_QUEUE: usize = crate::codec::format::FRAME_BYTES_MAX;
/// Bytes that the front keeps for a session process that does not read. Then it reads no more from the viewer.
pub const RELAY_BACKLOG: usize = 256 << 10;
/// Bytes that a session process keeps for a front that does not read: the longest frame, which is sent only when nothing
/// waits, and far more small messages than one can be the cause of that reads nothing. Whoever is behind by more is gone.
pub const SESSION_BACKLOG: usize = RELAY_BYTES_MAX + RELAY_BACKLOG;
/// The front tells the session about the path at most this often.
pub const PATH_INTERVAL: Duration = Duration::from_millis(20);
/// What QUIC takes at least ahead of the congestion window; the rest waits in the front, where it is counted.
pub const SEND_WINDOW_MIN: u64 = 512 << 10;
/// Longest trial or device list file that is read.
pub const TRIAL_BYTES_MAX: u64 = 64 << 10;
/// Addresses in a trial file.
pub const ADDRESSES_MAX: usize = 16;

/// Printers that a viewer offers at most: with all their words they fit one message.
pub const PRINTERS_MAX: usize = 16;
/// Paper sizes of a printer that are told, the default first: enough for every tray of an office device.
pub const MEDIA_MAX: usize = 24;
/// Trays of a printer that are told.
pub const SOURCES_MAX: usize = 8;
/// Longest name of a paper size or a tray; the longest standard one has 41.
pub const KEYWORD_BYTES_MAX: usize = 64;
/// Longest document of a print job: a scanned book; more is a mistake or an attack.
pub const JOB_BYTES_MAX: u32 = 512 << 20;
/// Bytes of all documents that a session keeps, and of all that a viewer keeps: four of the longest. More wait: at the
/// host in the print server of the session, at the viewer's side at the host.
pub const DOCUMENTS_BYTES_MAX: u64 = 4 * JOB_BYTES_MAX as u64;
/// Print jobs of a session that have not ended, and jobs that a viewer works on.
pub const JOBS_MAX: usize = 64;
/// Copies of one job.
pub const COPIES_OF_JOB_MAX: u32 = 999;
/// Page ranges of one job.
pub const PAGE_RANGES_MAX: usize = 16;
/// Bytes of a document on their way that the viewer has not confirmed, at most: what is on its way delays pictures that
/// come after it, however low its priority. Enough for 12 MB/s at 20 ms.
pub const DOCUMENT_WINDOW: u32 = 256 << 10;
/// The same at least: a slow path must not starve a job.
pub const DOCUMENT_WINDOW_MIN: u32 = 16 << 10;
/// Bytes of a document in one relay message.
pub const DOCUMENT_CHUNK: u32 = 32 << 10;
/// A viewer confirms a document's bytes each time that so many have come.
pub const DOCUMENT_CONFIRM: u32 = 8 << 10;
