//! Printing's promise, neither lost nor doubled, in virtual time: both machines with their journals, a print system, and
//! a link between them, killed and torn at every step.

use kachel::limits::{DOCUMENT_WINDOW, DOCUMENT_WINDOW_MIN, JOBS_MAX};
use kachel::proto::print::host::{HostAction, HostJobs, Refusal, Step};
use kachel::proto::print::viewer::{
    Found, HandedJob, Origin, Progress, RATE_MAX, RATE_OVER, Step as ViewerStep, Submitted, ViewerAction, ViewerJobs,
};
use kachel::proto::wire::print::{
    JobId, JobOffer, JobOptions, JobReason, JobState, PrintWish, PrintWord, Printer, PrinterKey,
};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

const KEY: PrinterKey = PrinterKey([7; 16]);
const OTHER: PrinterKey = PrinterKey([8; 16]);

fn printer(key: PrinterKey) -> Printer {
    Printer {
        key,
        name: "Kyocera Büro 2".into(),
        is_default: true,
        color: true,
        duplex: true,
        ready: true,
        media: vec!["iso_a4_210x297mm".into()],
        sources: Vec::new(),
    }
}

fn offer(number: u8, size: u32) -> JobOffer {
    JobOffer {
        job: JobId([number; 16]),
        printer: KEY,
        size,
        sha256: [number; 32],
        title: format!("job {number}"),
        options: JobOptions::default(),
    }
}

/// xorshift; each seed is one world.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % sides
    }
}

/// A journal's file: what is synced survives, of the rest any part may.
#[derive(Default)]
struct Disk {
    synced: Vec<u8>,
    full: bool,
}

impl Disk {
    /// Appends and syncs, or dies on the way with any part of it written.
    fn append(&mut self, bytes: &[u8], dice: &mut Dice, deadly: bool) -> Result<bool, Killed> {
        if deadly && dice.roll(20) == 0 {
            let torn = dice.roll(bytes.len() as u64 + 1) as usize;
            self.synced.extend_from_slice(&bytes[..torn]);
            return Err(Killed);
        }
        if !self.full {
            self.synced.extend_from_slice(bytes);
        }
        Ok(!self.full)
    }

    fn reopen(&mut self) -> Vec<u8> {
        let whole = kachel::proto::print::journal::recover(&self.synced).1;
        self.synced.truncate(whole);
        self.synced.clone()
    }
}

/// The process died.
#[derive(Debug)]
struct Killed;

/// The viewer's print system, which prints what it took, and may be switched off and on: it knows nothing of it then.
#[derive(Default)]
struct PrintSystem {
    jobs: Vec<(JobId, JobState)>,
    /// It knows nothing of so many jobs, from the first.
    forgotten: usize,
    away: bool,
}

/// Both ends, their disks, and what is on its way between them.
struct World {
    dice: Dice,
    now: Duration,
    clock: u64,
    deadly: bool,
    host: HostJobs,
    host_disk: Disk,
    viewer: ViewerJobs,
    viewer_disk: Disk,
    system: PrintSystem,
    linked: bool,
    /// On its way to the host and to the viewer.
    up: VecDeque<PrintWish>,
    down: VecDeque<Down>,
    watched: BTreeMap<JobId, i32>,
    receiving: Option<JobId>,
    /// Jobs whose program was told that they are taken.
    taken: Vec<JobId>,
    questions: u32,
}

enum Down {
    Word(PrintWord),
    Begin(JobId, u32),
    Bytes(u32),
}

impl World {
    fn new(seed: u64) -> World {
        World {
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now: Duration::ZERO,
            clock: 1_000,
            deadly: true,
            host: HostJobs::default(),
            host_disk: Disk::default(),
            viewer: ViewerJobs::default(),
            viewer_disk: Disk::default(),
            system: PrintSystem::default(),
            linked: false,
            up: VecDeque::new(),
            down: VecDeque::new(),
            watched: BTreeMap::new(),
            receiving: None,
            taken: Vec::new(),
            questions: 0,
        }
    }

    fn cut(&mut self) {
        self.linked = false;
        self.up.clear();
        self.down.clear();
        self.receiving = None;
        self.host.handle_detached();
        self.viewer.handle_lost(false);
    }

    fn kill_host(&mut self) {
        self.cut();
        let bytes = self.host_disk.reopen();
        let (host, errors) = HostJobs::recover(&bytes, Duration::from_secs(self.clock));
        assert_eq!(errors, [], "a torn journal must not make records that say nothing");
        self.host = host;
        self.host_disk.synced = self.host.snapshot();
    }

    fn kill_viewer(&mut self) {
        self.cut();
        self.watched.clear();
        let bytes = self.viewer_disk.reopen();
        self.viewer = ViewerJobs::recover(&bytes);
        self.viewer_disk.synced = self.viewer.snapshot();
        self.viewer.handle_printers(vec![printer(KEY)]);
    }

    fn submit(&mut self, offer: JobOffer) {
        // A program that did not hear an answer asks again with the same id, as CUPS does.
        if self.host.handle_job(offer.clone(), u32::from(offer.job.0[0])) == Err(Refusal::NoPrinter) {
            return;
        }
        while let Some(action) = self.host.poll_action(0) {
            let is_it = matches!(&action, HostAction::Record { job, step: Step::Open, .. } if *job == offer.job);
            if self.host_action(action).is_err() {
                return self.kill_host();
            }
            if is_it {
                break;
            }
        }
        if self.host.job(offer.job).is_some() && !self.taken.contains(&offer.job) {
            self.taken.push(offer.job);
        }
    }

