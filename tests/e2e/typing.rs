//! Typing into real applications through the viewer's window: every character of five keyboards, fast, on every tier,
//! and no key that stays down when the window loses the focus or the link its other end.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kachel::geom::Size;
use rustix::process::Signal;

use crate::seat::{Desk, EXACT_WITHIN, PATIENCE, PROGRAMS, Seat, TIERS, WindowManager, has};
use crate::support::display::Display;
use crate::support::input::{Button, Input};
use crate::support::process::send;
use crate::support::wait::{wait_for, wait_until};

/// A fast typist's pace.
const PACE: Duration = Duration::from_millis(33);
/// For texts whose speed is not the point.
const QUICK: Duration = Duration::from_millis(8);

/// What the keys of each keyboard can write: umlauts, AltGr, dead keys, euro, capital sharp s.
const LAYOUTS: [(&str, &str); 5] = [
    ("de", "Zwölf Boxkämpfer jagen Öl, ÄÜ süß: STRAẞE 5 € @ {[]} \\ | ~ µ ² ³ à é ê ô «»"),
    ("ch", "Zyx äöü éèà ç Ö ë ñ 7 € @ # {[]} £ $ â ê |"),
    ("at", "Jänner in Öst. STRAẞE 9 € @ {[]} \\ | ~ µ á è î"),
    ("fr", "Zqwa éèçàù 3 € @ # {[]} \\ | ê ë ô « » § µ 0123456789"),
    ("us", "The quick (brown) \"fox\" {[]} \\ | ~ ^ 0123456789 @ # $ % & * ; : ' < > ? / = + - _ !"),
];

#[test]
fn every_layout_writes_what_was_typed() {
    if !has(PROGRAMS) {
        return;
    }
    let desk = Desk::new(WindowManager::Openbox);
    desk.set_layout(LAYOUTS[0].0);
    let mut seat = Seat::with_desk(desk, "cpu");
    let file = seat.file("typed");
    seat.open_typewriter(&file);
    let mut wanted = String::new();
    for (layout, text) in LAYOUTS {
        if layout != LAYOUTS[0].0 {
            // A viewer finds the layout of its display when it starts.
            seat.desk.set_layout(layout);
            seat.viewer.processes().end("kachel", Signal::KILL);
            seat.open_viewer("cpu");
            seat.wait_picture(layout);
        }
        let mut input = seat.input();
        input.type_by_layout(text, QUICK);
        input.press("Return");
        wanted += text;
        wanted.push('\n');
        wait_for_text(&file, &wanted, layout);
        seat.wait_released(layout);
    }
}

#[test]
fn two_hundred_characters_arrive_once_and_in_order_on_every_tier() {
    if !has(PROGRAMS) {
        return;
    }
    let mut seat = Seat::new(WindowManager::Openbox, TIERS[0]);
    let file = seat.file("letter.txt");
    fs::write(&file, "").expect("the folder is ours");
    seat.host.exec(&["mousepad", &file.display().to_string()]);
    let editor = seat.remote.wait_window("letter.txt");
    for renderer in TIERS {
        if renderer != TIERS[0] {
            seat.replace_viewer(renderer);
        }
        seat.remote.focus(editor.id);
        seat.settle("the editor is open");
        let mut input = seat.input();
        input.press("ctrl+a");
        let text = two_hundred_characters();
        input.type_text(&text, PACE);
        let behind = seat.settle(renderer);
        eprintln!("{renderer}: exact {} ms after the last change of the picture", behind.as_millis());
        assert!(behind < EXACT_WITHIN, "{renderer}: exact only after {behind:?}");
        input.press("ctrl+s");
        wait_for_text(&file, &text, renderer);
        seat.wait_released(renderer);
        seat.wait_numbers(&["latency_median_us", "latency_p95_us", "decode_us", "rtt_us"]);
    }
    seat.assert_no_panic();
}

