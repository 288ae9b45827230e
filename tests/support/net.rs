//! Host and viewer of one session on a virtual network with delay, loss and reordering, in virtual time.
//!
//! Everything that decides is the real thing: encoder, pacer, both sessions, input, assembler, canvas. Only the crank
//! and the bytes' way between the two are made here, as `viewer::link` and `host::session` turn them.
//! A lost stream is not gone: it comes later, by the time of a retransmission.

#![allow(dead_code, unreachable_pub, reason = "tests and fuzz targets each use their own share of this")]

use bytes::Bytes;
use kachel::codec::canvas::{Canvas, Picture};
use kachel::codec::encode::{Encoder, View};
use kachel::codec::marks::{self, Agreement, TileMarks};
use kachel::codec::stage::mark;
use kachel::geom::{Point, Rect, Size};
use kachel::limits::{FRAMES_IN_FLIGHT_MAX, HANDSHAKE_TIMEOUT, MESSAGE_BYTES_MAX};
use kachel::proto::input::{Held, Input};
use kachel::proto::screen::assembler::{Assembler, Update};
use kachel::proto::screen::pacer::{Pacer, Part, Slot};
use kachel::proto::session::client::{ClientSession, Deed, LinkState, Lost};
use kachel::proto::session::host::{HostSession, Wish};
use kachel::proto::wire::{
    Hello, HostMessage, InputEvent, InputMessage, KeyAction, PathState, PointerButton, Splitter, VERSION, ViewerMessage,
};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
/// What a lost packet costs besides a round trip.
const RETRANSMIT: Duration = Duration::from_millis(25);

/// A small generator with a seed, so that a failure can be repeated.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    /// Below `n`; 0 if `n` is.
    pub fn below(&mut self, n: u32) -> u32 {
        self.next() % n.max(1)
    }

    pub fn rect(&mut self, size: Size) -> Rect {
        let (x, y) = (self.below(size.w), self.below(size.h));
        Rect::new(x, y, 1 + self.below(size.w - x), 1 + self.below(size.h - y))
    }
}

/// The way between the two.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// One way.
    pub delay: Duration,
    /// Up to this much more, different for each stream.
    pub jitter: Duration,
    /// Of a hundred packets.
    pub loss_percent: u32,
}

/// What is on its way in one direction.
struct Lane<T> {
    /// When each arrives, in the order in which they were sent.
    on_way: VecDeque<(Duration, T)>,
    is_ordered: bool,
}

impl<T> Lane<T> {
    fn new(is_ordered: bool) -> Self {
        Self { on_way: VecDeque::new(), is_ordered }
    }

    fn send(&mut self, mut arrival: Duration, thing: T) {
        if let (true, Some((last, _))) = (self.is_ordered, self.on_way.back()) {
            arrival = arrival.max(*last);
        }
        self.on_way.push_back((arrival, thing));
    }

    fn receive(&mut self, now: Duration) -> Option<T> {
        let index = match self.is_ordered {
            true => self.on_way.front().filter(|(at, _)| *at <= now).map(|_| 0)?,
            false => self.on_way.iter().position(|(at, _)| *at <= now)?,
        };
        self.on_way.remove(index).map(|(_, thing)| thing)
    }
}

/// All that one connection has on its way.
struct Wires {
    control_up: Lane<Vec<u8>>,
    input_up: Lane<Vec<u8>>,
    control_down: Lane<Vec<u8>>,
    frames_down: Lane<Bytes>,
    /// Acknowledgements of the viewer's packets.
    acks_down: Lane<()>,
}

impl Wires {
    fn new() -> Self {
        Self {
            control_up: Lane::new(true),
            input_up: Lane::new(true),
            control_down: Lane::new(true),
            frames_down: Lane::new(false),
            acks_down: Lane::new(false),
        }
    }

    /// Whether nothing is on its way but acknowledgements.
    fn is_empty(&self) -> bool {
        let up = self.control_up.on_way.is_empty() && self.input_up.on_way.is_empty();
        up && self.control_down.on_way.is_empty() && self.frames_down.on_way.is_empty()
    }
}