    fn host_action(&mut self, action: HostAction) -> Result<(), Killed> {
        match action {
            HostAction::Record { job, step, bytes } => {
                let written = self.host_disk.append(&bytes, &mut self.dice, self.deadly)?;
                self.host.handle_recorded(job, step, written);
                // It may have become long.
                if self.dice.roll(8) == 0 && !self.host_disk.full {
                    self.host_disk.synced = self.host.snapshot();
                }
            }
            HostAction::Tell(word) if self.linked => self.down.push_back(Down::Word(word)),
            HostAction::Begin { job, offset } if self.linked => self.down.push_back(Down::Begin(job, offset)),
            HostAction::Send { count, .. } if self.linked => self.down.push_back(Down::Bytes(count)),
            _ => {}
        }
        Ok(())
    }

    fn viewer_action(&mut self, action: ViewerAction) -> Result<(), Killed> {
        match action {
            ViewerAction::Tell(wish) => self.up.push_back(wish),
            ViewerAction::Record { job, step, bytes } => {
                let written = self.viewer_disk.append(&bytes, &mut self.dice, self.deadly)?;
                self.viewer.handle_recorded(job, step, written);
                if self.dice.roll(8) == 0 && !self.viewer_disk.full {
                    self.viewer_disk.synced = self.viewer.snapshot();
                }
            }
            ViewerAction::Submit(offer) => {
                if self.deadly && self.dice.roll(10) == 0 {
                    return Err(Killed);
                }
                if self.system.away {
                    self.viewer.handle_submitted(offer.job, Submitted::NotSent, self.now);
                    return Ok(());
                }
                self.system.jobs.push((offer.job, JobState::Queued));
                match if self.deadly { self.dice.roll(8) } else { 7 } {
                    // Dies after the hand-over and before it can write that down.
                    0 => return Err(Killed),
                    1 => self.viewer.handle_submitted(offer.job, Submitted::Uncertain, self.now),
                    _ => {
                        let number = self.system.jobs.len() as i32;
                        self.viewer.handle_submitted(offer.job, Submitted::Taken(number), self.now);
                    }
                }
            }
            ViewerAction::Find { job, .. } => {
                let at = self.system.jobs.iter().position(|(id, _)| *id == job);
                let found = match at {
                    _ if self.system.away => Found::Away,
                    Some(at) if at >= self.system.forgotten => Found::Job(at as i32 + 1),
                    _ => Found::Nothing,
                };
                self.viewer.handle_found(job, found, self.now);
            }
            ViewerAction::Watch(HandedJob { job, number, .. }) => {
                self.watched.insert(job, number);
            }
            ViewerAction::Unwatch(job) => {
                self.watched.remove(&job);
            }
            ViewerAction::Cancel(HandedJob { number, .. }) => {
                let (_, state) = &mut self.system.jobs[number as usize - 1];
                if !state.is_end() {
                    *state = JobState::Canceled;
                }
            }
            ViewerAction::Discard(_) => {}
        }
        Ok(())
    }

    /// One thing happens somewhere.
    fn step(&mut self) {
        match self.dice.roll(if self.deadly { 16 } else { 12 }) {
            0 if !self.linked => {
                self.linked = true;
                self.viewer.handle_connected();
            }
            0..=2 => {
                if let Some(wish) = self.up.pop_front() {
                    self.host.handle_wish(wish);
                }
            }
            3..=5 => self.take_down(),
            6 | 7 => {
                // A path is as slow as it is.
                let window = if self.dice.roll(2) == 0 { DOCUMENT_WINDOW_MIN } else { DOCUMENT_WINDOW };
                if let Some(action) = self.host.poll_action(window)
                    && self.host_action(action).is_err()
                {
                    self.kill_host();
                }
            }
            8 | 9 => {
                if let Some(action) = self.viewer.poll_action()
                    && self.viewer_action(action).is_err()
                {
                    self.kill_viewer();
                }
            }
            10 => {
                for (_, state) in &mut self.system.jobs {
                    *state = match *state {
                        JobState::Queued => JobState::Printing,
                        JobState::Printing => JobState::Done,
                        ended => ended,
                    };
                }
                for (job, number) in self.watched.clone() {
                    self.viewer.handle_state(job, self.system.jobs[number as usize - 1].1, JobReason::None);
                }
            }
            11 => {
                self.now += Duration::from_secs(2);
                self.clock += 2;
                self.viewer.handle_timeout(self.now, self.clock);
                self.answer();
            }
            12 if self.dice.roll(12) == 0 => self.cut(),
            13 if self.dice.roll(30) == 0 => self.kill_host(),
            14 if self.dice.roll(30) == 0 => self.kill_viewer(),
            15 => {
                self.system.away = self.dice.roll(3) == 0;
                if self.dice.roll(4) == 0 {
                    self.system.forgotten = self.system.jobs.len();
                }
            }
            _ => {}
        }
    }

    fn take_down(&mut self) {
        match self.down.pop_front() {
            Some(Down::Word(word)) => self.viewer.handle_word(word),
            Some(Down::Begin(job, offset)) => {
                self.receiving = self.viewer.handle_document(job, offset).then_some(job);
                // Streams that come in one burst are seen one after another before any byte of them is read.
                let next = self.down.iter().rposition(|next| matches!(next, Down::Begin(..)));
                if let Some(next) = next.filter(|_| self.dice.roll(2) == 0) {
                    let later = self.down.split_off(next);
                    self.down.retain(|down| matches!(down, Down::Word(_)));
                    self.down.extend(later);
                    let begin = self.down.iter().rposition(|down| matches!(down, Down::Begin(..)));
                    if let Some(Down::Begin(job, offset)) = begin.and_then(|begin| self.down.remove(begin)) {
                        self.receiving = self.viewer.handle_document(job, offset).then_some(job);
                    }
                }
            }
            Some(Down::Bytes(count)) => {
                let Some(job) = self.receiving else { return };
                match self.viewer.handle_bytes(job, count) {
                    Some(true) => {
                        self.receiving = None;
                        self.viewer.handle_whole(job, [job.0[0]; 32], self.now, self.clock);
                    }
                    Some(false) => {}
                    None => self.receiving = None,
                }
            }
            None => {}
        }
    }

