//! Sound over a bad way, in virtual time: what a listener hears of an hour, or of eight, with the real jitter buffer.
//!
//! The loudspeaker is turned here as `viewer::sound` turns it: every 5 ms it takes as much, and what waits for it is the
//! decision of `proto::sound::ahead`.

use crate::fuzz::net::Random;
use bytes::Bytes;
use kachel::proto::sound::ahead::{AHEAD_MIN, AHEAD_SPENT, Ahead};
use kachel::proto::sound::jitter::{JitterBuffer, JitterCounts, Playout};
use kachel::proto::sound::packet::{FRAME, RATE, SoundKind, SoundPacket};
use kachel::proto::sound::sender::Sender;
use kachel::proto::sound::talk::Talk;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
/// How often it takes something.
const PUMP: Duration = Duration::from_millis(5);
/// Of the microphone: how often the host takes something, and how much; how often the viewer sends.
const TICK_TIME: Duration = Duration::from_millis(10);
const TICK: f64 = RATE as f64 / 100.0;
const FRAME_TIME: Duration = Duration::from_millis(20);
/// The loudspeaker's ring runs dry below this.
const EMPTY: f64 = 0.0;

/// The way and the clocks.
#[derive(Clone, Copy)]
struct Way {
    delay: Duration,
    jitter: Duration,
    loss_per_mille: u32,
    /// How much faster the sender's clock runs, in millionths.
    skew_ppm: f64,
    /// The way stands still for so long, every minute.
    standstill: Duration,
    /// The loudspeaker takes nothing for so long, every minute: it was changed, or its machine slept.
    deaf: Duration,
    /// The listener's machine is busy until `busy_until`: one turn in twenty comes late, by up to this much.
    late: Duration,
    busy_until: Duration,
    /// What waits for the loudspeaker stays the same, as if nothing was known of the machine.
    stubborn: bool,
}

const WAY: Way = Way {
    delay: Duration::from_millis(30),
    jitter: Duration::ZERO,
    loss_per_mille: 0,
    skew_ppm: 0.0,
    standstill: Duration::ZERO,
    deaf: Duration::ZERO,
    late: Duration::ZERO,
    busy_until: Duration::ZERO,
    stubborn: false,
};

#[derive(Debug, Default)]
struct Heard {
    counts: JitterCounts,
    /// Times that the loudspeaker ran dry while the sender was sending, and those after the first ten seconds.
    dry: u64,
    dry_later: u64,
    /// Times that two or more frames in a row were made up, as the ear counts them.
    gaps: u64,
    /// Frames that came after one that is not the one before, with nothing made up between them, or came twice: a click.
    clicks: u64,
    /// Longest time that the receiver held sound back, its loudspeaker included, after the first ten seconds.
    delay_max: Duration,
    delay_last: Duration,
    /// What waited for the loudspeaker, at the most and in the end.
    ahead_max: Duration,
    ahead_last: Duration,
    sent: u64,
}

