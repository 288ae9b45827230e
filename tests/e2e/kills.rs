//! Killing and coming back: the front, the session process, the viewer, and a link that stands still. The desktop and
//! its programs survive all of it, and what was typed meanwhile arrives once.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use kachel::geom::Rect;
use rustix::process::Signal;

use crate::seat::{
    PATIENCE, PROGRAMS, Seat, TIERS, WindowManager, below_bar, has, host_options, start_viewer, state_of,
    wait_for_exactly, without_viewer,
};
use crate::support::process::send;
use crate::support::wait::{wait_for, wait_until};

const QUICK: Duration = Duration::from_millis(8);
/// The picture greys this long after the first key that nobody answers, or the last picture of something that moves; the
/// aim is 1 s.
const GREYS_WITHIN: Duration = Duration::from_millis(1800);

/// Pointer shapes that a front does not read.
const SHAPES: usize = 200;
/// What a session may grow by meanwhile: one shape that waits, and 2 MB for the picture before it, which may not have
/// settled. All shapes would be 13 MB.
const KEPT_MAX: usize = 6 << 20;

#[test]
fn desktop_survives_front_session_process_and_viewer() {
    if !has(PROGRAMS) {
        return;
    }
    let mut seat = Seat::new(WindowManager::Openbox, TIERS[0]);
    let file = seat.file("typed");
    let terminal = seat.open_typewriter(&file);
    let mut wanted = String::new();
    for (round, victim) in ["front", "session", "both", "viewer", "front"].into_iter().enumerate() {
        let begin = Instant::now();
        match victim {
            "front" => seat.restart_front(),
            "session" => kill_session(&mut seat),
            "both" => {
                kill_session(&mut seat);
                seat.restart_front();
            }
            _ => seat.replace_viewer("cpu"),
        }
        // An idle link is silent for up to 15 s; whoever sits there moves the mouse and so finds out at once.
        let place = seat.desk.place(seat.window);
        let nudge = seat.desk.input();
        let mut step = 0;
        wait_until(PATIENCE, "one viewer is there", || {
            step += 1;
            nudge.move_to(place.x + 300 + step % 2, place.y + 700);
            (seat.status_number("viewers")? == 1 && seat.link_state() == "live").then_some(())
        });
        seat.wait_picture(&format!("{victim} killed"));
        eprintln!("{victim}: the picture was back {} ms after the kill began", begin.elapsed().as_millis());
        let same = seat.remote.wait_window("typewriter");
        assert_eq!(same.id, terminal.id, "{victim}: the terminal is the same");
        let line = format!("nach {round} {victim} äß\n");
        seat.input().type_by_layout(&line, QUICK);
        wanted += &line;
        wait_for_exactly(&file, &wanted, victim);
        seat.wait_released(victim);
    }
    seat.settle("after all kills");
    seat.assert_no_panic();
}

#[test]
fn a_viewer_that_gets_another_address_goes_on_in_the_same_connection() {
    if !has(PROGRAMS) {
        return;
    }
    let mut seat = Seat::new(WindowManager::Openbox, TIERS[0]);
    let trial = fs::read_to_string(seat.host.trial_file()).expect("the host has written it");
    let host = trial.split('"').find_map(|word| word.parse::<SocketAddr>().ok()).expect("the trial has an address");
    let (outside, moves) = router(host);
    fs::write(seat.host.trial_file(), trial.replace(&host.to_string(), &outside.to_string())).expect("ours");
    seat.replace_viewer(TIERS[0]);
    let file = seat.file("typed");
    seat.open_typewriter(&file);
    let mut input = seat.input();
    let connections = seat.status_number("viewers_total");
    let mut wanted = String::new();
    for place in ["127.0.0.2:0", "127.0.0.3:0", "127.0.0.1:0"] {
        let (before, after) = (format!("vor {place} "), format!("nach {place}\n"));
        input.type_by_layout(&before, QUICK);
        moves.send(place.parse().expect("an address")).expect("the router runs");
        input.type_by_layout(&after, QUICK);
        wanted += &(before + &after);
        wait_for_exactly(&file, &wanted, place);
        seat.settle(place);
    }
    assert_eq!(seat.status_number("viewers_total"), connections, "the connection was made anew");
    // The first line may be from before the first connection.
    let states: Vec<_> = seat.viewer.stats().iter().skip(1).map(|line| line["state"].clone()).collect();
    assert!(states.len() > 3 && states.iter().all(|state| state == "live"), "{states:?}");
    seat.assert_no_panic();
}