#[test]
fn typing_and_resizing_need_no_window_manager() {
    if !has(PROGRAMS) {
        return;
    }
    let mut seat = Seat::new(WindowManager::Absent, "cpu");
    let file = seat.file("typed");
    seat.open_typewriter(&file);
    let mut input = seat.input();
    input.type_by_layout("ohne Fensterverwaltung: äöüß €", QUICK);
    input.press("Return");
    wait_for_text(&file, "ohne Fensterverwaltung: äöüß €\n", "without a window manager");
    seat.desk.resize(seat.window, Size::new(1011, 707));
    wait_until(PATIENCE, "the session takes the window's size", || {
        (seat.remote.size() == Size::new(1011, 707)).then_some(())
    });
    seat.settle("after the resize");
}

#[test]
fn no_key_stays_down() {
    if !has(PROGRAMS) {
        return;
    }
    let mut seat = Seat::new(WindowManager::Openbox, "cpu");
    let file = seat.file("typed");
    seat.open_typewriter(&file);
    let mut input = seat.input();
    let keys = ["shift", "ctrl", "altgr", "Left"];

    // The focus goes elsewhere, and the keys are let go there.
    hold(&seat, &mut input, &keys);
    seat.desk.another_window();
    seat.wait_released("the focus is lost");
    keys.iter().for_each(|key| input.hold(key, false));
    seat.desk.focus(seat.window);

    // The window is minimised with keys and a button held.
    hold(&seat, &mut input, &keys);
    input.button(Button::Left, true);
    wait_until(PATIENCE, "the button is down", || (seat.remote.buttons_down() != 0).then_some(()));
    seat.desk.minimise(seat.window);
    seat.wait_released("the window is minimised");
    keys.iter().for_each(|key| input.hold(key, false));
    input.button(Button::Left, false);
    seat.desk.restore(seat.window);
    let mut input = seat.input();

    // The viewer stands still under held keys, and with it everything that would let go of them; the link stays.
    hold(&seat, &mut input, &keys);
    send(seat.viewer.pid(), Signal::STOP);
    seat.wait_released("the viewer stands still");
    assert_eq!(seat.status_number("viewers"), Some(1), "it was the end of the link that released them");
    let lines = seat.viewer.stats().len();
    send(seat.viewer.pid(), Signal::CONT);
    keys.iter().for_each(|key| input.hold(key, false));
    // The line after the next one was written when it had seen how long it stood, and had perhaps connected anew.
    wait_until(PATIENCE, "the viewer goes on", || {
        (seat.viewer.stats().len() >= lines + 2 && seat.link_state() == "live").then_some(())
    });

    // The front dies under held keys.
    let mut input = seat.input();
    hold(&seat, &mut input, &keys);
    seat.host.end_front(Signal::KILL);
    wait_until(PATIENCE, "keys are up after the front's death", || (seat.remote.keys_down() == 0).then_some(()));
    keys.iter().for_each(|key| input.hold(key, false));
    seat.serve_again();
    // Before that the picture may be the one from before, and what is pressed is for a connection that is no more.
    wait_until(PATIENCE, "the viewer is back", || (seat.status_number("viewers") == Some(1)).then_some(()));
    seat.wait_exact("after the front's return", PATIENCE);

    // The viewer dies under held keys: the one that follows finds them up.
    let mut input = seat.input();
    hold(&seat, &mut input, &keys);
    seat.replace_viewer("cpu");
    keys.iter().for_each(|key| input.hold(key, false));
    seat.wait_released("another viewer");

    // The session process dies under held keys.
    let mut input = seat.input();
    hold(&seat, &mut input, &keys);
    kill_session(&seat);
    seat.wait_released("another session process");
    keys.iter().for_each(|key| input.hold(key, false));

    // And everything still writes.
    let mut input = seat.input();
    input.type_by_layout("frei\n", QUICK);
    let wrote = wait_for(PATIENCE, || fs::read_to_string(&file).ok()?.ends_with("frei\n").then_some(()));
    assert!(wrote.is_some(), "{:?}", fs::read_to_string(&file));
}