    /// The user looks at the printer and answers truly.
    fn answer(&mut self) {
        for view in self.viewer.jobs() {
            if view.progress == Progress::State(JobState::Unknown, JobReason::None) {
                self.questions += 1;
                let printed = self.system.jobs.iter().any(|(id, _)| *id == view.job);
                self.viewer.handle_answer(view.job, printed);
            }
        }
    }

    fn copies(&self, job: JobId) -> usize {
        self.system.jobs.iter().filter(|(id, _)| *id == job).count()
    }

    /// Quiet times: everything that can end ends.
    fn settle(&mut self) {
        self.deadly = false;
        self.system.away = false;
        for _ in 0..6_000 {
            self.step();
            if self.taken.iter().all(|job| self.host.job(*job).is_none_or(|v| v.state.is_some_and(JobState::is_end)))
                && self.viewer.jobs().is_empty()
            {
                return;
            }
        }
        panic!("not settled: host {:?}\nviewer {:?}", self.host.jobs(), self.viewer.jobs());
    }
}

#[test]
fn no_kill_cut_or_torn_journal_loses_or_doubles_a_job() {
    let (mut questions, mut jobs, mut reached) = (0, 0, 0);
    for seed in 0..5_000 {
        let mut world = World::new(seed);
        world.viewer.handle_printers(vec![printer(KEY)]);
        for number in 1..=3u8 {
            let offer = offer(number, 1 + world.dice.roll(200_000) as u32);
            for _ in 0..60 {
                world.step();
            }
            while world.host.queues().is_empty() {
                world.step();
            }
            for _ in 0..world.dice.roll(4) + 1 {
                world.submit(offer.clone());
            }
        }
        for _ in 0..800 {
            world.step();
        }
        world.settle();
        for job in world.taken.clone() {
            assert_eq!(world.copies(job), 1, "seed {seed}: {job} was handed over that often");
            let state = world.host.job(job).and_then(|view| view.state);
            assert_eq!(state, Some(JobState::Done), "seed {seed}: how {job} ended");
        }
        for (job, _) in &world.system.jobs {
            assert_eq!(world.copies(*job), 1, "seed {seed}: {job}, whose program may not have heard that it is taken");
        }
        jobs += world.taken.len();
        questions += world.questions;
        reached += u64::from(!world.taken.is_empty());
    }
    assert!(reached > 4_500 && jobs > 10_000, "the worlds printed {jobs} jobs only, in {reached} worlds");
    // Only a viewer that died between journal and print system has to ask.
    assert!(questions > 0 && (questions as usize) < jobs / 3, "{questions} questions for {jobs} jobs");
}

/// Runs the host's actions without trouble and gives what it tells.
fn told(host: &mut HostJobs) -> Vec<HostAction> {
    let mut out = Vec::new();
    while let Some(action) = host.poll_action(DOCUMENT_WINDOW) {
        match action {
            HostAction::Record { job, step, .. } => host.handle_recorded(job, step, true),
            HostAction::Queues(_) => {}
            other => out.push(other),
        }
    }
    out
}

#[test]
fn a_job_waits_for_its_own_device_and_goes_to_no_other() {
    let mut host = HostJobs::default();
    assert_eq!(host.handle_job(offer(1, 10), 1), Err(Refusal::NoPrinter));
    host.handle_wish(PrintWish::Printers(vec![printer(KEY)]));
    assert_eq!(host.handle_job(offer(1, 10), 1), Ok(1));
    assert_eq!(told(&mut host), [HostAction::Tell(PrintWord::Offer(offer(1, 10)))]);
    // The session moves to another desk.
    host.handle_detached();
    host.handle_wish(PrintWish::Printers(vec![printer(OTHER)]));
    assert_eq!(told(&mut host), []);
    assert_eq!(host.queues().iter().map(|p| (p.key, p.ready)).collect::<Vec<_>>(), [(OTHER, true), (KEY, false)]);
    // The other desk knows nothing of it and can say nothing about it.
    let state = PrintWish::State { job: JobId([1; 16]), state: JobState::Done, reason: JobReason::None };
    host.handle_wish(state);
    assert_eq!(host.job(JobId([1; 16])).unwrap().state, None);
    // And back: the journal of a process that died meanwhile says the same.
    let (mut host, errors) = HostJobs::recover(&host.snapshot(), Duration::ZERO);
    assert_eq!(errors, []);
    assert_eq!(host.queues().len(), 1, "the queue of an open job stays");
    host.handle_wish(PrintWish::Printers(vec![printer(KEY)]));
    assert_eq!(told(&mut host), [HostAction::Tell(PrintWord::Offer(offer(1, 10)))]);
}

#[test]
fn what_comes_from_a_queue_that_is_about_to_go_is_taken_and_keeps_it() {
    let mut host = HostJobs::default();
    host.handle_wish(PrintWish::Printers(vec![printer(KEY)]));
    host.handle_detached();
    host.handle_wish(PrintWish::Printers(vec![printer(OTHER)]));
    let keys = |printers: &[Printer]| printers.iter().map(|p| p.key).collect::<Vec<_>>();
    assert_eq!(keys(host.queues()), [OTHER]);
    // The print server still has both.
    host.handle_queues(|_| true);
    assert_eq!(host.handle_job(offer(1, 10), 1), Ok(1));
    let ordered = std::iter::from_fn(|| host.poll_action(DOCUMENT_WINDOW));
    let ordered =
        ordered.filter_map(|action| if let HostAction::Queues(printers) = action { Some(printers) } else { None });
    assert_eq!(keys(&ordered.last().expect("other queues than before")), [OTHER, KEY]);
    // What an earlier process left counts until it is known what is wanted; then it goes like any other.
    let mut host = HostJobs::default();
    host.handle_left(vec![printer(KEY)]);
    assert_eq!(host.handle_job(offer(2, 10), 2), Ok(2));
    let mut host = HostJobs::default();
    host.handle_left(vec![printer(KEY)]);
    host.handle_wish(PrintWish::Printers(vec![printer(OTHER)]));
    assert_eq!(host.printers().count(), 2);
    host.handle_queues(|key| key == OTHER);
    assert_eq!(host.handle_job(offer(3, 10), 3), Err(Refusal::NoPrinter));
    // A device whose printers change all the time fills no memory.
    for number in 0..2_000u16 {
        let mut key = [9; 16];
        key[..2].copy_from_slice(&number.to_le_bytes());
        host.handle_wish(PrintWish::Printers(vec![printer(PrinterKey(key))]));
        while host.poll_action(DOCUMENT_WINDOW).is_some() {}
    }
    assert!(host.printers().count() < 100);
}