/// Stands between viewers and a host as a router does that translates addresses: the host sees packets of the router's own
/// address, which is another one from each order on. Runs until the program ends.
fn router(host: SocketAddr) -> (SocketAddr, Sender<SocketAddr>) {
    let inside = UdpSocket::bind("127.0.0.1:0").expect("a port");
    inside.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
    let outside = move |place: SocketAddr| {
        let socket = UdpSocket::bind(place).expect("an address of this machine");
        socket.connect(host).expect("the host's address");
        socket.set_nonblocking(true).expect("a socket");
        socket
    };
    let address = inside.local_addr().expect("it is bound");
    let (orders, moves) = channel();
    std::thread::spawn(move || {
        let (mut viewer, mut socket, mut packet) =
            (None, outside("127.0.0.1:0".parse().expect("an address")), [0; 2048]);
        loop {
            if let Ok(place) = moves.try_recv() {
                socket = outside(place);
            }
            if let Ok((count, from)) = inside.recv_from(&mut packet) {
                viewer = Some(from);
                socket.send(&packet[..count]).ok();
            }
            while let (Some(viewer), Ok(count)) = (viewer, socket.recv(&mut packet)) {
                inside.send_to(&packet[..count], viewer).ok();
            }
        }
    });
    (address, orders)
}

#[test]
fn link_that_stands_still_is_told_within_a_second_and_heals() {
    if !has(PROGRAMS) {
        return;
    }
    let mut seat = Seat::new(WindowManager::Openbox, TIERS[0]);
    let file = seat.file("typed");
    seat.open_typewriter(&file);
    let mut input = seat.input();
    input.type_by_layout("vorher ", QUICK);
    seat.settle("before the link stands still");

    let front = seat.host.front_pid();
    let before = seat.desk.picture(seat.window);
    send(front, Signal::STOP);
    let begin = Instant::now();
    input.type_by_layout("mitten ", QUICK);
    let greyed = wait_for(PATIENCE, || {
        let now = seat.desk.picture(seat.window);
        (now.diff(&before).share() > 0.5).then(|| begin.elapsed())
    });
    let begin_of_end = Instant::now();
    input.type_by_layout("drin ", QUICK);
    send(front, Signal::CONT);
    let greyed = greyed.expect("the picture greys");
    eprintln!("the picture greyed {} ms after the first key", greyed.as_millis());
    assert!(greyed < GREYS_WITHIN, "the picture greyed only after {greyed:?}");
    input.type_by_layout("danach\n", QUICK);
    let wanted = "vorher mitten drin danach\n";
    wait_for_exactly(&file, wanted, "the front goes on");
    eprintln!("all was there {} ms after the front went on", begin_of_end.elapsed().as_millis());
    seat.settle("after the link has healed");
    seat.wait_released("after the link has healed");

    // For so long that the connection is given up: it comes back by itself, without a key stuck.
    send(front, Signal::STOP);
    input.hold("shift", true);
    wait_until(PATIENCE, "the viewer gives the connection up", || (seat.link_state() == "reconnecting").then_some(()));
    input.hold("shift", false);
    send(front, Signal::CONT);
    wait_until(PATIENCE, "the link lives again", || (seat.link_state() == "live").then_some(()));
    seat.wait_picture("after the connection was made anew");
    seat.wait_released("after the connection was made anew");
    let whole = seat.remote.picture().map(|remote| below_bar(&remote) == below_bar(&seat.desk.picture(seat.window)));
    assert_eq!(whole, Some(true));
    seat.assert_no_panic();
}

#[test]
fn somebody_who_only_watches_is_told_within_a_second_too() {
    if !has(PROGRAMS) {
        return;
    }
    let mut seat = Seat::new(WindowManager::Openbox, TIERS[0]);
    let lines = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.04; done";
    seat.host.exec(&["xterm", "-T", "lines", "-geometry", "80x24+200+200", "-e", "sh", "-c", lines]);
    seat.remote.wait_window("lines");
    let frames = || seat.status_number("frames");
    let first = frames();
    wait_until(PATIENCE, "lines go by", || (frames()? > first? + 50).then_some(()));
    let front = seat.host.front_pid();
    let before = seat.desk.picture(seat.window);
    send(front, Signal::STOP);
    let begin = Instant::now();
    let greyed = wait_for(2 * PATIENCE, || {
        (seat.desk.picture(seat.window).diff(&before).share() > 0.5).then(|| begin.elapsed())
    });
    send(front, Signal::CONT);
    let greyed = greyed.expect("the picture greys");
    eprintln!("the picture greyed {} ms after the front stood still", greyed.as_millis());
    assert!(greyed < GREYS_WITHIN, "the picture greyed only after {greyed:?}");
    wait_until(PATIENCE, "the link lives again", || (seat.link_state() == "live").then_some(()));
    seat.assert_no_panic();
}

