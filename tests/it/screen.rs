//! The picture's whole way on a virtual network: whatever is drawn and however the packets fare, both ends hold the
//! same pixels soon after it is quiet, and no queue grows.

use crate::fuzz::net::{Path, Random, World};
use kachel::geom::Size;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn path(delay_ms: u64, loss_percent: u32) -> Path {
    Path { delay: Duration::from_millis(delay_ms), jitter: Duration::from_millis(1 + delay_ms / 2), loss_percent }
}

/// Draws for some virtual seconds, then looks.
fn check(path: Path, seed: u64) -> World {
    let mut random = Random(seed);
    let size = Size::new(65 + random.below(300), 33 + random.below(200));
    let mut world = World::new(size, path, seed);
    for _ in 0..3 {
        for _ in 0..30 {
            world.draw(random.next() >> 8);
            world.run(random.below(40) * MS);
        }
        world.settle();
    }
    assert_eq!(world.connections, 1);
    world
}

#[test]
fn quiet_brings_the_same_pixels_whatever_the_path_loses_and_delays() {
    for (seed, loss) in (1..).zip([0, 1, 5, 20]) {
        for delay in [1, 30, 150, 300] {
            check(path(delay, loss), seed * 1_000 + delay);
        }
    }
}

#[test]
fn a_long_path_holds_several_pictures_and_a_short_one_few() {
    assert!(check(path(100, 0), 5).in_flight_max > 2);
    let mut world = World::new(Size::new(64, 64), Path { jitter: Duration::ZERO, ..path(1, 0) }, 6);
    world.run(100 * MS);
    for _ in 0..50 {
        world.draw(4);
        world.run(16 * MS);
    }
    assert!(world.in_flight_max <= 2, "{} pictures on a path of a millisecond", world.in_flight_max);
}

#[test]
fn a_hidden_window_costs_nothing_and_comes_back_whole() {
    let mut world = World::new(Size::new(200, 150), path(20, 5), 9);
    world.settle();
    world.set_visible(false);
    world.run(500 * MS);
    for i in 0..40 {
        world.draw(i);
        world.run(20 * MS);
    }
    assert_eq!(world.frames_on_way(), 0);
    world.settle();
}

#[test]
fn a_session_that_starts_again_goes_on_with_the_same_connection() {
    for seed in 0..12 {
        let mut random = Random(seed);
        let mut world = World::new(Size::new(180, 140), path(1 + seed * 10, [0, 5, 20][seed as usize % 3]), seed);
        world.settle();
        for _ in 0..4 {
            for _ in 0..10 {
                world.act(random.next() >> 8);
                world.run(random.below(20) * MS);
            }
            world.replace_session();
        }
        world.settle();
        assert_eq!(world.connections, 1);
    }
}