/// The host's end.
struct Host {
    screen: Picture,
    encoder: Encoder,
    pacer: Pacer,
    session: HostSession,
    held: Held,
    control_cut: Splitter,
    input_cut: Splitter,
    said: Vec<Vec<u8>>,
    frames: u32,
    inputs: u32,
    /// The first frame of this session process, and the last one that the viewer says it shows.
    first_frame: u32,
    shown: u32,
    /// Numbers of all events of this connection that were taken.
    taken: Vec<u32>,
    keys: BTreeSet<u16>,
    buttons: BTreeSet<u8>,
}

/// The viewer's end.
struct Viewer {
    client: ClientSession,
    connected: bool,
    /// When the attempt under way ends.
    attempt_at: Option<Duration>,
    assembler: Assembler,
    canvas: Canvas,
    pending: Option<Update>,
    /// Marks of a frame that has not come yet, or is not drawn yet.
    early_marks: Option<TileMarks>,
    input: Input,
    control_cut: Splitter,
    packets: (u64, u64),
    visible: bool,
    viewport: Size,
    sent: u32,
    received: u32,
    /// What the user holds.
    keys: BTreeSet<u16>,
    buttons: BTreeSet<u8>,
}

/// A host, a viewer and the way between them.
pub struct World {
    pub now: Duration,
    pub path: Path,
    pub random: Random,
    wires: Wires,
    /// No packet passes before this time.
    outage_until: Duration,
    host: Host,
    viewer: Viewer,
    /// Connections made so far.
    pub connections: u32,
    /// The session process of this connection is not its first.
    is_replaced: bool,
    /// The most frames that were sent and not yet shown.
    pub in_flight_max: usize,
}

impl World {
    /// Both ends, not yet connected.
    pub fn new(size: Size, path: Path, seed: u64) -> Self {
        Self {
            now: MS,
            path,
            random: Random(seed),
            wires: Wires::new(),
            outage_until: Duration::ZERO,
            host: Host {
                screen: Picture::new(size),
                encoder: Encoder::new(size),
                pacer: Pacer::new(),
                session: HostSession::new("world", 0),
                held: Held::new(0),
                control_cut: Splitter::new(MESSAGE_BYTES_MAX),
                input_cut: Splitter::new(MESSAGE_BYTES_MAX),
                said: Vec::new(),
                frames: 0,
                inputs: 0,
                first_frame: 1,
                shown: 0,
                taken: Vec::new(),
                keys: BTreeSet::new(),
                buttons: BTreeSet::new(),
            },
            viewer: Viewer {
                client: ClientSession::new(),
                connected: false,
                attempt_at: None,
                assembler: Assembler::new(),
                canvas: Canvas::new(),
                pending: None,
                early_marks: None,
                input: Input::new(),
                control_cut: Splitter::new(MESSAGE_BYTES_MAX),
                packets: (0, 0),
                visible: true,
                viewport: size,
                sent: 0,
                received: 0,
                keys: BTreeSet::new(),
                buttons: BTreeSet::new(),
            },
            connections: 0,
            is_replaced: false,
            in_flight_max: 0,
        }
    }

