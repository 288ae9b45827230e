//! Random input, resizes and kills for a while: no panic, no stuck key, no growing memory, an exact picture at the end.
//! Thirty seconds, or `KACHEL_SOAK_S` of them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use kachel::geom::{Rect, Size};
use rustix::process::Signal;

use crate::seat::{PATIENCE, PROGRAMS, Seat, TIERS, WindowManager, has};
use crate::support::input::{Button, Input};
use crate::support::process::{resident_bytes, send};
use crate::support::wait::{wait_for, wait_until};

/// What one process may grow over the last half, when it has seen every size: allocators keep some pages.
const GROWTH_MAX: u64 = 24 << 20;
/// Files and sockets that it may have more at the end than in the middle: those of a moment.
const FILES_MAX: usize = 8;
/// Whose memory and files are looked at.
const WATCHED: [&str; 4] = ["viewer", "front", "session", "X server"];
/// Where the editor is, its title bar away from most clicks.
const EDITOR: Rect = Rect::new(0, 20, 600, 440);
/// What its windows are called.
const EDITOR_CLASS: &str = "ousepad";
const SEED: u64 = 0x4b61_6368_656c;

#[test]
fn random_input_resizes_and_kills_leave_no_trace() {
    if !has(PROGRAMS) {
        return;
    }
    let seconds = std::env::var("KACHEL_SOAK_S").ok().and_then(|s| s.parse().ok()).unwrap_or(30_u64);
    let mut seat = Seat::new(WindowManager::Openbox, "cpu");
    let file = seat.file("paper.txt");
    fs::write(&file, "Papier\n".repeat(300)).expect("the folder is ours");
    open_editor(&mut seat, &file);
    let editor = seat.remote.wait_window("paper.txt");
    seat.remote.put(editor.id, EDITOR);
    seat.remote.focus(editor.id);
    // While the editor is closed, clicks meet the desktop: without icons nothing of this machine opens there. With them, ten
    // minutes of random input have renamed a home directory.
    seat.host.exec(&[
        "xfconf-query",
        "-c",
        "xfce4-desktop",
        "-p",
        "/desktop-icons/style",
        "-n",
        "-t",
        "int",
        "-s",
        "0",
    ]);
    // While window and remote screen differ in size a click lands elsewhere, and on the panel is what logs the user out.
    seat.host.exec(&["xfce4-panel", "--quit"]);
    let mut input = seat.input();
    let mut random = Random(SEED);
    let before = desktop(&seat);
    let (begin, whole) = (Instant::now(), Duration::from_secs(seconds));
    let (mut kills, mut resizes, mut steps) = (0, 0, 0_u64);
    let (mut half, mut tier) = (None::<[Held; 4]>, 0);
    let mut kill_at = Duration::from_secs(5);
    while begin.elapsed() < whole {
        steps += 1;
        one_step(&seat, &mut input, &mut random);
        // Ten minutes of random clicks meet the cross of its last tab, or send it to another workspace.
        if steps % 8 == 0 && !seat.remote.has_focus(EDITOR_CLASS) {
            release(&mut input);
            if !seat.remote.windows().iter().any(|w| w.class.contains(EDITOR_CLASS)) {
                open_editor(&mut seat, &file);
            }
            let editor = seat.remote.wait_window(EDITOR_CLASS);
            seat.remote.put(editor.id, EDITOR);
            seat.remote.ask_focus(editor.id);
        }
        if random.below(60) == 0 {
            resizes += 1;
            seat.desk.resize(seat.window, Size::new(900 + random.below(600), 600 + random.below(300)));
        }
        // What is compared at the end are the same processes as in the middle.
        if begin.elapsed() > kill_at && half.is_none() {
            kills += 1;
            kill_at += Duration::from_secs(4);
            match kills % 3 {
                // By the middle the last one has seen every size.
                1 if begin.elapsed() < whole / 4 => {
                    tier = (tier + 1) % TIERS.len();
                    seat.replace_viewer(TIERS[tier]);
                }
                2 => seat.restart_front(),
                _ => {
                    let pid = seat.host_pids().map(|(_, session)| session);
                    pid.into_iter().for_each(|pid| send(pid, Signal::KILL));
                }
            }
            wait_until(PATIENCE, "the viewer is back", || (seat.status_number("viewers")? == 1).then_some(()));
            assert_eq!(desktop(&seat), before, "X server and desktop live after {steps} inputs and {kills} kills");
        }
        if tier != 0 && begin.elapsed() > whole / 4 {
            tier = 0;
            seat.replace_viewer(TIERS[tier]);
        }
        if half.is_none() && begin.elapsed() > whole / 2 {
            half = held(&seat);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    release(&mut input);
    let middle = half.expect("half of the time has passed");
    let end = wait_for(PATIENCE, || held(&seat)).expect("the session answers");
    eprintln!("soak of {seconds} s: {steps} inputs, {resizes} resizes, {kills} kills");
    for (who, (middle, end)) in WATCHED.iter().zip(middle.iter().zip(&end)) {
        eprintln!("{who}: in the middle {middle:?}, at the end {end:?}");
    }
    seat.settle("after the soak");
    seat.assert_no_panic();
    seat.wait_released("after the soak");
    assert_eq!(desktop(&seat), before, "X server and desktop are the same at the end");
    for (who, (middle, end)) in WATCHED.iter().zip(middle.iter().zip(&end)) {
        assert!(end.bytes < middle.bytes + GROWTH_MAX, "{who} has grown from {middle:?} to {end:?}");
        assert!(end.files <= middle.files + FILES_MAX, "{who} has more and more files: {middle:?}, {end:?}");
    }
}

/// Something to type into; in a process of its own, so that it never becomes a tab of a window elsewhere.
fn open_editor(seat: &mut Seat, file: &Path) {
    seat.host.exec(&["mousepad", "--disable-server", &file.display().to_string()]);
}

/// The processes without which the session is over.
fn desktop(seat: &Seat) -> serde_json::Value {
    wait_until(PATIENCE, "the session answers", || seat.status()?.get("processes").cloned())
}

/// One of the things that hands do.
fn one_step(seat: &Seat, input: &mut Input, random: &mut Random) {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz     ";
    const KEYS: [&str; 8] = ["Return", "BackSpace", "Up", "Down", "Left", "Right", "Page_Up", "Page_Down"];
    let place = seat.desk.place(seat.window);
    // Left of the page that the viewer shows while there is no link: a click on its button ends the session for good.
    let text = |random: &mut Random| (place.x + 40 + random.below(180), place.y + 160 + random.below(220));
    match random.below(14) {
        0..=4 => {
            let letter = LETTERS[random.below(LETTERS.len() as u32) as usize] as char;
            input.type_by_layout(&letter.to_string(), Duration::ZERO);
        }
        5 => input.press(KEYS[random.below(KEYS.len() as u32) as usize]),
        6 => input.hold("shift", random.below(2) == 0),
        7 => {
            input.hold("shift", false);
            input.press(["ctrl+a", "ctrl+Home", "ctrl+End"][random.below(3) as usize]);
        }
        8 => input.click([Button::WheelUp, Button::WheelDown][random.below(2) as usize]),
        9 => {
            // Only inside the text, below the viewer's bar and the editor's menus.
            let (x, y) = text(random);
            input.move_to(x, y);
            input.click(Button::Left);
        }
        10 => {
            // Selects, and sometimes drags what is selected.
            let ((x, y), (to_x, to_y)) = (text(random), text(random));
            input.move_to(x, y);
            input.button(Button::Left, true);
            input.move_to(to_x, to_y);
            input.button(Button::Left, false);
        }
        11 => {
            let (x, y) = text(random);
            input.move_to(x, y);
            input.click(Button::Right);
            input.press("Escape");
        }
        _ => input.move_to(place.x + 5 + random.below(590), place.y + 120 + random.below(300)),
    }
}

fn release(input: &mut Input) {
    for key in ["shift", "ctrl"] {
        input.hold(key, false);
    }
    input.sync();
}

/// What a process holds.
#[derive(Debug)]
struct Held {
    /// Resident memory.
    bytes: u64,
    /// Open files and sockets.
    files: usize,
}

/// What each of [`WATCHED`] holds.
fn held(seat: &Seat) -> Option<[Held; 4]> {
    let (front, session) = seat.host_pids()?;
    let xserver = seat.status()?["processes"][0].as_u64()? as u32;
    let pids = [seat.viewer.pid(), front, session, xserver];
    let files = pids.map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count));
    // One that is being replaced has none.
    files
        .iter()
        .all(|files| *files > 0)
        .then(|| std::array::from_fn(|i| Held { bytes: resident_bytes(&pids[i..=i]), files: files[i] }))
}

/// Marsaglia's xorshift64: the same run every time.
struct Random(u64);

impl Random {
    /// A number from 0 to `end` - 1.
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 16) % u64::from(end)) as u32
    }
}