#[test]
fn whoever_comes_back_sees_the_last_picture_until_the_new_one_is_there() {
    if !has(PROGRAMS) {
        return;
    }
    let options = host_options(0);
    let (desk, mut host, remote) = without_viewer(&options);
    let shown = [0xfe_1234, 0x12_fe56];
    let cover = remote.cover(shown[0], shown[1]);
    let (mut viewer, window) = start_viewer(&desk, &host.trial_file(), TIERS[0]);
    // No page has words there: it is all picture, or all background.
    let corners = || {
        let (picture, place) = (desk.picture(window), desk.place(window));
        [4, place.w - 5].map(|x| picture.at(x, place.h - 5))
    };
    wait_until(PATIENCE, "the picture", || (corners() == shown).then_some(()));
    host.end_front(Signal::TERM);
    let greyed = wait_until(PATIENCE, "the picture greys", || {
        let now = corners();
        (now[0] != shown[0] && now[1] != shown[1]).then_some(now)
    });
    assert_ne!(greyed[0], greyed[1], "nothing of the picture is left");
    let state_for = |lines: usize, state: &str| {
        let from = viewer.stats().len();
        wait_until(PATIENCE, state, || {
            assert_eq!(corners(), greyed, "another page than the one before is shown, link {}", state_of(&viewer));
            let stats = viewer.stats();
            (stats.len() >= from + lines && stats.last()?["state"] == state).then_some(())
        });
    };
    state_for(1, "reconnecting");
    // The link comes back, and no picture with it.
    let session = host.status().expect("the session answers")["sessions"][0]["pid"].as_u64();
    let session = u32::try_from(session.expect("it has a process")).expect("a process id");
    send(session, Signal::STOP);
    host.serve(&options);
    state_for(1, "live");
    state_for(2, "live");
    send(session, Signal::CONT);
    wait_until(PATIENCE, "the session goes on", || (corners() == shown).then_some(()));
    viewer.processes().assert_running();
    drop(cover);
}

#[test]
fn front_that_stands_still_costs_its_session_nothing() {
    if !has(PROGRAMS) {
        return;
    }
    let mut seat = Seat::new(WindowManager::Openbox, "cpu");
    let (front, session) = seat.host_pids().expect("the session answers");
    let viewers = seat.status_number("viewers_total");
    {
        let cover = seat.remote.cover(0x30_3030, 0x40_4040);
        let shows = |color: u32| (seat.desk.picture(seat.window).at(30, 310) == color).then_some(());
        wait_until(PATIENCE, "the cover is shown", || shows(0x30_3030));
        let before = kept_bytes(session);
        send(front, Signal::STOP);
        for _ in 0..SHAPES {
            cover.point(128);
            // The session takes one shape after the other.
            std::thread::sleep(Duration::from_millis(3));
        }
        let grown = kept_bytes(session).saturating_sub(before);
        send(front, Signal::CONT);
        eprintln!("{SHAPES} pointer shapes of 64 KiB grew the session by {} KiB", grown >> 10);
        assert!(grown < KEPT_MAX, "{grown} bytes");
        cover.fill(Rect::new(20, 300, 100, 100), 0x12_3456);
        wait_until(PATIENCE, "the front goes on", || shows(0x12_3456));
    }
    assert_eq!(seat.status_number("viewers_total"), viewers, "the viewer is the same");
    seat.settle("after the standstill");
}

/// Memory that a process has written to, in bytes.
fn kept_bytes(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux counts it");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

/// Kills the session process and waits for the one that follows.
fn kill_session(seat: &mut Seat) {
    let (_, pid) = seat.host_pids().expect("the session answers");
    send(pid, Signal::KILL);
    wait_until(PATIENCE, "another session process", || (seat.host_pids()?.1 != pid).then_some(()));
}