#[test]
fn how_a_job_ended_is_known_for_seven_days_and_no_longer() {
    let (day, id) = (Duration::from_secs(86_400), JobId([1; 16]));
    let mut host = HostJobs::default();
    host.handle_wish(PrintWish::Printers(vec![printer(KEY)]));
    assert!(!host.handle_time(day));
    host.handle_job(offer(1, 10), 1).unwrap();
    told(&mut host);
    assert_eq!(host.poll_timeout(), None, "not while it is open");
    host.handle_wish(PrintWish::State { job: id, state: JobState::Done, reason: JobReason::None });
    told(&mut host);
    assert_eq!(host.poll_timeout(), Some(8 * day));
    assert!(!host.handle_time(8 * day - Duration::from_secs(1)));
    assert!(host.job(id).is_some() && host.snapshot().windows(5).any(|bytes| bytes == b"job 1"));
    assert!(host.handle_time(8 * day));
    assert!(host.job(id).is_none() && host.snapshot().is_empty());

    // Also over restarts, by the machine's clock.
    let mut host = HostJobs::default();
    host.handle_wish(PrintWish::Printers(vec![printer(KEY)]));
    host.handle_time(day);
    host.handle_job(offer(1, 10), 1).unwrap();
    told(&mut host);
    host.handle_wish(PrintWish::State { job: id, state: JobState::Done, reason: JobReason::None });
    told(&mut host);
    let (host, _) = HostJobs::recover(&host.snapshot(), 5 * day);
    assert_eq!(host.poll_timeout(), Some(8 * day));
    let (host, _) = HostJobs::recover(&host.snapshot(), 8 * day - Duration::from_secs(1));
    assert!(host.job(id).is_some());
    let (host, _) = HostJobs::recover(&host.snapshot(), 8 * day);
    assert!(host.job(id).is_none());
}

#[test]
fn however_many_jobs_have_ended_the_newest_is_not_lost_by_a_kill() {
    let mut host = HostJobs::default();
    host.handle_wish(PrintWish::Printers(vec![printer(KEY)]));
    // A journal that only grows, as it does up to some megabytes.
    let mut journal = Vec::new();
    let mut run = |host: &mut HostJobs| {
        while let Some(action) = host.poll_action(DOCUMENT_WINDOW) {
            if let HostAction::Record { job, step, bytes } = action {
                journal.extend_from_slice(&bytes);
                host.handle_recorded(job, step, true);
            }
        }
    };
    let id = |number: u32| JobId(std::array::from_fn(|i| number.to_le_bytes()[i % 4]));
    for number in 1..=400 {
        assert_eq!(host.handle_job(JobOffer { job: id(number), ..offer(1, 10) }, number), Ok(number));
        run(&mut host);
        if number < 400 {
            host.handle_wish(PrintWish::State { job: id(number), state: JobState::Done, reason: JobReason::None });
            run(&mut host);
        }
    }
    let (again, errors) = HostJobs::recover(&journal, Duration::ZERO);
    assert_eq!(errors, []);
    assert_eq!(again.job(id(400)).map(|job| job.state), Some(None), "it still waits");
    // And those that ended last are known, so that what comes of them once more is told from something new.
    assert_eq!(again.job(id(399)).and_then(|job| job.state), Some(JobState::Done));
    assert_eq!(again.jobs().len(), host.jobs().len());
}

/// Brings a job of the session that is connected to as far as the print system, which numbers it so.
fn hand_over(viewer: &mut ViewerJobs, number: u8) {
    receive(viewer, number, Duration::ZERO);
    assert_eq!(handed_over(viewer), [JobId([number; 16])]);
    viewer.handle_submitted(JobId([number; 16]), Submitted::Taken(number.into()), Duration::ZERO);
    handed_over(viewer);
}

/// What the viewer tells its host now; the disk writes what it is told.
fn wishes(viewer: &mut ViewerJobs) -> Vec<PrintWish> {
    let mut wishes = Vec::new();
    while let Some(action) = viewer.poll_action() {
        match action {
            ViewerAction::Record { job, step, .. } => viewer.handle_recorded(job, step, true),
            ViewerAction::Tell(wish) => wishes.push(wish),
            _ => {}
        }
    }
    wishes
}