/// A tone without an end over this way.
fn listen(way: Way, length: Duration, seed: u64) -> Heard {
    let mut random = Random(seed);
    let mut sender = Sender::new(SoundKind::Sound, seed);
    let mut jitter = JitterBuffer::new();
    let mut flying: BinaryHeap<Reverse<(Duration, u64, Vec<u8>)>> = BinaryHeap::new();
    let mut heard = Heard::default();
    let loud = [0.5; FRAME];
    let (mut ready, mut begun, mut frame_at) = (0.0_f64, false, 0.0_f64);
    // The number of what was played last, and how much was made up since.
    let (mut last, mut made_up) = (None::<u64>, 0);
    let (mut ahead, mut asleep_until, mut sounding, mut filled) = (Ahead::new(), Duration::ZERO, false, false);
    let mut now = Duration::ZERO;
    while now < length {
        while frame_at <= now.as_secs_f64() {
            // The frame is complete at its end; its number stands for its content.
            let content = heard.sent.to_le_bytes();
            let coded: Vec<u8> = std::iter::once(31 << 3 | 4).chain(content).collect();
            sender.set_doubled(jitter.is_lossy(now));
            let packet = sender.handle_frame(&loud, &coded, FRAME as u32, 0).expect("it is loud");
            let mut arrives = now + way.delay + way.jitter.mul_f64(f64::from(random.below(1_000)) / 1_000.0);
            let into_minute = Duration::from_millis(arrives.as_millis() as u64 % 60_000);
            if into_minute > 30_000 * MS && into_minute < 30_000 * MS + way.standstill {
                arrives += 30_000 * MS + way.standstill - into_minute;
            }
            let mut bytes = Vec::new();
            packet.encode(&mut bytes);
            if random.below(1_000) >= way.loss_per_mille {
                flying.push(Reverse((arrives, heard.sent, bytes)));
            }
            heard.sent += 1;
            frame_at += FRAME as f64 / f64::from(RATE) / (1.0 + way.skew_ppm * 1e-6);
        }
        let awake = now >= asleep_until;
        if awake && now < way.busy_until && random.below(20) == 0 {
            asleep_until = now + PUMP + way.late.mul_f64(f64::from(random.below(1_000)) / 1_000.0);
        }
        while awake && flying.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((at, _, bytes))) = flying.pop() else { break };
            // It came when it came; who was late is the listener.
            jitter.handle_packet(SoundPacket::decode(bytes.into()).expect("our own packet"), at);
        }
        let minute = Duration::from_millis(now.as_millis() as u64 % 60_000);
        let deaf = minute > 40_000 * MS && minute < 40_000 * MS + way.deaf;
        if sounding && awake && !deaf && !way.stubborn {
            if filled {
                ahead.handle_left(Duration::from_secs_f64(ready), now);
            }
            ahead.handle_time(now);
        }
        let wanted = ahead.wanted(jitter.depth(now));
        (heard.ahead_max, heard.ahead_last) = (heard.ahead_max.max(wanted), wanted);
        let lacks = |ready: f64, wanted: Duration| ready < wanted.as_secs_f64();
        while (lacks(ready, AHEAD_SPENT) || lacks(ready, wanted) && jitter.has_next()) && awake && !deaf {
            jitter.set_lacking(wanted.saturating_sub(Duration::from_secs_f64(ready)));
            let frame = jitter.frame_samples() as f64 / f64::from(RATE);
            let playout = jitter.poll_playout(now);
            match &playout {
                Playout::Idle => {
                    sounding = false;
                    break;
                }
                Playout::Frame(content) | Playout::Skip(content) => {
                    let number = u64::from_le_bytes(content[1..9].try_into().expect("a number"));
                    let follows = last.is_none_or(|last| (last + 1..=last + 1 + made_up).contains(&number));
                    heard.clicks += u64::from(!follows);
                    (last, made_up) = (Some(number), 0);
                }
                Playout::Recover(_) | Playout::Conceal => {
                    made_up += 1;
                    heard.gaps += u64::from(made_up == 2);
                }
            }
            if !matches!(playout, Playout::Skip(_)) {
                (begun, sounding) = (true, true);
                ready += frame / jitter.speed();
            }
        }
        if awake {
            filled = !lacks(ready, wanted);
        }
        heard.delay_last = jitter.delay() + Duration::from_secs_f64(ready);
        if now > 10_000 * MS {
            heard.delay_max = heard.delay_max.max(heard.delay_last);
        }
        if begun && !deaf {
            ready -= PUMP.as_secs_f64();
            if ready < EMPTY {
                heard.dry += 1;
                heard.dry_later += u64::from(now > 10_000 * MS);
                if sounding && !way.stubborn {
                    ahead.handle_gap(Duration::from_secs_f64(-ready), now);
                }
                ready = 0.0;
            }
        }
        now += PUMP;
    }
    heard.counts = jitter.counts();
    heard
}

#[test]
fn one_percent_loss_and_30_ms_of_jitter_are_not_heard() {
    for seed in 0..6 {
        let heard = listen(Way { loss_per_mille: 10, jitter: 30 * MS, ..WAY }, 600_000 * MS, seed);
        let c = heard.counts;
        assert!(heard.gaps + heard.dry + heard.clicks <= 1, "more than one audible gap in ten minutes: {heard:?}");
        assert_eq!(heard.gaps, c.gaps, "the buffer counts its gaps: {heard:?}");
        assert!(c.concealed * 1_000 <= heard.sent * 5, "more than half a percent made up: {heard:?}");
        assert!(c.repaired > 150, "the copies were of no use: {heard:?}");
        assert!(heard.delay_max < 150 * MS, "{heard:?}");
    }
}

