//! Each decoding stage on the GPU against its twin on the CPU, equal to the bit.

use crate::{Random, adapters, gpus};
use bytes::Bytes;
use kachel::codec::canvas::{Canvas, Picture};
use kachel::codec::marks;
use kachel::codec::plan::{CACHE_SIZE, Ctx, Fill, Harvest, Plan, Raw, Round, Transfer, Unpack, Wave, packed};
use kachel::codec::stage::mark::{self, MARKS_SIZE};
use kachel::geom::{Point, Size, TILE, TileGrid, TileIndex};
use kachel::io::gpu::decode::Decoder;
use kachel::io::gpu::proof::decodes_exactly;
use kachel::io::gpu::{Gpu, GpuError, Tier};

/// Sizes with whole tiles only, cut blocks at both edges, less than a block, and one pixel.
const SIZES: [Size; 5] =
    [Size::new(256, 128), Size::new(203, 141), Size::new(64, 65), Size::new(7, 3), Size::new(1, 1)];

/// Runs plans on both sides and compares the screens at the end.
fn check(gpu: &Gpu, plans: &[Plan], what: &str) {
    let mut decoder = Decoder::new(gpu).expect("the shaders compile");
    let mut canvas = Canvas::new();
    for plan in plans {
        decoder.apply(plan).expect("a sound plan is decoded");
        canvas.apply(plan);
    }
    compare(&decoder.read_back().expect("the screen can be read"), &canvas.screen, &format!("{what} on {}", gpu.kind));
}

pub(crate) fn compare(found: &Picture, expected: &Picture, what: &str) {
    assert_eq!(found.size, expected.size, "{what}");
    let wrong = found.pixels.iter().zip(&expected.pixels).position(|(a, b)| a != b);
    if let Some(i) = wrong {
        let (x, y) = (i as u32 % found.size.w, i as u32 / found.size.w);
        panic!("{what}: pixel {x},{y} is {:#010x}, not {:#010x}", found.pixels[i], expected.pixels[i]);
    }
}

/// Masks that split the visible blocks of a tile at random, some of them left out.
fn masks(random: &mut Random, visible: u32) -> Vec<u32> {
    let count = 1 + random.below(3);
    let mut masks = vec![0; count as usize];
    for block in 0..16 {
        let i = random.below(count + 1);
        if i < count {
            masks[i as usize] |= 1 << block & visible;
        }
    }
    masks
}

/// More blocks than are written: `coded | write << 16`.
fn coded(random: &mut Random, write: u32) -> u32 {
    write | random.below(0x10000) | write << 16
}

/// The tiles of a screen: place and visible blocks.
fn tiles(size: Size) -> impl Iterator<Item = (u32, u32)> {
    let grid = TileGrid::new(size);
    (0..grid.count()).map(TileIndex).map(move |t| (packed(grid.origin(t)), u32::from(grid.visible(t).0)))
}

fn key(size: Size) -> Plan {
    Plan { key: Some(size), ..Plan::default() }
}

/// A screen full of noise.
fn noise(random: &mut Random, size: Size) -> Plan {
    let raws = tiles(size)
        .map(|(origin, visible)| Raw { origin, blocks: 0xffff | visible << 16, pixels: random.below(999), pad: 0 })
        .collect();
    let bytes = Bytes::from(random.bytes(999 + 4096 * 3));
    Plan { key: Some(size), raws, bytes, ..Plan::default() }
}

#[test]
fn fill() {
    for gpu in gpus(Tier::Compute) {
        let mut random = Random(1);
        for size in SIZES {
            let fills = tiles(size)
                .flat_map(|(origin, visible)| {
                    masks(&mut random, visible)
                        .into_iter()
                        .map(|blocks| Fill { origin, blocks, color: random.next(), pad: 0 })
                        .collect::<Vec<_>>()
                })
                .collect();
            check(&gpu, &[Plan { fills, ..key(size) }], &format!("fill {size:?}"));
        }
    }
}

#[test]
fn raw() {
    for gpu in gpus(Tier::Compute) {
        let mut random = Random(2);
        for size in SIZES {
            let mut raws = Vec::new();
            for (origin, visible) in tiles(size) {
                for write in masks(&mut random, visible) {
                    // Any offset, so that pixels start at every byte of a word.
                    raws.push(Raw { origin, blocks: coded(&mut random, write), pixels: random.below(50), pad: 0 });
                }
            }
            let bytes = Bytes::from(random.bytes(50 + 4096 * 3));
            check(&gpu, &[Plan { raws, bytes, ..key(size) }], &format!("raw {size:?}"));
        }
    }
}