#[test]
fn another_host_hears_nothing_of_a_job_and_has_no_word_in_it() {
    let (ours, others) = (Origin([1; 16]), Origin([2; 16]));
    let (id, done) = (JobId([1; 16]), JobState::Done);
    let said = PrintWish::State { job: id, state: done, reason: JobReason::None };
    let mut viewer = ViewerJobs::default();
    viewer.handle_printers(vec![printer(KEY)]);
    viewer.handle_target(ours);
    viewer.handle_connected();
    hand_over(&mut viewer, 1);
    // A second one is still coming.
    viewer.handle_word(PrintWord::Offer(offer(2, 1_000)));
    assert!(viewer.handle_document(JobId([2; 16]), 0));
    viewer.handle_bytes(JobId([2; 16]), 500);
    wishes(&mut viewer);

    viewer.handle_target(others);
    viewer.handle_connected();
    // What came of a document makes room for the documents of this one.
    assert_eq!(viewer.jobs().iter().map(|job| job.job).collect::<Vec<_>>(), [id]);
    viewer.handle_word(PrintWord::Cancel(id));
    viewer.handle_word(PrintWord::Settled(id));
    viewer.handle_word(PrintWord::Offer(JobOffer { title: "stolen".into(), ..offer(1, 10) }));
    viewer.handle_state(id, done, JobReason::None);
    viewer.handle_word(PrintWord::Settled(id));
    assert_eq!(wishes(&mut viewer), [PrintWish::Printers(vec![printer(KEY)])]);
    assert_eq!(viewer.jobs()[0].title, "job 1");

    // Also one that was started anew meanwhile tells its own host how it ended, and does not print it again.
    for mut viewer in [ViewerJobs::recover(&viewer.snapshot()), viewer] {
        viewer.handle_printers(vec![printer(KEY)]);
        viewer.handle_target(ours);
        viewer.handle_connected();
        assert!(wishes(&mut viewer).contains(&said));
        viewer.handle_word(PrintWord::Offer(offer(1, 10)));
        assert_eq!(wishes(&mut viewer), std::slice::from_ref(&said));
        viewer.handle_word(PrintWord::Settled(id));
        assert!(viewer.jobs().is_empty());
    }
}

#[test]
fn how_jobs_ended_in_sessions_that_nobody_comes_back_to_fills_no_memory() {
    let mut viewer = ViewerJobs::default();
    viewer.handle_printers(vec![printer(KEY)]);
    let id = |number: u32| JobId(std::array::from_fn(|i| number.to_le_bytes()[i % 4]));
    let mut number = 0;
    for session in 0..60 {
        viewer.handle_target(Origin([session; 16]));
        viewer.handle_connected();
        for _ in 0..JOBS_MAX {
            number += 1;
            viewer.handle_word(PrintWord::Offer(JobOffer { job: id(number), ..offer(1, 10) }));
            viewer.handle_word(PrintWord::Cancel(id(number)));
            wishes(&mut viewer);
        }
        // One more than may be open in a session.
        viewer.handle_word(PrintWord::Offer(JobOffer { job: id(0), ..offer(1, 10) }));
        let full = PrintWish::State { job: id(0), state: JobState::Failed, reason: JobReason::NoRoom };
        assert_eq!(wishes(&mut viewer), [full]);
        assert!(viewer.jobs().iter().any(|job| job.job == id(number)), "the newest stays");
    }
    assert!(viewer.jobs().len() <= 16 * JOBS_MAX, "{}", viewer.jobs().len());
    assert_eq!(ViewerJobs::recover(&viewer.snapshot()).jobs().len(), viewer.jobs().len());
}

#[test]
fn a_job_whose_printer_does_not_come_back_is_asked_about_and_can_be_cancelled() {
    let id = JobId([1; 16]);
    // The viewer died in the hand-over, and its printer is gone.
    let lost = || {
        let mut viewer = printing_viewer();
        receive(&mut viewer, 1, Duration::ZERO);
        assert_eq!(handed_over(&mut viewer), [id]);
        let mut viewer = ViewerJobs::recover(&viewer.snapshot());
        viewer.handle_printers(Vec::new());
        viewer.handle_connected();
        let mut now = Duration::ZERO;
        let mut asked_after = 0;
        while !viewer.jobs()[0].is_question() {
            wishes(&mut viewer);
            viewer.handle_found(id, Found::Away, now);
            asked_after += 1;
            assert!(asked_after < 100, "nobody is asked");
            now = viewer.poll_timeout().expect("it is asked again");
            viewer.handle_timeout(now, 0);
        }
        assert!(now > Duration::from_secs(30) && now < Duration::from_secs(300), "{now:?}");
        // The host hears so as well, and a printer that comes back may know it after all.
        let unknown = PrintWish::State { job: id, state: JobState::Unknown, reason: JobReason::None };
        assert!(wishes(&mut viewer).contains(&unknown));
        (viewer, now)
    };
    let end = |viewer: &mut ViewerJobs| {
        let ends = wishes(viewer).into_iter().filter_map(|wish| match wish {
            PrintWish::State { state, .. } if state.is_end() => Some(state),
            _ => None,
        });
        ends.collect::<Vec<_>>()
    };
    let (mut viewer, now) = lost();
    viewer.handle_found(id, Found::Job(7), now);
    assert_eq!(viewer.jobs()[0].progress, Progress::State(JobState::Queued, JobReason::None));
    let (mut viewer, now) = lost();
    viewer.handle_found(id, Found::Away, now);
    assert!(viewer.jobs()[0].is_question(), "it stays a question");
    viewer.handle_answer(id, true);
    assert_eq!(end(&mut viewer), [JobState::Done]);
    let (mut viewer, _) = lost();
    viewer.handle_cancel(id);
    assert_eq!(end(&mut viewer), [JobState::Canceled]);
    // One that its printer had taken before that was taken away.
    let mut viewer = printing_viewer();
    hand_over(&mut viewer, 1);
    viewer.handle_printers(Vec::new());
    viewer.handle_state(id, JobState::Stopped, JobReason::NoPrinter);
    viewer.handle_cancel(id);
    assert_eq!(end(&mut viewer), [JobState::Canceled]);
}