/// A microphone without an end over this way, in the host's sound process: every 10 ms as much is taken, and what is
/// left of a frame then is all that waits behind the jitter buffer. How it learns of losses is the viewer's business: by
/// QUIC, a round trip later.
fn speak(way: Way, length: Duration, seed: u64, knows: bool) -> Heard {
    let mut random = Random(seed);
    let (mut talk, mut lost, mut known) = (Talk::new(true), 0, BinaryHeap::new());
    let mut sender = Sender::new(SoundKind::Microphone, seed);
    let mut jitter = JitterBuffer::new();
    let mut flying: BinaryHeap<Reverse<(Duration, u64, Vec<u8>)>> = BinaryHeap::new();
    let mut heard = Heard::default();
    let (mut ready, mut begun, mut last, mut made_up) = (0.0_f64, false, None::<u64>, 0);
    // When a frame is complete, by the microphone's own clock.
    let complete_at = |frame: u64| FRAME_TIME.mul_f64(frame as f64 / (1.0 + way.skew_ppm * 1e-6));
    let mut now = Duration::ZERO;
    while now < length {
        while known.peek().is_some_and(|Reverse(at)| *at <= now) {
            known.pop();
            lost += 1;
        }
        while complete_at(heard.sent) <= now {
            let spoken = complete_at(heard.sent);
            talk.handle_lost(lost, now);
            let coded: Vec<u8> = std::iter::once(31 << 3).chain(heard.sent.to_le_bytes()).collect();
            sender.set_doubled(knows && talk.talks_twice(now));
            let packet = sender.handle_frame(&[0.5; FRAME], &coded, FRAME as u32, 0).expect("it is loud");
            let arrives = spoken + way.delay + way.jitter.mul_f64(f64::from(random.below(1_000)) / 1_000.0);
            let mut bytes = Vec::new();
            packet.encode(&mut bytes);
            if random.below(1_000) < way.loss_per_mille {
                // Three packets later are acknowledged before it counts as lost (RFC 9002, section 6.1.1).
                known.push(Reverse(now + 3 * FRAME_TIME + 2 * way.delay + way.jitter));
            } else {
                flying.push(Reverse((arrives, heard.sent, bytes)));
            }
            heard.sent += 1;
        }
        while flying.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((at, _, bytes))) = flying.pop() else { break };
            jitter.handle_packet(SoundPacket::decode(bytes.into()).expect("our own packet"), at);
        }
        while ready < TICK {
            jitter.set_lacking(Duration::from_secs_f64((TICK - ready) / f64::from(RATE)));
            let frame = jitter.frame_samples() as f64;
            let playout = jitter.poll_playout(now);
            match &playout {
                Playout::Idle => {
                    heard.dry += u64::from(begun);
                    break;
                }
                Playout::Frame(content) | Playout::Skip(content) => {
                    let number = u64::from_le_bytes(content[1..9].try_into().expect("a number"));
                    let follows = last.is_none_or(|last| (last + 1..=last + 1 + made_up).contains(&number));
                    heard.clicks += u64::from(!follows);
                    (begun, last, made_up) = (true, Some(number), 0);
                }
                Playout::Recover(_) | Playout::Conceal => made_up += 1,
            }
            if !matches!(playout, Playout::Skip(_)) {
                ready += frame / jitter.speed();
            }
        }
        ready = (ready - TICK).max(0.0);
        now += TICK_TIME;
        heard.delay_last = jitter.delay() + Duration::from_secs_f64(ready / f64::from(RATE));
        if now > 10_000 * MS {
            heard.delay_max = heard.delay_max.max(heard.delay_last);
        }
    }
    heard.counts = jitter.counts();
    heard.gaps = heard.counts.gaps;
    heard
}

#[test]
fn one_percent_loss_and_30_ms_of_jitter_are_not_heard_of_the_microphone_either() {
    let way = Way { loss_per_mille: 10, jitter: 30 * MS, ..WAY };
    let mut gaps_without = 0;
    for seed in 0..6 {
        let heard = speak(way, 600_000 * MS, seed, true);
        let c = heard.counts;
        assert!(heard.gaps + heard.dry + heard.clicks <= 1, "more than one audible gap in ten minutes: {heard:?}");
        assert!(c.concealed * 1_000 <= heard.sent * 5, "more than half a percent made up: {heard:?}");
        assert!(c.repaired > 150, "the copies were of no use: {heard:?}");
        assert!(heard.delay_max < 150 * MS, "{heard:?}");
        gaps_without += speak(way, 600_000 * MS, seed, false).gaps;
    }
    assert!(gaps_without > 6, "the way is too good to show anything: {gaps_without} gaps in an hour");
}

#[test]
fn five_percent_loss_stays_below_three_percent_made_up() {
    let heard = listen(Way { loss_per_mille: 50, jitter: 30 * MS, ..WAY }, 600_000 * MS, 7);
    assert!(heard.counts.concealed * 100 <= heard.sent * 3, "{heard:?}");
}

#[test]
fn a_good_way_adds_little() {
    let heard = listen(Way { jitter: 2 * MS, ..WAY }, 600_000 * MS, 1);
    assert_eq!((heard.counts.concealed, heard.counts.late, heard.dry), (0, 0, 0), "{heard:?}");
    // A way that is not known yet is given more time than it turns out to need.
    assert!(heard.delay_max < 90 * MS && heard.delay_last < 60 * MS, "{heard:?}");
}