#[test]
fn unpack() {
    for gpu in gpus(Tier::Compute) {
        let mut random = Random(3);
        for size in SIZES {
            let mut unpacks = Vec::new();
            for (origin, visible) in tiles(size) {
                for write in masks(&mut random, visible) {
                    let bits = [1, 2, 4][random.below(3) as usize];
                    unpacks.push(Unpack {
                        origin,
                        blocks: coded(&mut random, write),
                        palette: random.below(100),
                        indices: random.below(100),
                        bits,
                        // Often fewer colours than indices.
                        index_max: random.below(1 << bits),
                        pad: [0; 2],
                    });
                }
            }
            let bytes = Bytes::from(random.bytes(101 + 4096 / 2));
            check(&gpu, &[Plan { unpacks, bytes, ..key(size) }], &format!("unpack {size:?}"));
        }
    }
}

#[test]
fn ctx() {
    for gpu in gpus(Tier::Compute) {
        let mut random = Random(9);
        for size in SIZES {
            let mut ctxs = Vec::new();
            for (origin, visible) in tiles(size) {
                for write in masks(&mut random, visible) {
                    if write == 0 {
                        continue;
                    }
                    // Payloads that no encoder made: any bytes decode to something, and to the same. Only short chains
                    // get the dictionary, though: noise makes literals of most pixels then, and llvmpipe ends all loops
                    // of a shader after 65,535 turns.
                    let blocks = coded(&mut random, write);
                    let first_row = (blocks & 0xffff).trailing_zeros() / 4 * 16;
                    let few = random.below(2) * 0xffff_ffff;
                    let mut repeats = [random.next() & few, random.next() & random.next()];
                    repeats[first_row as usize / 32] &= !(1 << (first_row % 32));
                    ctxs.push(Ctx {
                        origin,
                        blocks,
                        shape: [random.below(16), 0x1b][random.below(2) as usize] | random.below(8) << 8,
                        colors: std::array::from_fn(|_| random.color()),
                        repeats,
                        streams: random.below(100),
                        lengths: std::array::from_fn(|_| random.below(700) | random.below(30) << 16),
                        pad: [0; 3],
                    });
                }
            }
            let bytes = Bytes::from(random.bytes(100 + 8 * 1400));
            check(&gpu, &[Plan { ctxs, bytes, ..key(size) }], &format!("ctx {size:?}"));
        }
    }
}

#[test]
fn wave() {
    for gpu in gpus(Tier::Compute) {
        let mut random = Random(10);
        for size in SIZES {
            for dense in [false, true] {
                let mut waves = Vec::new();
                for (origin, visible) in tiles(size) {
                    for write in masks(&mut random, visible) {
                        // Payloads that no encoder made; some lanes are missing, some end early.
                        let mut length = || random.below(2) * random.below(1600);
                        let lengths = std::array::from_fn(|_| length() | length() << 16);
                        waves.push(Wave {
                            origin,
                            blocks: coded(&mut random, write),
                            quantiser: random.below(8),
                            base: random.color(),
                            streams: random.below(100),
                            lengths,
                            pad: 0,
                        });
                    }
                }
                // Bits that are mostly one make groups wide: the largest values there can be.
                let mut byte = || if dense { random.next() as u8 | random.next() as u8 } else { random.next() as u8 };
                let bytes = Bytes::from((0..100 + 12 * 1600).map(|_| byte()).collect::<Vec<u8>>());
                check(&gpu, &[Plan { waves, bytes, ..key(size) }], &format!("wave {size:?} {dense}"));
            }
        }
    }
}

/// A screen that later tiles can know pieces of: few colours, in runs.
fn pieces(random: &mut Random, size: Size) -> Plan {
    let unpacks = tiles(size)
        .map(|(origin, visible)| Unpack {
            origin,
            blocks: 0xffff | visible << 16,
            palette: random.below(40),
            indices: random.below(40),
            bits: 2,
            index_max: 3,
            pad: [0; 2],
        })
        .collect();
    let bytes = Bytes::from((0..2048).map(|_| [0x00, 0x55, 0x10, 0xff][random.below(4) as usize]).collect::<Vec<u8>>());
    Plan { key: Some(size), unpacks, bytes, ..Plan::default() }
}

