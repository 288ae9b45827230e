//! Scrolling, dragging, menus and resizes through the real window: exact at the end on every tier, and nothing on the
//! way that belongs to no picture (for OpenGL only the end is held to that).

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use kachel::geom::{Rect, Size};

use crate::seat::{EXACT_WITHIN, PATIENCE, PROGRAMS, Seat, TIERS, WindowManager, below_bar, has};
use crate::support::input::{Button, Input};
use crate::support::wait::{wait_for, wait_until};

/// Between two steps of a hand that moves a mouse or turns a wheel.
const STEP: Duration = Duration::from_millis(12);
/// The remote screen has the window's size this long after the last resize; the aim is 300 ms.
const RESIZED_WITHIN: Duration = Duration::from_millis(1200);

#[test]
fn scrolling_dragging_and_menus_end_exact_on_every_tier() {
    if !has(PROGRAMS) {
        return;
    }
    let mut seat = Seat::new(WindowManager::Openbox, TIERS[0]);
    let text = seat.file("long.txt");
    let lines: String = (1..2000).map(|n| format!("{n:05} {}\n", "Zeile um Zeile ".repeat(n % 7))).collect();
    fs::write(&text, lines).expect("the folder is ours");
    seat.host.exec(&["mousepad", &text.display().to_string()]);
    seat.host.exec(&["xterm", "-T", "reader", "-e", "less", &text.display().to_string()]);
    let editor = seat.remote.wait_window("long.txt");
    let reader = seat.remote.wait_window("reader");
    for renderer in TIERS {
        if renderer != TIERS[0] {
            seat.replace_viewer(renderer);
        }
        seat.remote.put(editor.id, Rect::new(20, 40, 700, 500));
        seat.remote.put(reader.id, Rect::new(640, 200, 560, 420));
        seat.remote.focus(editor.id);
        // The viewer's own bar lies over the picture for some seconds after the first one.
        seat.settle("before anything is done");
        let mut input = seat.input();
        let report = |what: &str, behind: Duration| {
            eprintln!("{renderer}, {what}: exact {} ms after the last change", behind.as_millis());
            assert!(behind < EXACT_WITHIN, "{renderer}, {what}: exact only after {behind:?}");
        };
        let at = seat.desk.place(seat.window);
        let to = |input: &Input, x: u32, y: u32| input.move_to(at.x + x, at.y + y);

        to(&input, 300, 300);
        let before = seat.remote.picture();
        turn(&input, Button::WheelDown, 25);
        turn(&input, Button::WheelUp, 7);
        report("wheel", seat.settle("after scrolling with the wheel"));
        assert!(seat.remote.picture() != before, "the wheel has scrolled");

        seat.remote.focus(reader.id);
        for _ in 0..12 {
            input.press("Page_Down");
            std::thread::sleep(3 * STEP);
        }
        report("pages", seat.settle("after scrolling by pages"));

        // The title bar is above the terminal's window.
        let place = seat.remote.wait_window("reader").place;
        let (x, y) = (place.x + place.w / 2, place.y.saturating_sub(12));
        to(&input, x, y);
        input.button(Button::Left, true);
        for step in 1..=30 {
            to(&input, x - 8 * step, y + 4 * step);
            std::thread::sleep(STEP);
        }
        input.button(Button::Left, false);
        wait_until(PATIENCE, "the window has moved", || {
            let now = seat.remote.wait_window("reader").place;
            (now.x + 100 < place.x).then_some(())
        });
        report("drag", seat.settle("after dragging a window"));

        to(&input, 1150, 120);
        let before = seat.remote.picture();
        input.click(Button::Right);
        wait_until(PATIENCE, "the desktop's menu is open", || (seat.remote.picture() != before).then_some(()));
        for _ in 0..6 {
            input.press("Down");
            std::thread::sleep(3 * STEP);
        }
        report("menu", seat.settle("with an open menu"));
        input.press("Escape");
        input.press("Escape");
        report("menu closed", seat.settle("after the menu"));
    }
    seat.assert_no_panic();
}