#[test]
fn eight_hours_of_clock_skew_keep_the_delay() {
    for skew_ppm in [200.0, -200.0] {
        let heard = listen(Way { skew_ppm, jitter: 5 * MS, ..WAY }, 8 * 3_600_000 * MS, 3);
        assert!(heard.delay_max < 150 * MS, "{skew_ppm} ppm: {heard:?}");
        assert_eq!((heard.counts.concealed, heard.counts.skipped), (0, 0), "{skew_ppm} ppm: {heard:?}");
        assert_eq!((heard.gaps, heard.clicks, heard.dry), (0, 0, 0), "{skew_ppm} ppm: {heard:?}");
    }
}

#[test]
fn eight_hours_of_clock_skew_keep_the_microphone_s_delay() {
    for skew_ppm in [200.0, -200.0] {
        let heard = speak(Way { skew_ppm, jitter: 5 * MS, ..WAY }, 8 * 3_600_000 * MS, 3, true);
        assert!(heard.delay_max < 150 * MS, "{skew_ppm} ppm: {heard:?}");
        // Nothing waits here that a late frame could be late for unheard, so a rare one is made up: one an hour at the most.
        assert!(heard.counts.concealed <= 8 && heard.counts.skipped == 0, "{skew_ppm} ppm: {heard:?}");
        assert_eq!((heard.gaps, heard.clicks, heard.dry), (0, 0, 0), "{skew_ppm} ppm: {heard:?}");
    }
}

#[test]
fn after_a_standstill_the_delay_comes_back() {
    let heard = listen(Way { standstill: 300 * MS, ..WAY }, 110_000 * MS, 5);
    assert!(heard.delay_last < 150 * MS, "20 s after the last standstill: {heard:?}");
    assert!(heard.counts.skipped < 40, "{heard:?}");
}

#[test]
fn after_a_loudspeaker_that_took_nothing_the_delay_comes_back() {
    for deaf in [100 * MS, 500 * MS, 5_000 * MS] {
        let heard = listen(Way { deaf, ..WAY }, 58_000 * MS, 5);
        assert!(heard.delay_last < 100 * MS, "{deaf:?}: {heard:?}");
        assert!(heard.counts.concealed < 5, "{deaf:?}: {heard:?}");
    }
}

#[test]
fn a_machine_that_comes_late_is_not_heard_for_long_and_costs_no_delay_afterwards() {
    for seed in 0..6 {
        let busy = Way { late: 50 * MS, busy_until: 300_000 * MS, jitter: 2 * MS, ..WAY };
        let stubborn = listen(Way { stubborn: true, ..busy }, 300_000 * MS, seed);
        assert!(stubborn.dry_later > 100, "the machine is not busy enough to show anything: {stubborn:?}");
        let heard = listen(busy, 300_000 * MS, seed);
        assert!(heard.dry <= 4 && heard.dry_later <= 1, "{heard:?}");
        assert!(heard.delay_max < 140 * MS, "with the device's own 10 ms more than 150: {heard:?}");
        assert!(heard.ahead_last >= 50 * MS, "{heard:?}");
        // Five steps, a minute each.
        let calm = listen(busy, 300_000 * MS + 390_000 * MS, seed);
        assert_eq!(calm.ahead_last, AHEAD_MIN, "{calm:?}");
        assert!(calm.delay_last < 60 * MS, "{calm:?}");
    }
}

/// What is made up when packets come in turns, one being played in each: the turns in which it is, and what is played.
fn made_up(arrivals: &[&[u64]]) -> (Vec<usize>, Vec<u64>) {
    let mut jitter = JitterBuffer::new();
    let mut sender = Sender::new(SoundKind::Sound, 4);
    let packets: Vec<SoundPacket> = (0..=arrivals.iter().copied().flatten().copied().max().unwrap_or_default())
        .map(|i| {
            let coded: Vec<u8> = std::iter::once(31 << 3 | 4).chain(i.to_le_bytes()).collect();
            sender.handle_frame(&[0.5; FRAME], &coded, FRAME as u32, i * FRAME as u64).expect("it is loud")
        })
        .collect();
    let (mut made_up, mut played) = (Vec::new(), Vec::new());
    for (turn, arrivals) in arrivals.iter().enumerate() {
        let now = 20 * MS * turn as u32;
        for i in *arrivals {
            jitter.handle_packet(packets[*i as usize].clone(), now);
        }
        // Later than the depth of a way that is not known yet.
        match jitter.poll_playout(now + 60 * MS) {
            Playout::Frame(content) => {
                played.push(u64::from_le_bytes(content[1..9].try_into().expect("a number")));
            }
            Playout::Conceal | Playout::Recover(_) => made_up.push(turn),
            other => panic!("turn {turn}: {other:?}"),
        }
    }
    assert_eq!(jitter.counts().late, 0);
    (made_up, played)
}