#[test]
fn harvest() {
    for gpu in gpus(Tier::Compute) {
        let mut random = Random(17);
        for size in SIZES {
            let mut plans = vec![pieces(&mut random, size)];
            for turn in 0..4 {
                // What is learnt shows in what is decoded after it, in the same frame and in later ones.
                let (mut ctxs, mut harvests, mut rounds) = (Vec::new(), Vec::new(), Vec::new());
                for round in 0..3 {
                    for (origin, visible) in tiles(size) {
                        let blocks = coded(&mut random, visible);
                        let back = [0, 0x0055_5555, 0x0000_ffff][random.below(3) as usize];
                        let first_row = (blocks & 0xffff).trailing_zeros() / 4 * 16;
                        let mut repeats = [random.next() & random.next() & random.next(), random.next() & 0xff];
                        repeats[first_row as usize / 32] &= !(1 << (first_row % 32));
                        if turn > 0 && round == 1 {
                            // Half of them on what is there; no row of those repeats another.
                            let has_former = random.below(2) == 1;
                            repeats = if has_former { [0, 0] } else { repeats };
                            ctxs.push(Ctx {
                                origin,
                                blocks,
                                shape: if has_former { 0x3b } else { 0x1b } | random.below(8) << 8,
                                colors: [back, 0x0055_5555, 0x00ff_ffff],
                                repeats,
                                streams: random.below(100),
                                lengths: std::array::from_fn(|_| random.below(200) | random.below(200) << 16),
                                pad: [0; 3],
                            });
                        }
                        harvests.push(Harvest { origin, blocks: blocks & 0xffff, back, repeats, ..Harvest::default() });
                    }
                    rounds.push(Round { ctxs: ctxs.len(), harvests: harvests.len() });
                }
                let bytes = Bytes::from(random.bytes(100 + 8 * 1400));
                plans.push(Plan { ctxs, harvests, rounds, bytes, ..Plan::default() });
            }
            check(&gpu, &plans, &format!("harvest {size:?}"));
        }
    }
}

#[test]
fn what_was_there_beyond_the_edges() {
    for gpu in gpus(Tier::Compute) {
        let mut random = Random(23);
        // Rows and eights of pixels that are partly or not at all on the screen.
        for size in [Size::new(64, 50), Size::new(50, 64), Size::new(37, 21), Size::new(100, 70)] {
            let mut plans = vec![pieces(&mut random, size)];
            for _ in 0..12 {
                let job = |(origin, visible): (u32, u32)| Ctx {
                    origin,
                    blocks: visible | visible << 16,
                    shape: 0x38 | random.below(4) | random.below(8) << 8,
                    colors: [0x0055_5555, 0, 0x00ff_ffff],
                    streams: random.below(100),
                    lengths: std::array::from_fn(|_| (20 + random.below(200)) | (20 + random.below(200)) << 16),
                    ..Ctx::default()
                };
                let ctxs = tiles(size).map(job).collect();
                plans.push(Plan { ctxs, bytes: Bytes::from(random.bytes(100 + 8 * 2 * 220)), ..Plan::default() });
            }
            check(&gpu, &plans, &format!("former {size:?}"));
        }
    }
}

#[test]
fn mark() {
    for gpu in gpus(Tier::Compute) {
        let mut random = Random(11);
        for size in SIZES {
            let (mut decoder, mut canvas) = (Decoder::new(&gpu).expect("the shaders compile"), Canvas::new());
            let plan = noise(&mut random, size);
            decoder.apply(&plan).expect("a sound plan is decoded");
            canvas.apply(&plan);
            let grid = TileGrid::new(size);
            let jobs = marks::jobs(grid, 0, grid.count());
            let mut expected = Picture::new(MARKS_SIZE);
            mark::run(&jobs, &canvas.screen, &mut expected);
            let found = decoder.marks(&jobs).expect("the marks can be read");
            let marks = marks::marks_of(&found, grid.count());
            assert_eq!(marks, marks::marks_of(&expected, grid.count()), "{size:?} on {}", gpu.kind);
            // One bit of one pixel is another mark.
            let place = random.below(size.area() as u32) as usize;
            canvas.screen.pixels[place] ^= 1 << random.below(24);
            mark::run(&jobs, &canvas.screen, &mut expected);
            let wrong = marks.iter().zip(marks::marks_of(&expected, grid.count())).filter(|(a, b)| **a != *b).count();
            assert_eq!(wrong, 1);
        }
    }
}