    /// One millisecond: everything that is due happens.
    pub fn step(&mut self) {
        self.now += MS;
        self.turn_client();
        self.turn_host();
        self.turn_viewer();
        let in_flight = self.host.pacer.in_flight();
        self.in_flight_max = self.in_flight_max.max(in_flight);
        assert!(in_flight <= FRAMES_IN_FLIGHT_MAX as usize, "{in_flight} frames in flight");
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// Something happens at either end; `what` chooses.
    pub fn act(&mut self, what: u32) {
        let size = self.host.screen.size;
        match what % 16 {
            0..=5 => self.draw(what / 16),
            6..=8 => {
                let (usage, down) = (4 + self.random.below(6) as u16, self.random.below(2) == 0);
                self.press_key(usage, down);
            }
            9 => {
                let button = [PointerButton::Left, PointerButton::Middle][self.random.below(2) as usize];
                let pressed = self.random.below(2) == 0;
                self.press_button(button, pressed);
            }
            10 => {
                let at = Point { x: self.random.below(size.w), y: self.random.below(size.h) };
                if self.viewer.connected {
                    self.viewer.input.handle_motion(at);
                }
            }
            11 if self.viewer.connected => self.viewer.input.handle_wheel(0, self.random.next() as i16),
            12 if self.viewer.connected => {
                self.viewer.input.handle_focus_lost();
                self.viewer.keys.clear();
                self.viewer.buttons.clear();
            }
            13 => {
                let visible = self.random.below(3) > 0;
                self.set_visible(visible);
            }
            14 => self.say(&ViewerMessage::Refresh),
            15 => {
                let size = Size::new(1 + self.random.below(180), 1 + self.random.below(140));
                self.resize(size);
            }
            _ => {}
        }
    }

    /// Draws as programs do, and reports more damage than there is.
    pub fn draw(&mut self, what: u32) {
        let size = self.host.screen.size;
        let mut r = self.random.rect(size);
        let seed = self.random.next();
        match what % 5 {
            0 => self.fill(r, |_, _| seed),
            1 => self.fill(r, |x, y| ((x * 7 + y * 13 + seed % 64) % (2 + seed % 15)) * 0x0010_2030),
            2 => self.fill(r, |x, y| x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b) ^ seed),
            3 => {
                let old = self.host.screen.clone();
                let to = self.random.rect(size);
                r = Rect { w: r.w.min(to.w), h: r.h.min(to.h), ..r };
                let (dx, dy) = (to.x.min(size.w - r.w), to.y.min(size.h - r.h));
                self.fill(Rect { x: dx, y: dy, ..r }, |x, y| old.row(y - dy + r.y)[(x - dx + r.x) as usize]);
                r = size.rect();
            }
            _ => self.host.screen.pixels[(r.y * size.w + r.x) as usize] ^= 0xff00_00ff,
        }
        self.host.encoder.handle_damage(r);
    }

    fn fill(&mut self, r: Rect, color: impl Fn(u32, u32) -> u32) {
        let w = self.host.screen.size.w;
        for y in r.y..r.bottom() {
            for x in r.x..r.right() {
                self.host.screen.pixels[(y * w + x) as usize] = color(x, y);
            }
        }
    }

    pub fn press_key(&mut self, usage: u16, down: bool) {
        let Viewer { connected, input, keys, .. } = &mut self.viewer;
        if *connected && input.handle_key(usage, down) {
            let _ = if down { keys.insert(usage) } else { keys.remove(&usage) };
        }
    }

    fn press_button(&mut self, button: PointerButton, pressed: bool) {
        let Viewer { connected, input, buttons, .. } = &mut self.viewer;
        if *connected && input.handle_button(button, pressed) {
            let _ = if pressed { buttons.insert(button as u8) } else { buttons.remove(&(button as u8)) };
        }
    }

    pub fn set_visible(&mut self, visible: bool) {
        self.viewer.visible = visible;
        self.say(&ViewerMessage::Visible(visible));
    }

    fn resize(&mut self, size: Size) {
        self.viewer.viewport = size;
        self.say(&ViewerMessage::Viewport(size));
    }

    /// No packet passes for this long.
    pub fn cut(&mut self, time: Duration) {
        self.outage_until = self.now + time;
    }

    /// The viewer's connection breaks, and it hears of it.
    pub fn break_connection(&mut self) {
        if self.viewer.connected {
            self.lose(Lost::Unreachable);
        }
    }

