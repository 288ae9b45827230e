//! What the viewer does with keys and pointer itself: its own shortcuts, lock keys, the pointer's shape; and that a scaled
//! screen and `--view-only` change neither a pixel nor the session.

use std::time::Duration;

use kachel::geom::{Rect, Size};

use crate::seat::{PATIENCE, PROGRAMS, Pointer, Seat, WindowManager, has, wait_for_exactly};
use crate::support::link::ViewerOptions;
use crate::support::wait::{wait_for, wait_until};

const QUICK: Duration = Duration::from_millis(8);

#[test]
fn shortcuts_are_the_viewers_own() {
    if !has(PROGRAMS) {
        return;
    }
    let mut seat = Seat::new(WindowManager::Openbox, "cpu");
    let file = seat.file("typed");
    seat.open_typewriter(&file);
    let (window, full) = (seat.remote.size(), Size::new(1600, 1000));
    assert_ne!(window, full);
    let mut input = seat.input();
    for (size, what) in [(full, "full screen"), (window, "a window again")] {
        input.press("ctrl+alt+Return");
        wait_until(PATIENCE, what, || {
            let place = seat.desk.place(seat.window);
            (Size::new(place.w, place.h) == size && seat.remote.size() == size).then_some(())
        });
        seat.wait_exact(what, PATIENCE);
    }
    input.press("ctrl+alt+Home");
    wait_until(PATIENCE, "the bar is there", || (!seat.difference()?.is_none()).then_some(()));
    input.press("ctrl+alt+Home");
    seat.wait_exact("the bar is gone", PATIENCE);
    // A terminal would have taken a Return of theirs for the end of a line.
    input.type_by_layout("nur das\n", QUICK);
    wait_for_exactly(&file, "nur das\n", "nothing but the line has come");
    seat.wait_released("nothing but the line has come");
    seat.assert_no_panic();
}

#[test]
fn lock_keys_are_in_step() {
    if !has(PROGRAMS) {
        return;
    }
    let seat = Seat::new(WindowManager::Openbox, "cpu");
    let mut input = seat.input();
    let in_step = |what: &str, expected: [bool; 3]| {
        assert_eq!(seat.desk.locks(), expected, "{what}: at the desk");
        let same = wait_for(PATIENCE, || (seat.remote.locks() == expected).then_some(()));
        assert!(same.is_some(), "{what}: wanted {expected:?}, the session has {:?}", seat.remote.locks());
    };
    let mut locks = seat.desk.locks();
    for (name, light) in [("Caps_Lock", 0), ("Num_Lock", 1), ("Caps_Lock", 0), ("Num_Lock", 1)] {
        input.press(name);
        input.sync();
        locks[light] = !locks[light];
        in_step(name, locks);
    }
    // Changed while another window has the keyboard.
    seat.desk.another_window();
    for (name, light) in [("Caps_Lock", 0), ("Num_Lock", 1)] {
        input.press(name);
        locks[light] = !locks[light];
    }
    input.sync();
    seat.desk.focus(seat.window);
    in_step("the window has the keyboard again", locks);
}

#[test]
fn pointer_at_the_desk_has_the_sessions_shape() {
    if !has(PROGRAMS) {
        return;
    }
    let mut seat = Seat::new(WindowManager::Openbox, "cpu");
    let file = seat.file("typed");
    let terminal = seat.open_typewriter(&file);
    seat.remote.put(terminal.id, Rect::new(100, 200, 500, 300));
    seat.settle("the terminal is in its place");
    let input = seat.input();
    let place = seat.desk.place(seat.window);
    let mut shapes: Vec<Pointer> = Vec::new();
    for (x, y, what) in [(300, 350, "over the terminal"), (1000, 650, "beside it"), (301, 351, "over it again")] {
        input.move_to(place.x + x, place.y + y);
        // Until the session's has moved it is what the desk's was before, and equal.
        wait_until(PATIENCE, what, || (seat.remote.pointer_at() == (x, y)).then_some(()));
        let found = wait_for(PATIENCE, || {
            let (here, there) = (seat.desk.pointer(), seat.remote.pointer());
            (shapes.last() != Some(&there) && here == there).then_some(there)
        });
        let found = found.unwrap_or_else(|| panic!("{what}: {:?}\n{:?}", seat.desk.pointer(), seat.remote.pointer()));
        shapes.push(found);
    }
    assert_eq!(shapes[0], shapes[2]);
}

#[test]
fn a_scaled_screen_shows_the_session_one_to_one() {
    if !has(PROGRAMS) {
        return;
    }
    let mut seat = Seat::new(WindowManager::Openbox, "cpu");
    let size = Size::new(1100, 700);
    for renderer in crate::seat::TIERS {
        seat.replace_viewer_by(&ViewerOptions {
            renderer,
            environment: vec![("WINIT_X11_SCALE_FACTOR".to_owned(), "1.5".to_owned())],
            arguments: vec!["--size".to_owned(), format!("{}x{}", size.w, size.h)],
            ..ViewerOptions::on(seat.desk.name())
        });
        wait_until(PATIENCE, "the session has the window's size in pixels", || {
            let place = seat.desk.place(seat.window);
            (Size::new(place.w, place.h) == size && seat.remote.size() == size).then_some(())
        });
        seat.wait_exact(renderer, PATIENCE);
    }
}

#[test]
fn a_viewer_that_only_shows_sends_nothing() {
    if !has(PROGRAMS) {
        return;
    }
    let mut seat = Seat::new(WindowManager::Openbox, "cpu");
    let file = seat.file("typed");
    let terminal = seat.open_typewriter(&file);
    seat.replace_viewer_by(&ViewerOptions {
        arguments: vec!["--view-only".to_owned()],
        ..ViewerOptions::on(seat.desk.name())
    });
    seat.wait_exact("the picture", PATIENCE);
    let mut input = seat.input();
    input.type_by_layout("nicht das\n", QUICK);
    // Its own shortcuts are not the session's.
    input.press("ctrl+alt+Home");
    wait_until(PATIENCE, "the bar is there, behind everything that was typed", || {
        (!seat.difference()?.is_none()).then_some(())
    });
    seat.replace_viewer("cpu");
    seat.remote.focus(terminal.id);
    let mut input = seat.input();
    input.type_by_layout("nur das\n", QUICK);
    wait_for_exactly(&file, "nur das\n", "nothing but the line has come");
}