#[test]
fn the_last_byte_of_a_frame_is_read_whatever_its_place_in_a_word() {
    for gpu in gpus(Tier::Compute) {
        for start in 0..8 {
            let raws = vec![Raw { origin: 0, blocks: 0x0001_0001, pixels: start, pad: 0 }];
            let bytes = Bytes::from(Random(u64::from(start)).bytes(start as usize + 768));
            check(&gpu, &[Plan { raws, bytes, ..key(Size::new(16, 16)) }], &format!("raw at {start}"));
        }
    }
}

#[test]
fn transfer() {
    for gpu in gpus(Tier::Compute) {
        let mut random = Random(4);
        for size in [Size::new(300, 200), Size::new(128, 64)] {
            let mut plans = vec![noise(&mut random, size)];
            for _ in 0..20 {
                // Stores and recalls of any size, copies whose source and destination overlap each other.
                let tile = Size::new(TILE, TILE);
                let stores = (0..8).map(|i| part(&mut random, size, tile, Point { x: i * TILE, y: 4032 })).collect();
                let recalls = (0..2)
                    .map(|i| {
                        let slot = packed(Point { x: random.below(8) * TILE, y: 4032 });
                        let place = packed(Point { x: i * 64, y: 0 });
                        Transfer { source: slot, destination: place, size: 64 | 64 << 16, pad: 0 }
                    })
                    .collect();
                let uncovers = (0..random.below(3))
                    .map(|i| {
                        let slot = packed(Point { x: random.below(8) * TILE, y: 4032 });
                        let place = packed(Point { x: i * 64, y: 0 });
                        Transfer { source: slot, destination: place, size: 64 | 64 << 16, pad: 0 }
                    })
                    .collect();
                let to = Point { x: random.below(64), y: random.below(32) };
                let copy = part(&mut random, size, Size::new(64, 32), to);
                let amends = (0..random.below(2))
                    .map(|_| {
                        let slot = packed(Point { x: random.below(8) * TILE, y: 4032 });
                        let place = packed(Point { x: random.below(2) * 64, y: 0 });
                        Transfer { source: place, destination: slot, size: 64 | 64 << 16, pad: 0 }
                    })
                    .collect();
                plans.push(Plan { stores, recalls, uncovers, amends, copies: vec![copy], ..Plan::default() });
            }
            check(&gpu, &plans, &format!("transfer {size:?}"));
        }
    }
}

/// A part of the screen of at most some size, to some place.
fn part(random: &mut Random, screen: Size, size_max: Size, to: Point) -> Transfer {
    let (w, h) = (1 + random.below(size_max.w), 1 + random.below(size_max.h));
    let from = Point { x: random.below(screen.w - w + 1), y: random.below(screen.h - h + 1) };
    Transfer { source: packed(from), destination: packed(to), size: w | h << 16, pad: 0 }
}

#[test]
fn more_jobs_than_one_direction_of_a_dispatch_has() {
    for gpu in gpus(Tier::Compute) {
        let mut random = Random(5);
        let size = Size::new(8192, 2300);
        let fills: Vec<Fill> = tiles(size)
            .flat_map(|(origin, visible)| (0..16).map(move |block| (origin, 1 << block & visible)))
            .filter(|(_, blocks)| *blocks != 0)
            .map(|(origin, blocks)| Fill { origin, blocks, color: random.color(), pad: 0 })
            .collect();
        assert!(fills.len() > 65535);
        check(&gpu, &[Plan { fills, ..key(size) }], "many jobs");
    }
}

#[test]
fn a_key_frame_blackens_the_screen_and_empties_the_cache() {
    for gpu in gpus(Tier::Compute) {
        let mut random = Random(6);
        let size = Size::new(128, 128);
        let tile = |source, destination| Transfer { source, destination, size: 64 | 64 << 16, pad: 0 };
        let store = Plan { stores: vec![tile(0, 0)], ..Plan::default() };
        let recall = Plan { recalls: vec![tile(0, packed(Point { x: 64, y: 64 }))], ..Plan::default() };
        let plans = [noise(&mut random, size), store.clone(), key(size), recall.clone()];
        check(&gpu, &plans, "key frame");
        check(&gpu, &[noise(&mut random, size), store, noise(&mut random, size), recall], "key frame with tiles");
    }
}