    /// The session process dies and another takes its place; the connection stays. It has lived long enough to be seen:
    /// the front lets one that dies at once wait before the next.
    pub fn replace_session(&mut self) {
        if !self.host.session.is_greeted() || self.host.shown < self.host.first_frame {
            return;
        }
        self.host.first_frame = self.host.frames + 1;
        // Frames that no stream was begun for are forgotten.
        let kept = self.random.below(9) as usize;
        self.wires.frames_down.on_way.truncate(kept);
        let host = &mut self.host;
        host.encoder = Encoder::new(host.screen.size);
        host.encoder.handle_viewer(host.frames);
        host.pacer = Pacer::new();
        host.held = Held::new(host.inputs);
        host.session = HostSession::new("world", 0);
        // What the former one held down is released by the next (`Injector::release_left_behind`).
        host.keys.clear();
        host.buttons.clear();
        self.is_replaced = true;
        for body in std::mem::take(&mut self.host.said) {
            self.take_control(&body);
        }
    }

    /// Frames that are sent and have not arrived.
    pub fn frames_on_way(&self) -> usize {
        self.wires.frames_down.on_way.len()
    }

    /// Lets everything come to rest; then both ends hold the same.
    pub fn settle(&mut self) {
        self.outage_until = Duration::ZERO;
        if !self.viewer.visible {
            self.set_visible(true);
        }
        // A new connection may be on its way, after several attempts.
        let mut patience = 60_000;
        while !(self.viewer.connected && self.host.session.is_greeted()) && patience > 0 {
            if let LinkState::Ended(_) = self.viewer.client.state() {
                // A first attempt that failed is the user's to repeat.
                self.viewer.client.handle_retry(self.now);
            }
            self.step();
            patience -= 1;
        }
        // What was sent into an outage, or lost again and again, comes late.
        while !self.wires.is_empty() && patience > 0 {
            self.step();
            patience -= 1;
        }
        self.run(Duration::from_secs(2) + 40 * self.path.delay);
        self.assert_settled();
    }

    fn assert_settled(&self) {
        let (host, viewer) = (&self.host, &self.viewer);
        assert_eq!(viewer.client.state(), LinkState::Live);
        assert_eq!(host.pacer.in_flight(), 0, "frames are still in flight");
        assert!(!host.encoder.has_work(), "something was never sent");
        assert_eq!(host.encoder.refine_at(), None, "something is not exact");
        assert!(viewer.assembler.is_agreed(), "the viewer does not know that it is exact");
        assert_eq!(viewer.canvas.screen.size, host.screen.size);
        let same = |(a, b): (&u32, &u32)| a & 0x00ff_ffff == *b;
        assert!(host.screen.pixels.iter().zip(&viewer.canvas.screen.pixels).all(same), "pixels differ");
        assert_eq!(host.taken.last().copied().unwrap_or(host.inputs), viewer.sent, "events that never came");
        assert!(host.keys.is_subset(&viewer.keys) && host.buttons.is_subset(&viewer.buttons), "something sticks");
        if !self.is_replaced {
            assert_eq!((&host.keys, &host.buttons), (&viewer.keys, &viewer.buttons), "something is not held");
        }
    }

    fn turn_client(&mut self) {
        let now = self.now;
        if self.viewer.attempt_at.is_some_and(|at| at <= now) {
            self.viewer.attempt_at = None;
            match now >= self.outage_until {
                true => self.connect(),
                false => self.lose(Lost::Unreachable),
            }
        }
        if self.viewer.client.poll_timeout().is_some_and(|at| at <= now) {
            let (sent, received) = self.viewer.packets;
            self.viewer.client.handle_packets(sent, received, now);
            self.viewer.client.handle_timeout(now);
        }
        if self.viewer.connected && matches!(self.viewer.client.state(), LinkState::Reconnecting { .. }) {
            self.drop_connection();
        }
        if self.viewer.client.poll_deed() == Some(Deed::Connect) {
            let takes = if now < self.outage_until { HANDSHAKE_TIMEOUT } else { 3 * self.path.delay };
            self.viewer.attempt_at = Some(now + takes);
        }
    }