#[test]
fn resizes_are_followed_and_show_no_garbage() {
    if !has(PROGRAMS) {
        return;
    }
    // Colours of the session, of the display behind the window, and of the page behind nothing.
    const LEFT: u32 = 0x20_8040;
    const RIGHT: u32 = 0xd0_a020;
    const BEHIND: u32 = 0xff_00ff;
    let mut seat = Seat::new(WindowManager::Openbox, TIERS[0]);
    for renderer in TIERS {
        if renderer != TIERS[0] {
            seat.replace_viewer(renderer);
        }
        seat.desk.paint_background(BEHIND);
        {
            let cover = seat.remote.cover(LEFT, RIGHT);
            let shown = || (seat.desk.picture(seat.window).at(20, 300) == LEFT).then_some(());
            wait_until(PATIENCE, "the window shows the cover", shown);
            // The viewer's own bar hides some seconds after the first picture, shadow and all.
            wait_until(PATIENCE, "the viewer's own bar has gone", || seat.difference()?.is_none().then_some(()));
            let mut strange = BTreeSet::new();
            let mut samples = 0;
            for index in 0..40_u32 {
                // A hand at the window's corner: smaller, larger, and back.
                let size = Size::new(1280 - (index * 67) % 500, 800 - (index * 41) % 300);
                seat.desk.resize(seat.window, size);
                let next = Instant::now() + Duration::from_millis(25);
                while Instant::now() < next {
                    strange.extend(strangers(&seat, LEFT, RIGHT));
                    samples += 1;
                }
            }
            let last = Size::new(1117, 733);
            seat.desk.resize(seat.window, last);
            let begin = Instant::now();
            let followed = wait_for(PATIENCE, || {
                strange.extend(strangers(&seat, LEFT, RIGHT));
                samples += 1;
                (seat.remote.size() == last).then(|| begin.elapsed())
            });
            let followed =
                followed.unwrap_or_else(|| panic!("{renderer}: the screen is still {:?}", seat.remote.size()));
            let exact = wait_for(PATIENCE, || {
                strange.extend(strangers(&seat, LEFT, RIGHT));
                samples += 1;
                seat.difference()?.is_none().then(|| begin.elapsed())
            });
            eprintln!(
                "{renderer}: the screen had the window's size after {} ms, the picture was exact after {:?} ms, \
                 {samples} samples",
                followed.as_millis(),
                exact.map(|time| time.as_millis())
            );
            assert!(followed < RESIZED_WITHIN, "{renderer}: followed only after {followed:?}");
            assert!(exact.is_some(), "{renderer}: never exact after the resizes");
            assert!(strange.is_empty(), "{renderer}: colours of no picture: {strange:06x?}");
            drop(cover);
        }
        seat.desk.resize(seat.window, Size::new(1280, 800));
        wait_until(PATIENCE, "the first size again", || (seat.remote.size() == Size::new(1280, 800)).then_some(()));
        seat.settle("at the first size again");
    }
    seat.assert_no_panic();
}

fn turn(input: &Input, wheel: Button, clicks: u32) {
    for _ in 0..clicks {
        input.click(wheel);
        std::thread::sleep(STEP);
    }
}

/// Colours that are neither the picture's two, nor mixed of them by scaling, nor the bars beside a picture.
fn strangers(seat: &Seat, left: u32, right: u32) -> Vec<u32> {
    const BARS: u32 = 0;
    // The viewer's own bar may come at the top, on a machine so busy that the link stands still for a second.
    let Some(picture) = seat.desk.inside(seat.window).map(|picture| below_bar(&picture)) else { return Vec::new() };
    let is_strange = |color: u32| color != BARS && !is_between(color, left, right);
    let strange: BTreeSet<u32> = picture.pixels().iter().copied().filter(|color| is_strange(*color)).collect();
    let strange: Vec<u32> = strange.into_iter().take(5).collect();
    if !strange.is_empty() {
        // To be looked at: the folder stays when a story fails.
        picture.save_png(&seat.file("strange.png")).ok();
    }
    strange
}

/// Whether each channel of a colour lies between those of two others; filters mix in linear light and round.
fn is_between(color: u32, a: u32, b: u32) -> bool {
    const ROUNDING: u32 = 2;
    [16, 8, 0].iter().all(|shift| {
        let [color, a, b] = [color, a, b].map(|color| color >> shift & 255);
        (a.min(b).saturating_sub(ROUNDING)..=a.max(b) + ROUNDING).contains(&color)
    })
}