#[test]
fn a_place_that_was_held_is_filled_by_what_comes_late_or_stands_for_what_is_lost() {
    let late = made_up(&[&[0], &[1], &[2], &[], &[3, 4], &[5], &[6]]);
    assert_eq!(late, (vec![3], vec![0, 1, 2, 3, 4, 5]));
    let lost = made_up(&[&[0], &[1], &[2], &[], &[4], &[5], &[6]]);
    assert_eq!(lost, (vec![3], vec![0, 1, 2, 4, 5, 6]));
    let lost_with_the_next_there = made_up(&[&[0], &[1], &[2], &[4], &[5], &[6]]);
    assert_eq!(lost_with_the_next_there, (vec![3], vec![0, 1, 2, 4, 5]));
    // What came late has filled its place: another loss is heard as one.
    let late_and_lost = made_up(&[&[0], &[1], &[2], &[], &[3, 4], &[5], &[], &[7], &[8], &[9]]);
    assert_eq!(late_and_lost, (vec![3, 7], vec![0, 1, 2, 3, 4, 5, 7, 8]));
}

#[test]
fn silence_is_no_loss_and_a_new_sound_begins_at_its_depth() {
    let mut jitter = JitterBuffer::new();
    let mut sender = Sender::new(SoundKind::Sound, u64::MAX);
    let (loud, still) = ([0.5; FRAME], [0.0; FRAME]);
    let coded = [31 << 3 | 4; 60];
    let mut played = 0;
    for i in 0..3_000_u32 {
        let now = 20 * MS * i;
        let talks = i % 500 < 100;
        let clock = u64::from(i) * FRAME as u64;
        if let Some(packet) = sender.handle_frame(if talks { &loud } else { &still }, &coded, FRAME as u32, clock) {
            jitter.handle_packet(packet, now);
        }
        if jitter.poll_playout(now) != Playout::Idle {
            played += 1;
        }
    }
    let counts = jitter.counts();
    assert_eq!((counts.concealed, counts.late, counts.skipped), (0, 0, 0));
    assert_eq!(played, counts.packets);
    assert!(!jitter.is_lossy(60_000 * MS) && !jitter.is_busy());
}

#[test]
fn a_sender_that_was_started_anew_is_another_one() {
    let mut jitter = JitterBuffer::new();
    let (loud, coded) = ([0.5; FRAME], [31 << 3 | 4; 60]);
    let mut now = Duration::ZERO;
    for seed in [3, 0x1234_5678_9abc, 77 << 16] {
        let mut sender = Sender::new(SoundKind::Sound, seed);
        let mut heard = 0;
        for i in 0..100_u64 {
            let packet = sender.handle_frame(&loud, &coded, FRAME as u32, i * FRAME as u64).expect("it is loud");
            jitter.handle_packet(packet, now);
            heard += u32::from(matches!(jitter.poll_playout(now), Playout::Frame(_)));
            now += 20 * MS;
        }
        assert!(heard > 90, "seed {seed}: {heard} of 100, {:?}", jitter.counts());
    }
}

#[test]
fn a_hostile_sender_fills_nothing() {
    let mut jitter = JitterBuffer::new();
    let mut random = Random(9);
    for i in 0..20_000_u32 {
        let packet = SoundPacket {
            kind: SoundKind::Sound,
            last: random.below(9) == 0,
            sequence: random.next() as u16,
            timestamp: random.next(),
            previous: (random.below(2) == 0).then(|| Bytes::from_static(&[31 << 3, 1])),
            frame: Bytes::from_static(&[31 << 3, 1]),
        };
        jitter.handle_packet(packet, MS * i);
        // Nothing that it says makes the buffer play for ever or at a speed that can be heard.
        let mut turns = 0;
        while random.below(3) == 0 && jitter.poll_playout(MS * i) != Playout::Idle && turns < 50 {
            turns += 1;
        }
        assert!((jitter.speed() - 1.0).abs() <= 0.004_001);
        assert!(jitter.depth(MS * i) <= 100 * MS);
    }
    let mut left = 0;
    while jitter.poll_playout(30_000 * MS) != Playout::Idle {
        left += 1;
        assert!(left < 100, "it never ends");
    }
}