    fn connect(&mut self) {
        self.connections += 1;
        self.wires = Wires::new();
        // The front closes the former viewer's connection, if it still thinks that there is one.
        self.detach();
        self.host.control_cut = Splitter::new(MESSAGE_BYTES_MAX);
        self.host.input_cut = Splitter::new(MESSAGE_BYTES_MAX);
        (self.host.frames, self.host.inputs) = (0, 0);
        (self.host.first_frame, self.host.shown) = (1, 0);
        self.host.held = Held::new(0);
        self.host.session = HostSession::new("world", 0);
        self.host.taken.clear();
        self.host.said.clear();
        let viewer = &mut self.viewer;
        viewer.client.handle_connected(self.now);
        viewer.connected = true;
        viewer.assembler = Assembler::new();
        (viewer.pending, viewer.early_marks) = (None, None);
        viewer.control_cut = Splitter::new(MESSAGE_BYTES_MAX);
        viewer.input.handle_connected();
        viewer.packets = (0, 0);
        (viewer.sent, viewer.received) = (0, 0);
        viewer.keys.clear();
        viewer.buttons.clear();
        self.is_replaced = false;
        let hello = ViewerMessage::Hello(Hello {
            version: VERSION,
            capabilities: 0,
            viewport: self.viewer.viewport,
            scale_percent: 100,
            layout: "de".into(),
            variant: String::new(),
            locale: "de-DE".into(),
        });
        self.say(&hello);
        if !self.viewer.visible {
            self.say(&ViewerMessage::Visible(false));
        }
    }

    fn lose(&mut self, reason: Lost) {
        self.viewer.client.handle_lost(reason, self.now);
        self.drop_connection();
    }

    fn drop_connection(&mut self) {
        self.viewer.connected = false;
        (self.viewer.pending, self.viewer.early_marks) = (None, None);
        self.wires = Wires::new();
        self.detach();
    }

    fn detach(&mut self) {
        self.host.held.handle_gone();
        self.host.keys.clear();
        self.host.buttons.clear();
        self.host.pacer.handle_detached();
        self.host.session = HostSession::new("world", 0);
    }

    /// When what is sent now arrives. A lost packet is sent again, and so is that.
    fn arrival(&mut self) -> Duration {
        let mut at = self.now.max(self.outage_until) + self.path.delay;
        at += self.path.jitter * self.random.below(101) / 100;
        if self.now < self.outage_until {
            at += 2 * self.path.delay + RETRANSMIT;
        }
        while self.random.below(100) < self.path.loss_percent {
            at += 2 * self.path.delay + RETRANSMIT;
        }
        at
    }

    /// The viewer sends a control message.
    fn say(&mut self, message: &ViewerMessage) {
        if !self.viewer.connected {
            return;
        }
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let at = self.arrival();
        self.wires.control_up.send(at, bytes);
        self.packet_sent(at);
    }

    fn packet_sent(&mut self, at: Duration) {
        self.viewer.packets.0 += 1;
        self.wires.acks_down.send(at + self.path.delay, ());
        let (sent, received) = self.viewer.packets;
        self.viewer.client.handle_packets(sent, received, self.now);
    }

    fn packet_received(&mut self) {
        self.viewer.packets.1 += 1;
        let (sent, received) = self.viewer.packets;
        self.viewer.client.handle_packets(sent, received, self.now);
    }

    fn turn_host(&mut self) {
        while let Some(bytes) = self.wires.control_up.receive(self.now) {
            self.host.control_cut.handle_bytes(&bytes);
            while let Some(body) = self.host.control_cut.poll_message().expect("a viewer's message has a right length")
            {
                self.take_control(&body);
            }
        }
        while let Some(bytes) = self.wires.input_up.receive(self.now) {
            self.host.input_cut.handle_bytes(&bytes);
            while let Some(body) = self.host.input_cut.poll_message().expect("a viewer's event has a right length") {
                let message = InputMessage::decode(&body).expect("a viewer's event is sound");
                self.host.inputs += 1;
                if !self.host.session.is_greeted() {
                    // Input may overtake the hello on the wire; the front holds it back until there is a session.
                    panic!("input before hello");
                }
                self.take_input(message);
            }
        }
        self.send_frames();
        self.send_marks();
    }