#[test]
fn a_job_that_may_be_known_by_its_title_is_asked_about_only_when_that_is_known() {
    let id = JobId([1; 16]);
    let mut viewer = printing_viewer();
    hand_over(&mut viewer, 1);
    let journal = viewer.snapshot();
    let restarted = || {
        let mut viewer = ViewerJobs::recover(&journal);
        viewer.handle_printers(vec![printer(KEY)]);
        // Its printer cuts names, and the id is at their end.
        viewer.handle_state(id, JobState::Unknown, JobReason::None);
        assert!(!viewer.jobs()[0].is_question());
        viewer.handle_connected();
        viewer
    };
    let mut viewer = restarted();
    wishes(&mut viewer);
    viewer.handle_word(PrintWord::Offer(offer(1, 10)));
    let watched = std::iter::from_fn(|| viewer.poll_action())
        .find_map(|action| if let ViewerAction::Watch(handed) = action { handed.title } else { None });
    assert_eq!(watched.as_deref(), Some("job 1"));
    viewer.handle_state(id, JobState::Unknown, JobReason::None);
    assert!(viewer.jobs()[0].is_question());
    // A host that no longer has it does not name it: then nobody needs to know.
    let mut viewer = restarted();
    let queued = PrintWish::State { job: id, state: JobState::Queued, reason: JobReason::None };
    assert!(wishes(&mut viewer).contains(&queued));
    viewer.handle_word(PrintWord::Settled(id));
    assert!(viewer.jobs().is_empty());
}

#[test]
fn an_end_that_is_said_again_while_a_disk_is_slow_is_written_once() {
    let mut host = HostJobs::default();
    host.handle_wish(PrintWish::Printers(vec![printer(KEY)]));
    host.handle_job(offer(1, 10), 1).unwrap();
    told(&mut host);
    for _ in 0..1_000 {
        host.handle_wish(PrintWish::State { job: JobId([1; 16]), state: JobState::Done, reason: JobReason::None });
    }
    let mut records = Vec::new();
    while let Some(action) = host.poll_action(DOCUMENT_WINDOW) {
        records.extend(if let HostAction::Record { job, step, .. } = action { Some((job, step)) } else { None });
    }
    assert_eq!(records, [(JobId([1; 16]), Step::Ended)]);
    // A disk that failed is tried again.
    host.handle_recorded(JobId([1; 16]), Step::Ended, false);
    host.handle_wish(PrintWish::State { job: JobId([1; 16]), state: JobState::Done, reason: JobReason::None });
    assert!(told(&mut host).contains(&HostAction::Tell(PrintWord::Settled(JobId([1; 16])))));
}

#[test]
fn a_document_goes_on_at_the_byte_where_it_broke_and_never_fills_the_way() {
    let mut host = HostJobs::default();
    host.handle_wish(PrintWish::Printers(vec![printer(KEY)]));
    let (id, size) = (JobId([1; 16]), 1_000_000);
    host.handle_job(offer(1, size), 1).unwrap();
    told(&mut host);
    host.handle_wish(PrintWish::Wanted { job: id, offset: 0 });
    let sent = |host: &mut HostJobs| -> u32 {
        told(host).iter().map(|a| if let HostAction::Send { count, .. } = a { *count } else { 0 }).sum()
    };
    assert_eq!(sent(&mut host), DOCUMENT_WINDOW);
    assert_eq!(sent(&mut host), 0, "nothing more before the viewer confirms");
    host.handle_wish(PrintWish::Received { job: id, offset: 100_000 });
    assert!((1..=100_000).contains(&sent(&mut host)));
    host.handle_detached();
    host.handle_wish(PrintWish::Printers(vec![printer(KEY)]));
    assert_eq!(told(&mut host), [HostAction::Tell(PrintWord::Offer(offer(1, size)))]);
    host.handle_wish(PrintWish::Wanted { job: id, offset: 123_456 });
    assert_eq!(told(&mut host)[0], HostAction::Begin { job: id, offset: 123_456 });
}

#[test]
fn a_cancelled_job_is_not_printed_unless_it_was_before() {
    let id = JobId([1; 16]);
    // Before any device heard of it: at once.
    let mut host = HostJobs::default();
    host.handle_wish(PrintWish::Printers(vec![printer(KEY)]));
    host.handle_job(offer(1, 10), 1).unwrap();
    host.handle_cancel(id);
    told(&mut host);
    assert_eq!(host.job(id).unwrap().state, Some(JobState::Canceled));
    // At the viewer, which receives it: nothing is handed over.
    let mut viewer = ViewerJobs::default();
    viewer.handle_printers(vec![printer(KEY)]);
    viewer.handle_connected();
    viewer.handle_word(PrintWord::Offer(offer(1, 10)));
    viewer.handle_word(PrintWord::Cancel(id));
    assert_eq!(viewer.handle_bytes(id, 10), None);
    viewer.handle_whole(id, [1; 32], Duration::ZERO, 0);
    let mut handed = 0;
    while let Some(action) = viewer.poll_action() {
        handed += u32::from(matches!(action, ViewerAction::Submit(_)));
    }
    assert_eq!(handed, 0);
}

#[test]
fn a_host_gets_nothing_printed_that_it_did_not_offer() {
    let id = JobId([1; 16]);
    let mut viewer = ViewerJobs::default();
    viewer.handle_printers(vec![printer(KEY)]);
    viewer.handle_connected();
    // For a printer that was not offered.
    viewer.handle_word(PrintWord::Offer(JobOffer { printer: OTHER, ..offer(1, 10) }));
    assert!(viewer.jobs().is_empty());
    viewer.handle_word(PrintWord::Offer(offer(1, 10)));
    // Other bytes than it said, more than it said, or from where nobody asked.
    assert!(!viewer.handle_document(id, 3));
    assert_eq!(viewer.handle_bytes(id, 11), None);
    assert_eq!(viewer.handle_bytes(id, 10), Some(true));
    viewer.handle_whole(id, [9; 32], Duration::ZERO, 0);
    let mut ends = Vec::new();
    while let Some(action) = viewer.poll_action() {
        assert!(!matches!(action, ViewerAction::Submit(_)));
        if let ViewerAction::Tell(PrintWish::State { state, reason, .. }) = action {
            ends.push((state, reason));
        }
    }
    assert_eq!(ends, [(JobState::Failed, JobReason::NoPrinter), (JobState::Failed, JobReason::Damaged)]);
}