#[test]
fn jobs_that_point_anywhere_do_no_harm() {
    for gpu in gpus(Tier::Compute) {
        let mut decoder = Decoder::new(&gpu).expect("the shaders compile");
        let mut random = Random(7);
        decoder.apply(&noise(&mut random, Size::new(100, 100))).expect("a sound plan is decoded");
        for _ in 0..20 {
            let mut transfers = |count| -> Vec<Transfer> {
                let mut job =
                    || Transfer { source: random.next(), destination: random.next(), size: random.next(), pad: 0 };
                (0..count).map(|_| job()).collect()
            };
            let [stores, copies, recalls, amends] = [(); 4].map(|()| transfers(9));
            let unpack = |r: &mut Random| Unpack {
                origin: r.next() & 0x003f_003f,
                blocks: r.next(),
                palette: r.next(),
                indices: r.next(),
                bits: r.next(),
                index_max: r.next(),
                pad: [0; 2],
            };
            let unpacks = (0..9).map(|_| unpack(&mut random)).collect();
            let raw = |r: &mut Random| Raw { origin: 0, blocks: r.next(), pixels: r.next(), pad: 0 };
            let raws = (0..9).map(|_| raw(&mut random)).collect();
            let ctx = |r: &mut Random| Ctx {
                origin: r.next() & 0x003f_003f,
                blocks: r.next(),
                shape: r.next(),
                colors: std::array::from_fn(|_| r.next()),
                repeats: std::array::from_fn(|_| r.next()),
                streams: r.next(),
                lengths: std::array::from_fn(|_| r.next()),
                pad: [0; 3],
            };
            let ctxs = (0..9).map(|_| ctx(&mut random)).collect();
            let harvest = |r: &mut Random| Harvest {
                origin: r.next(),
                blocks: r.next(),
                back: r.next(),
                phase: r.next(),
                repeats: std::array::from_fn(|_| r.next()),
                pad: [0; 2],
            };
            let harvests = (0..9).map(|_| harvest(&mut random)).collect();
            let rounds = vec![Round { ctxs: 4, harvests: 9 }];
            let wave = |r: &mut Random| Wave {
                origin: r.next() & 0x003f_003f,
                blocks: r.next(),
                quantiser: r.next(),
                base: r.next(),
                streams: r.next(),
                lengths: std::array::from_fn(|_| r.next()),
                pad: 0,
            };
            let waves = (0..9).map(|_| wave(&mut random)).collect();
            let bytes = Bytes::from_static(b"few");
            let plan = Plan {
                stores,
                copies,
                recalls,
                amends,
                unpacks,
                raws,
                ctxs,
                harvests,
                rounds,
                waves,
                bytes,
                ..Plan::default()
            };
            decoder.apply(&plan).expect("the shaders clamp what they are given");
        }
        decoder.wait().expect("the device is still there");
        // The next key frame makes it a picture again.
        let plan = noise(&mut random, Size::new(70, 70));
        let mut canvas = Canvas::new();
        canvas.apply(&plan);
        decoder.apply(&plan).expect("a sound plan is decoded");
        compare(&decoder.read_back().expect("the screen can be read"), &canvas.screen, "after nonsense");
    }
}

#[test]
fn a_good_driver_proves_itself() {
    for gpu in gpus(Tier::Compute) {
        assert!(decodes_exactly(&gpu).expect("the device is there"), "{}", gpu.kind);
    }
}

#[test]
fn faults_are_values() {
    for gpu in gpus(Tier::Compute) {
        let mut decoder = Decoder::new(&gpu).expect("the shaders compile");
        let fills = vec![Fill::default()];
        let early = decoder.apply(&Plan { fills, ..Plan::default() });
        assert!(matches!(early, Err(GpuError::NoScreen)), "{early:?}");
        let large = decoder.apply(&key(Size::new(1 << 20, 1)));
        assert!(matches!(large, Err(GpuError::TooLarge { .. })), "{large:?}");
        decoder.apply(&key(CACHE_SIZE)).expect("neither of them harms the device");
        gpu.check().expect("neither of them harms the device");
    }
}

#[test]
fn decode_times_arrive_without_waiting() {
    for adapter in adapters(Tier::Compute) {
        let measures = adapter.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let gpu = Gpu::new(adapter, Tier::Compute).expect("an adapter that is listed opens");
        let mut decoder = Decoder::new(&gpu).expect("the shaders compile");
        let mut random = Random(8);
        for _ in 0..10 {
            decoder.apply(&noise(&mut random, Size::new(640, 480))).expect("a sound plan is decoded");
        }
        decoder.wait().expect("the device is still there");
        let mut times = Vec::new();
        while let Some(time) = decoder.poll_decode_time() {
            times.push(time);
        }
        eprintln!("{}: decode times {times:?}", gpu.kind);
        assert_eq!(times.is_empty(), !measures, "{}", gpu.kind);
        assert!(times.iter().all(|t| t.as_secs() < 10), "{times:?}");
    }
}
