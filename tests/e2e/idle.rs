//! Idle means idle, and what nobody sees is not sent.

use std::time::{Duration, Instant};

use kachel::geom::{Rect, Size};
use serde_json::Value;

use crate::seat::{PATIENCE, PROGRAMS, Seat, WindowManager, has};
use crate::support::process::{cpu_seconds, wake_ups};
use crate::support::wait::{wait_for, wait_until};

/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(20);
/// Keep-alives of QUIC with their acknowledgements, about 40 bytes each way: 20 s can hold two.
const IDLE_BYTES_MAX: u64 = 100;
/// Of one core. The statistics file's line a second is in it.
const IDLE_CPU_SHARE_MAX: f64 = 0.02;
/// Wake-ups of front and session in that time: a keep-alive or two.
const HOST_WAKE_UPS_MAX: u64 = 20;
/// Of the viewer: a line of statistics each second, by two threads, and a look at the sound devices and printers now and then.
const VIEWER_WAKE_UPS_MAX: u64 = 120;

#[test]
fn nothing_happens_when_nothing_happens() {
    if !has(PROGRAMS) {
        return;
    }
    let mut seat = Seat::new(WindowManager::Openbox, "cpu");
    // The panel's clock must not strike meanwhile.
    let cover = seat.remote.cover(0x30_3030, 0x40_4040);
    wait_until(PATIENCE, "the cover is shown", || {
        (seat.desk.picture(seat.window).at(20, 300) == 0x30_3030).then_some(())
    });
    let (front, session) = (seat.host.front_pid(), seat.status_number("pid").expect("a session answers") as u32);
    let viewer = seat.viewer.pid();
    wait_calm(&seat);
    let used = || [front, session, viewer].map(|pid| cpu_seconds(&[pid]));
    let (cpu, frames) = (used(), seat.status_number("frames"));
    let woken = || [front, session, viewer].map(wake_ups);
    let slept = woken();
    let (first, begin) = (seat.viewer.stats().len(), Instant::now());
    wait_until(2 * IDLE, "time passes", || {
        (seat.viewer.stats().len() >= first + IDLE.as_secs() as usize).then_some(())
    });
    let seconds = begin.elapsed().as_secs_f64();
    let (after, woken) = (used(), woken());
    let woken: Vec<u64> = slept.iter().zip(woken).map(|(before, after)| after - before).collect();
    let lines = seat.viewer.stats();
    let bytes = |key: &str| number(&lines[lines.len() - 1], key) - number(&lines[first - 1], key);
    let (received, sent) = (bytes("bytes_received"), bytes("bytes_sent"));
    let shares: Vec<f64> = cpu.iter().zip(after).map(|(before, after)| (after - before) / seconds).collect();
    eprintln!(
        "idle for {seconds:.1} s: {received} bytes in, {sent} out; front, session, viewer: CPU {shares:.4?}, woken {woken:?}"
    );
    assert!(received <= IDLE_BYTES_MAX && sent <= IDLE_BYTES_MAX, "{received} bytes in, {sent} out");
    assert!(shares.iter().all(|share| *share < IDLE_CPU_SHARE_MAX), "CPU shares {shares:?}");
    assert!(woken[0] + woken[1] <= HOST_WAKE_UPS_MAX && woken[2] <= VIEWER_WAKE_UPS_MAX, "woken {woken:?} times");
    assert_eq!(seat.status_number("frames"), frames);
    drop(cover);
    seat.settle("after the rest");
}

#[test]
fn hidden_window_gets_no_frames_and_is_exact_when_it_returns() {
    if !has(PROGRAMS) {
        return;
    }
    let mut seat = Seat::new(WindowManager::Openbox, "cpu");
    {
        let cover = seat.remote.cover(0x30_3030, 0x40_4040);
        wait_until(PATIENCE, "the cover is shown", || {
            (seat.desk.picture(seat.window).at(20, 300) == 0x30_3030).then_some(())
        });
        cover.point(24);
        let input = seat.input();
        wait_until(PATIENCE, "the pointer is shown", || (seat.desk.pointer_size() == Size::new(24, 24)).then_some(()));
        drop(input);
        seat.desk.minimise(seat.window);
        let mut turn = 0_u32;
        let mut paint = || {
            turn += 1;
            cover.fill(Rect::new(10 + turn * 7 % 400, 100 + turn * 13 % 500, 40, 40), turn.wrapping_mul(0x01_3579));
            cover.point(40);
        };
        // The host hears of it: soon a change makes no frame any more.
        let stopped = wait_for(PATIENCE, || {
            let before = seat.status_number("frames")?;
            paint();
            std::thread::sleep(Duration::from_millis(50));
            (seat.status_number("frames")? == before).then_some(())
        });
        assert!(stopped.is_some(), "frames are sent to a window that nobody sees");
        let before = (seat.status_number("frames"), seat.viewer.stats().len());
        wait_until(PATIENCE, "changes go on for some seconds", || {
            paint();
            (seat.viewer.stats().len() >= before.1 + 4).then_some(())
        });
        assert_eq!(seat.status_number("frames"), before.0, "hidden");
        let lines = seat.viewer.stats();
        let received =
            number(&lines[lines.len() - 1], "bytes_received") - number(&lines[before.1 + 1], "bytes_received");
        eprintln!("hidden: {received} bytes came while picture and pointer changed");
        assert!(received <= IDLE_BYTES_MAX, "{received} bytes came while picture and pointer changed");
        seat.desk.restore(seat.window);
        let exact = wait_for(PATIENCE, || seat.difference()?.is_none().then_some(()));
        assert!(exact.is_some(), "not exact after the window is back: {:?}", seat.difference());
        assert!(seat.status_number("frames") > before.0, "frames are sent again");
        let input = seat.input();
        let size = wait_for(PATIENCE, || (seat.desk.pointer_size() == Size::new(40, 40)).then_some(()));
        assert!(size.is_some(), "the pointer has the newest shape: {:?}", seat.desk.pointer_size());
        drop(input);
    }
    seat.settle("after the return");
}

/// Waits until no byte has come for two lines of the statistics.
fn wait_calm(seat: &Seat) {
    let first = seat.viewer.stats().len();
    wait_until(PATIENCE, "the link is calm", || {
        let lines = seat.viewer.stats();
        let lines = &lines[first..];
        let last = &lines[lines.len().checked_sub(3)?..];
        let same = |key: &str| last.iter().all(|line| number(line, key) == number(&last[0], key));
        // Host and viewer have compared every tile: only then nothing is left to say.
        let is_agreed = last.iter().all(|line| line["agreed"] == true);
        (is_agreed && same("bytes_received") && same("bytes_sent")).then_some(())
    });
}

fn number(line: &Value, key: &str) -> u64 {
    line[key].as_u64().unwrap_or_else(|| panic!("no {key} in {line}"))
}