#[test]
fn a_host_that_no_longer_wants_the_device_gets_nothing_printed_but_what_the_print_system_has() {
    let mut viewer = ViewerJobs::default();
    viewer.handle_printers(vec![printer(KEY)]);
    viewer.handle_connected();
    let come = |viewer: &mut ViewerJobs, number: u8| {
        let id = JobId([number; 16]);
        viewer.handle_word(PrintWord::Offer(offer(number, 10)));
        assert_eq!(viewer.handle_bytes(id, 10), Some(true));
        viewer.handle_whole(id, [number; 32], Duration::ZERO, 0);
    };
    // The first is at the print system, the second waits for it, the third's record is being written, the fourth is coming.
    for (number, submitted) in [(1, Submitted::Taken(7)), (2, Submitted::NotSent)] {
        come(&mut viewer, number);
        viewer.handle_recorded(JobId([number; 16]), ViewerStep::Intent, true);
        viewer.handle_submitted(JobId([number; 16]), submitted, Duration::ZERO);
    }
    come(&mut viewer, 3);
    viewer.handle_word(PrintWord::Offer(offer(4, 10)));
    // The fifth is on its way there, and does not arrive.
    come(&mut viewer, 5);
    viewer.handle_recorded(JobId([5; 16]), ViewerStep::Intent, true);
    while viewer.poll_action().is_some() {}
    assert_eq!(viewer.jobs().len(), 5);
    viewer.handle_lost(true);
    viewer.handle_submitted(JobId([5; 16]), Submitted::NotSent, Duration::ZERO);
    viewer.handle_recorded(JobId([3; 16]), ViewerStep::Intent, true);
    viewer.handle_timeout(Duration::from_secs(3_600), 0);
    let actions: Vec<ViewerAction> = std::iter::from_fn(|| viewer.poll_action()).collect();
    for number in 2..=5 {
        assert!(actions.contains(&ViewerAction::Discard(JobId([number; 16]))), "{number}: {actions:?}");
    }
    assert!(!actions.iter().any(|action| matches!(action, ViewerAction::Submit(_))), "{actions:?}");
    assert_eq!(viewer.jobs().iter().map(|job| job.job).collect::<Vec<_>>(), [JobId([1; 16])]);
}

#[test]
fn a_full_disk_loses_nothing_and_prints_nothing_it_may_forget() {
    for (host_full, viewer_full) in [(true, false), (false, true)] {
        let mut world = World::new(5);
        world.deadly = false;
        world.viewer.handle_printers(vec![printer(KEY)]);
        for _ in 0..200 {
            world.step();
        }
        (world.host_disk.full, world.viewer_disk.full) = (host_full, viewer_full);
        world.submit(offer(1, 1_000));
        assert_eq!(world.taken.is_empty(), host_full, "a host that cannot write takes no job");
        for _ in 0..1_000 {
            world.step();
        }
        assert_eq!(world.system.jobs.len(), 0);
        let state = world.host.job(JobId([1; 16])).and_then(|view| view.state);
        assert_eq!(state, viewer_full.then_some(JobState::Failed));
    }
}

#[test]
fn documents_of_all_jobs_together_are_bounded_and_none_is_lost() {
    use kachel::limits::{DOCUMENTS_BYTES_MAX, JOB_BYTES_MAX};
    let fit = (DOCUMENTS_BYTES_MAX / u64::from(JOB_BYTES_MAX)) as u8;
    // At the host the next one waits in front of the door, in the session's print server.
    let mut host = HostJobs::default();
    host.handle_wish(PrintWish::Printers(vec![printer(KEY)]));
    for number in 1..=fit {
        assert_eq!(host.handle_job(offer(number, JOB_BYTES_MAX), number.into()), Ok(number.into()));
    }
    told(&mut host);
    assert_eq!(host.handle_job(offer(fit + 1, 1), 9), Err(Refusal::NoRoom));
    host.handle_wish(PrintWish::State { job: JobId([1; 16]), state: JobState::Done, reason: JobReason::None });
    told(&mut host);
    assert_eq!(host.handle_job(offer(fit + 1, 1), 9), Ok(9));

    // At the viewer it waits at the host.
    let mut viewer = ViewerJobs::default();
    viewer.handle_printers(vec![printer(KEY)]);
    viewer.handle_connected();
    for number in 1..=fit + 1 {
        viewer.handle_word(PrintWord::Offer(offer(number, JOB_BYTES_MAX)));
    }
    let wanted = |viewer: &mut ViewerJobs| -> Vec<u8> {
        let mut wanted = Vec::new();
        while let Some(action) = viewer.poll_action() {
            match action {
                ViewerAction::Tell(PrintWish::Wanted { job, .. }) => wanted.push(job.0[0]),
                ViewerAction::Record { job, step, .. } => viewer.handle_recorded(job, step, true),
                ViewerAction::Submit(offer) => {
                    viewer.handle_submitted(offer.job, Submitted::Taken(1), Duration::ZERO);
                }
                _ => {}
            }
        }
        wanted
    };
    assert_eq!(wanted(&mut viewer), (1..=fit).collect::<Vec<_>>());
    let last = JobId([fit + 1; 16]);
    assert!(!viewer.handle_document(last, 0), "nobody asked for it");
    assert_eq!(viewer.handle_bytes(last, 10), None);
    // Once the first is handed over.
    assert!(viewer.handle_document(JobId([1; 16]), 0));
    assert_eq!(viewer.handle_bytes(JobId([1; 16]), JOB_BYTES_MAX), Some(true));
    viewer.handle_whole(JobId([1; 16]), [1; 32], Duration::ZERO, 0);
    assert_eq!(wanted(&mut viewer), [fit + 1]);
    assert!(viewer.handle_document(last, 0));
}