#[test]
fn no_key_stays_down_on_a_display_that_is_not_ours() {
    if !has(PROGRAMS) {
        return;
    }
    // As large as the viewer's window.
    let shared = Display::start(Size::new(1280, 800));
    let seat = Seat::attached(Desk::new(WindowManager::Openbox), &shared, "cpu");
    let mut input = seat.input();
    hold(&seat, &mut input, &["shift", "ctrl", "Left"]);
    kill_session(&seat);
    seat.wait_released("another session process");
}

#[test]
fn a_display_that_is_not_ours_gets_its_keyboard_back() {
    if !has(PROGRAMS) || !has(&["xset"]) {
        return;
    }
    let shared = Display::start(Size::new(1280, 800));
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).env("DISPLAY", shared.name()).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(output.status.success(), "{program} {arguments:?}: {}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let keyboard = || [run("setxkbmap", &["-query"]), run("xset", &["q"])];
    run("setxkbmap", &["-rules", "evdev", "-model", "pc104", "-layout", "us,fr", "-option", "ctrl:nocaps"]);
    run("xset", &["r", "rate", "300", "40"]);
    let before = keyboard();
    assert!(before[1].contains("auto repeat:  on"), "{}", before[1]);
    let is_viewers = || {
        let [layout, rest] = keyboard();
        (layout.contains("layout:     de\n") && rest.contains("auto repeat:  off")).then_some(())
    };
    let is_as_before = |what: &str| {
        let same = wait_for(PATIENCE, || (keyboard() == before).then_some(()));
        assert!(same.is_some(), "{what}\nbefore {before:#?}\nafter {:#?}", keyboard());
    };

    let desk = Desk::new(WindowManager::Openbox);
    desk.set_layout("de");
    let mut seat = Seat::attached(desk, &shared, "cpu");
    wait_until(PATIENCE, "the keyboard is the viewer's", is_viewers);
    // Caps Lock at the desk is one in the session.
    let mut input = seat.input();
    input.press("Caps_Lock");
    input.sync();
    wait_until(PATIENCE, "the lock is on", || seat.remote.locks()[0].then_some(()));
    seat.host.end_front(Signal::KILL);
    is_as_before("no viewer is there");
    seat.serve_again();
    // A viewer with nothing to say hears of the new front as late as with its next keep-alive.
    input.press("shift");
    input.sync();
    wait_until(PATIENCE, "the keyboard is the viewer's once more", is_viewers);
    // What the process knew that is killed, the next one knows.
    kill_session(&seat);
    wait_until(PATIENCE, "the viewer is back", || (seat.status_number("viewers") == Some(1)).then_some(()));
    wait_until(PATIENCE, "the keyboard is the viewer's after a kill", is_viewers);
    assert!(seat.host.stop().status.success(), "the session ends");
    is_as_before("the session has ended");
}

fn kill_session(seat: &Seat) {
    let (_, pid) = seat.host_pids().expect("the session answers");
    send(pid, Signal::KILL);
    wait_until(PATIENCE, "another session process", || (seat.host_pids()?.1 != pid).then_some(()));
}

fn hold(seat: &Seat, input: &mut Input, keys: &[&str]) {
    keys.iter().for_each(|key| input.hold(key, true));
    wait_until(PATIENCE, "all keys are down in the session", || {
        (seat.remote.keys_down() as usize >= keys.len()).then_some(())
    });
}

/// Waits until a file holds exactly this text, and prints how it differs if it never does.
pub(crate) fn wait_for_text(file: &Path, wanted: &str, what: &str) {
    let read = || fs::read_to_string(file).unwrap_or_default();
    let same = wait_for(PATIENCE, || (read().trim_end() == wanted.trim_end()).then_some(()));
    assert!(same.is_some(), "{what}:\nwanted {wanted:?}\nfound  {:?}", read());
}

/// Words that no key could repeat unnoticed.
fn two_hundred_characters() -> String {
    let text: String = (1..=40).map(|n| format!("Satz {n:02}, grüßt. ")).collect();
    text.chars().take(200).collect()
}
