//! Both ends of a session on a virtual network: input comes once and in order, nothing sticks, and a link that breaks,
//! stands still or is replaced comes back to the same picture.

use crate::fuzz::net::{Path, Random, World};
use kachel::geom::Size;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn world(seed: u64) -> World {
    let mut random = Random(seed ^ 0x5eed);
    let delay = [1, 5, 20, 60, 150][random.below(5) as usize];
    let loss_percent = [0, 1, 5, 20][random.below(4) as usize];
    let path = Path { delay: Duration::from_millis(delay), jitter: Duration::from_millis(delay), loss_percent };
    World::new(Size::new(100 + random.below(80), 60 + random.below(80)), path, seed)
}

#[test]
fn events_come_once_and_in_order_and_nothing_sticks() {
    for seed in 0..30 {
        let mut random = Random(seed);
        let mut world = world(seed);
        for _ in 0..200 {
            // Keys, buttons, motion, wheel and focus only.
            world.act(6 + random.below(7));
            world.run(random.below(12) * MS);
        }
        world.settle();
        assert_eq!(world.connections, 1, "seed {seed}");
    }
}

#[test]
fn links_that_break_at_any_time_come_back_to_the_same_picture() {
    let mut connections = 0;
    for seed in 0..30 {
        let mut random = Random(seed);
        let mut world = world(seed);
        world.settle();
        for _ in 0..60 {
            world.act(random.next() >> 8);
            match random.below(12) {
                0 => world.break_connection(),
                1 => world.cut(random.below(3_000) * MS),
                2 => world.replace_session(),
                _ => {}
            }
            world.run(random.below(60) * MS);
        }
        world.settle();
        connections += world.connections;
    }
    assert!(connections > 60, "{connections} connections of 30 viewers: nothing broke");
}

#[test]
fn a_short_outage_keeps_the_connection_and_a_long_one_makes_a_new_one() {
    for (outage, connections) in [(500, 1), (2_000, 1), (4_000, 1), (7_000, 2), (20_000, 2)] {
        let mut world = world(3);
        world.settle();
        world.press_key(4, true);
        world.cut(outage * MS);
        world.press_key(5, true);
        world.draw(2);
        world.run((outage + 12_000) * MS);
        world.settle();
        assert_eq!(world.connections, connections, "after {outage} ms without a packet");
    }
}