#[test]
fn only_so_many_jobs_wait_at_a_time_and_the_next_one_once_one_has_ended() {
    let mut host = HostJobs::default();
    host.handle_wish(PrintWish::Printers(vec![printer(KEY)]));
    let last = JOBS_MAX as u8 + 1;
    for number in 1..last {
        assert_eq!(host.handle_job(offer(number, 10), number.into()), Ok(number.into()));
    }
    told(&mut host);
    assert_eq!(host.handle_job(offer(last, 10), last.into()), Err(Refusal::Full));
    assert_eq!(host.handle_job(offer(1, 10), last.into()), Ok(1), "one that is known is no new one");
    host.handle_wish(PrintWish::State { job: JobId([1; 16]), state: JobState::Done, reason: JobReason::None });
    told(&mut host);
    assert_eq!(host.handle_job(offer(last, 10), last.into()), Ok(last.into()));
}

#[test]
fn a_host_that_talks_while_a_disk_is_slow_fills_no_memory() {
    let mut viewer = ViewerJobs::default();
    viewer.handle_printers(vec![printer(KEY)]);
    viewer.handle_connected();
    for number in 0..100_000u32 {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_le_bytes());
        // A job that is over as soon as it is offered leaves records, too.
        viewer.handle_word(PrintWord::Offer(JobOffer { job: JobId(id), ..offer(1, 10) }));
        viewer.handle_word(PrintWord::Cancel(JobId(id)));
        viewer.handle_word(PrintWord::Settled(JobId(id)));
    }
    let mut actions = 0;
    while viewer.poll_action().is_some() {
        actions += 1;
    }
    assert!(actions < 5_000, "{actions} answers wait");
}

/// A viewer with a printer, connected.
fn printing_viewer() -> ViewerJobs {
    let mut viewer = ViewerJobs::default();
    viewer.handle_printers(vec![printer(KEY)]);
    viewer.handle_connected();
    viewer
}

/// A job's document comes as a whole at this time.
fn receive(viewer: &mut ViewerJobs, number: u8, now: Duration) {
    let id = JobId([number; 16]);
    viewer.handle_word(PrintWord::Offer(offer(number, 10)));
    assert!(viewer.handle_document(id, 0));
    assert_eq!(viewer.handle_bytes(id, 10), Some(true));
    viewer.handle_whole(id, [number; 32], now, 0);
}

/// The jobs that are handed over now; the disk writes what it is told.
fn handed_over(viewer: &mut ViewerJobs) -> Vec<JobId> {
    let mut handed = Vec::new();
    while let Some(action) = viewer.poll_action() {
        match action {
            ViewerAction::Record { job, step, .. } => viewer.handle_recorded(job, step, true),
            ViewerAction::Submit(offer) => handed.push(offer.job),
            _ => {}
        }
    }
    handed
}

#[test]
fn a_host_gets_only_so_many_jobs_printed_a_minute_and_the_others_later() {
    let mut viewer = printing_viewer();
    let count = 2 * RATE_MAX as u8 + 3;
    for number in 1..=count {
        receive(&mut viewer, number, Duration::ZERO);
    }
    let (mut now, mut handed) = (Duration::ZERO, Vec::new());
    while handed.len() < usize::from(count) {
        for job in handed_over(&mut viewer) {
            handed.push((now, job));
            viewer.handle_submitted(job, Submitted::Taken(1), now);
        }
        let Some(at) = viewer.poll_timeout() else { break };
        now = at;
        viewer.handle_timeout(now, 0);
    }
    let mut ids: Vec<JobId> = handed.iter().map(|(_, id)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), usize::from(count), "each once");
    for (first, last) in handed.iter().zip(&handed[RATE_MAX..]) {
        assert!(last.0 >= first.0 + RATE_OVER, "{handed:?}");
    }
}

#[test]
fn a_job_that_was_not_sent_after_all_is_not_counted_and_those_after_it_are() {
    let mut viewer = printing_viewer();
    let first = JobId([1; 16]);
    receive(&mut viewer, 1, Duration::ZERO);
    assert_eq!(handed_over(&mut viewer), [first]);
    // While its print system takes its time, the others come: now as many as may be handed over are.
    let later = RATE_OVER / 2;
    for number in 2..=RATE_MAX as u8 {
        receive(&mut viewer, number, later);
    }
    assert_eq!(handed_over(&mut viewer).len(), RATE_MAX - 1);
    viewer.handle_submitted(first, Submitted::NotSent, later);
    // In its place one goes, and no other before those that came later no longer count.
    receive(&mut viewer, 101, later);
    assert_eq!(handed_over(&mut viewer), [JobId([101; 16])]);
    receive(&mut viewer, 102, RATE_OVER + Duration::from_secs(1));
    assert_eq!(handed_over(&mut viewer), []);
}

#[test]
fn the_panel_hears_of_a_documents_hundredths_and_not_of_each_packet() {
    let mut viewer = printing_viewer();
    let id = JobId([1; 16]);
    viewer.handle_word(PrintWord::Offer(offer(1, 1_000_000)));
    assert!(viewer.handle_document(id, 0) && viewer.poll_changed());
    let mut shown = Vec::new();
    for _ in 0..1_000 {
        viewer.handle_bytes(id, 1_000);
        if viewer.poll_changed() {
            shown.push(viewer.jobs()[0].progress);
        }
    }
    let hundredth = |n: u32| Progress::Receiving { received: n * 10_000, size: 1_000_000 };
    assert_eq!(shown, (1..=100).map(hundredth).collect::<Vec<_>>());
}