    fn send_marks(&mut self) {
        let host = &mut self.host;
        let is_calm = host.pacer.is_attached() && host.pacer.in_flight() == 0;
        if is_calm && host.encoder.mark_at().is_some_and(|at| at <= self.now) {
            let marks = host.encoder.marks(self.now).expect("its time has come");
            let mut bytes = Vec::new();
            HostMessage::Marks(marks).encode(&mut bytes);
            let at = self.arrival();
            self.wires.control_down.send(at, bytes);
        }
    }

    fn take_control(&mut self, body: &[u8]) {
        let host = &mut self.host;
        let message = ViewerMessage::decode(body).expect("a viewer's message is sound");
        let kind = std::mem::discriminant(&message);
        if matches!(message, ViewerMessage::Hello(_) | ViewerMessage::Viewport(_) | ViewerMessage::Visible(_)) {
            let is_same = |b: &Vec<u8>| ViewerMessage::decode(b).is_ok_and(|m| std::mem::discriminant(&m) == kind);
            host.said.retain(|b| !is_same(b));
            host.said.push(body.to_vec());
        }
        match host.session.handle_message(body).expect("a viewer's message is in place") {
            Wish::Begin(hello) => {
                self.resize_host(hello.viewport);
                self.host.encoder.handle_viewer(self.host.frames);
                self.host.pacer.handle_attached();
                self.host.pacer.handle_path(PathState {
                    rtt_us: 2 * self.path.delay.as_micros() as u32,
                    window_bytes: 200 << 10,
                    queued_bytes: 0,
                });
            }
            Wish::Resize(size) => self.resize_host(size),
            Wish::Shown(sequence) => {
                host.shown = sequence;
                host.pacer.handle_shown(sequence, self.now);
            }
            Wish::Visible(visible) => self.host.pacer.handle_visible(visible),
            Wish::Refresh => self.host.encoder.handle_refresh(),
            Wish::Agreement(answer) => {
                assert_eq!(self.host.encoder.handle_agreement(&answer), 0, "tiles are wrong");
            }
            Wish::Print(_) => {}
        }
        while let Some(answer) = self.host.session.poll_message() {
            let mut bytes = Vec::new();
            answer.encode(&mut bytes);
            let at = self.arrival();
            self.wires.control_down.send(at, bytes);
        }
    }

    fn resize_host(&mut self, size: Size) {
        if size != self.host.screen.size {
            self.host.screen = Picture::new(size);
            self.host.encoder.handle_resize(size);
            let seed = self.random.next();
            self.fill(size.rect(), |x, y| (x * y) ^ seed);
        }
    }

    fn take_input(&mut self, message: InputMessage) {
        let host = &mut self.host;
        let event = host.held.handle_event(message).expect("events come once and in order");
        host.taken.push(message.number);
        match event {
            Some(InputEvent::Key { usage, action: KeyAction::Press }) => assert!(host.keys.insert(usage)),
            Some(InputEvent::Key { usage, action: KeyAction::Repeat }) => assert!(host.keys.contains(&usage)),
            Some(InputEvent::Key { usage, action: KeyAction::Release }) => assert!(host.keys.remove(&usage)),
            Some(InputEvent::Button { button, pressed: true }) => assert!(host.buttons.insert(button as u8)),
            Some(InputEvent::Button { button, pressed: false }) => assert!(host.buttons.remove(&(button as u8))),
            Some(InputEvent::ReleaseAll) => {
                host.keys.clear();
                host.buttons.clear();
            }
            Some(InputEvent::Motion(_) | InputEvent::Wheel { .. } | InputEvent::Locks(_)) | None => {}
        }
    }

    fn send_frames(&mut self) {
        while self.host.encoder.has_work() {
            let host = &mut self.host;
            let rest = host.encoder.has_rest();
            let Slot::Now { budget } = host.pacer.poll_slot(rest, self.now) else { return };
            // A small part of the budget, so that pictures have several frames.
            let budget = if self.random.below(2) == 0 { budget } else { 3_000 };
            let frame = host.encoder.encode(&View::of(&host.screen), host.held.last(), self.now, budget);
            let Some(frame) = frame else { continue };
            let part = if rest { Part::Rest } else { Part::First };
            host.pacer.handle_sent(host.encoder.sequence(), (frame.len(), host.encoder.coded()), part, self.now);
            host.frames += 1;
            assert_eq!(host.encoder.sequence(), host.frames, "a number for each frame of the connection");
            let at = self.arrival();
            self.wires.frames_down.send(at, frame.into());
        }
        while self.host.encoder.refine_at().is_some_and(|at| at <= self.now) {
            let host = &mut self.host;
            let Some(budget) = host.pacer.poll_refinement() else { return };
            let Some(frame) = host.encoder.refine(host.held.last(), self.now, budget) else { return };
            host.pacer.handle_sent(
                host.encoder.sequence(),
                (frame.len(), host.encoder.coded()),
                Part::Refinement,
                self.now,
            );
            host.frames += 1;
            let at = self.arrival();
            self.wires.frames_down.send(at, frame.into());
        }
    }

    fn compare(&mut self, asked: TileMarks) {
        if self.viewer.assembler.is_early(&asked, self.viewer.pending.as_ref()) {
            self.viewer.early_marks = Some(asked);
            return;
        }
        let Some(grid) = self.viewer.assembler.marked_tiles(&asked) else { return };
        let jobs = marks::jobs(grid, asked.first, asked.marks.len() as u32);
        let mut marks = Vec::new();
        if self.viewer.canvas.screen.size == grid.size() {
            let mut found = Picture::new(mark::MARKS_SIZE);
            mark::run(&jobs, &self.viewer.canvas.screen, &mut found);
            marks = marks::marks_of(&found, jobs.len() as u32);
        }
        let wrong = self.viewer.assembler.handle_marks(&asked, &marks);
        self.say(&ViewerMessage::Agreement(Agreement { sequence: asked.sequence, first: asked.first, wrong }));
    }

    fn turn_viewer(&mut self) {
        if !self.viewer.connected {
            return;
        }
        while self.wires.acks_down.receive(self.now).is_some() {
            self.packet_received();
        }
        while let Some(bytes) = self.wires.control_down.receive(self.now) {
            self.viewer.control_cut.handle_bytes(&bytes);
            while let Some(body) = self.viewer.control_cut.poll_message().expect("a host's message has a right length")
            {
                match HostMessage::decode(&body).expect("a host's message is sound") {
                    HostMessage::Welcome(welcome) => assert_eq!(welcome.version, VERSION),
                    HostMessage::Marks(marks) => self.compare(marks),
                    other => panic!("{other:?} was never said"),
                }
            }
            self.packet_received();
        }
        while let Some(frame) = self.wires.frames_down.receive(self.now) {
            self.viewer.assembler.handle_frame(frame).expect("a host's frame is sound");
            self.packet_received();
        }
        // The screen takes one frame a millisecond, and sometimes none.
        if self.random.below(4) > 0 {
            let update = self.viewer.pending.take();
            if let Some(update) = update {
                self.viewer.canvas.apply(&update.plan);
                self.say(&ViewerMessage::FrameShown(update.complete));
                if let Some(marks) = self.viewer.early_marks.take() {
                    self.compare(marks);
                }
            }
        }
        if self.viewer.pending.is_none() {
            self.viewer.pending = self.viewer.assembler.poll_update().expect("a host's frame is sound");
        }
        let mut bytes = Vec::new();
        while let Some(message) = self.viewer.input.poll_event() {
            self.viewer.sent = message.number;
            message.encode(&mut bytes);
        }
        if !bytes.is_empty() {
            // The input stream waits for the hello at the front, as every stream of a viewer does.
            let hello = self.wires.control_up.on_way.iter().map(|(at, _)| *at).next();
            let greeted = self.host.session.is_greeted();
            let at = self.arrival().max(if greeted { Duration::ZERO } else { hello.unwrap_or_default() });
            self.wires.input_up.send(at, bytes);
            self.packet_sent(at);
        }
    }
}
