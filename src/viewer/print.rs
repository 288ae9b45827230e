//! The viewer's printing: the machine of `proto::print::viewer` meets journal, spool and the thread that knows printers.
//!
//! Lives in the net thread, which never waits for a print system or a disk: threads of their own do ([`work`],
//! [`JournalThread`]).

use crate::io::ipp::client::{Document, Source};
use crate::io::journal::{JournalFile, JournalThread, Written};
use crate::io::net::files::{private_dir, user_state, write_private};
use crate::limits::JOBS_MAX;
use crate::proto::print::viewer::{
    Found, HandedJob, JobView, Origin, Progress, Step, Submitted, ViewerAction, ViewerJobs,
};
use crate::proto::wire::print::{JobId, JobOffer, JobReason, JobState, PrintWish, PrintWord, Printer, PrinterKey};
use crate::viewer::printers::{AnyPrinter, Finder};
use crate::viewer::spool::Spool;
use aws_lc_rs::digest;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};

/// Orders that may wait for the print thread: a few for each job. Nothing more is done until there is room.
const ORDERS_MAX: usize = 8 * JOBS_MAX;
/// Jobs whose end the panel goes on to tell.
const ENDED_MAX: usize = 10;
/// How often the machine's printers are looked for while somebody uses the viewer or a job is under way; else never.
const LOOK: Duration = Duration::from_secs(10);
/// How often a job is asked after at first, and later.
const ASK: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// A job that has taken this long is asked after less often.
const YOUNG: Duration = Duration::from_secs(30);
/// Viewers of one user that print at the same time: each has a journal of its own.
const JOURNALS_MAX: u32 = 8;

/// What the user of this viewer, or who started it, wants printed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrintSettings {
    /// Where printers are looked for; none: the viewer offers none.
    pub sources: Vec<Source>,
    /// Where journals lie; the user's state directory if not given.
    pub state: Option<PathBuf>,
}

impl Default for PrintSettings {
    fn default() -> Self {
        PrintSettings { sources: vec![Source::System], state: None }
    }
}

/// What the panel shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrintView {
    /// Printers of this machine, and whether each is offered.
    pub printers: Vec<(Printer, bool)>,
    /// Jobs that are not forgotten.
    pub jobs: Vec<JobView>,
    /// The host takes printers.
    pub allowed: bool,
}

/// What the user does on the panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrintCommand {
    /// Offer this printer, or no longer.
    Offer(PrinterKey, bool),
    /// The sheet of this job was printed, or was not.
    Answer(JobId, bool),
    /// Cancel this job.
    Cancel(JobId),
}

/// To the print thread.
#[derive(Debug)]
enum Order {
    Submit(JobOffer, Document),
    Find(JobId, PrinterKey),
    Watch(HandedJob),
    Unwatch(JobId),
    Cancel(HandedJob),
}

/// From the print thread.
#[derive(Debug)]
pub enum PrintNews {
    /// The machine's printers, when they changed.
    Printers(Vec<Printer>),
    /// What became of a hand-over.
    Submitted(JobId, Submitted),
    /// What the print system says about an id.
    Found(JobId, Found),
    /// How a job fares.
    State(JobId, JobState, JobReason),
    /// What became of the record that was to be written.
    Written(Written),
    /// There is room for orders again.
    Room,
}

/// All of a viewer's printing.
pub struct Printing {
    jobs: ViewerJobs,
    orders: mpsc::Sender<Order>,
    /// No order could be given.
    is_blocked: bool,
    /// Printers are worth looking for again.
    is_used: Arc<Notify>,
    /// Goes before the journal's thread is waited for, which tells of its records here.
    news: mpsc::Receiver<PrintNews>,
    journal: JournalThread,
    /// The record that it is writing; what comes after that waits.
    writing: Option<(JobId, Step)>,
    /// Held as long as this viewer prints.
    _lock: File,
    spools: HashMap<JobId, Spool>,
    documents: HashMap<JobId, Document>,
    receiving: Option<JobId>,
    printers: Vec<Printer>,
    /// Keys of printers that are not offered.
    refused: HashSet<String>,
    allowed: bool,
    started: Instant,
    changed: bool,
    ended: EndedJobs,
}

impl Printing {
    /// Takes up what an earlier run left, and begins to look for printers; those with these keys are not offered.
    ///
    /// # Errors
    /// What the system says; without a journal a viewer does not print.
    pub fn start(settings: &PrintSettings, refused: &[String]) -> io::Result<Printing> {
        let state = settings.state.clone().or_else(user_state).ok_or(io::ErrorKind::NotFound)?;
        private_dir(&state)?;
        let (lock, path) = own_journal(&state)?;
        let place = place_id(&path.with_extension("id"), path.exists())?;
        let (jobs, journal) = open_journal(&path)?;
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let (told, news) = mpsc::channel(ORDERS_MAX);
        let is_used = Arc::<Notify>::default();
        let used = Arc::clone(&is_used);
        let wrote = told.clone();
        let journal = JournalThread::start(journal, move |written| {
            // A viewer that has ended hears nothing of it.
            let _ = wrote.blocking_send(PrintNews::Written(written));
        })?;
        let sources = settings.sources.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("print".into()).spawn(move || {
            let tasks = tokio::task::LocalSet::new();
            tasks.block_on(&runtime, work(sources, place, used, taken, told));
        })?;
        Ok(Printing {
            jobs,
            orders,
            is_blocked: false,
            is_used,
            news,
            journal,
            writing: None,
            _lock: lock,
            spools: HashMap::new(),
            documents: HashMap::new(),
            receiving: None,
            printers: Vec::new(),
            refused: refused.iter().cloned().collect(),
            allowed: false,
            started: Instant::now(),
            changed: true,
            ended: EndedJobs::default(),
        })
    }

    /// Somebody uses the viewer: printers that were plugged in are worth finding.
    pub fn handle_use(&self) {
        self.is_used.notify_one();
    }

    /// The next thing from the print thread or the journal's.
    pub async fn news(&mut self) -> Option<PrintNews> {
        tokio::select! {
            news = self.news.recv() => news,
            Ok(_) = self.orders.reserve(), if self.is_blocked => Some(PrintNews::Room),
        }
    }

    /// Takes it.
    pub fn handle_news(&mut self, news: PrintNews) {
        // A job that waits for its printer has it looked for.
        if matches!(news, PrintNews::Submitted(..) | PrintNews::Found(..) | PrintNews::State(..)) {
            self.handle_use();
        }
        match news {
            PrintNews::Printers(printers) => {
                self.printers = printers;
                self.offer();
            }
            PrintNews::Submitted(job, submitted) => self.jobs.handle_submitted(job, submitted, self.now()),
            PrintNews::Found(job, found) => self.jobs.handle_found(job, found, self.now()),
            PrintNews::State(job, state, reason) => self.jobs.handle_state(job, state, reason),
            PrintNews::Written(written) => {
                let Some((job, step)) = self.writing.take() else { return };
                self.jobs.handle_recorded(job, step, written.is_safe);
                if written.is_long {
                    self.journal.renew(self.jobs.snapshot());
                }
            }
            PrintNews::Room => self.is_blocked = false,
        }
    }

    /// The user did something on the panel.
    pub fn handle_command(&mut self, command: PrintCommand) {
        match command {
            PrintCommand::Offer(key, offered) => {
                if offered {
                    self.refused.remove(&key.to_string());
                } else {
                    self.refused.insert(key.to_string());
                }
                self.offer();
            }
            PrintCommand::Answer(job, printed) => self.jobs.handle_answer(job, printed),
            PrintCommand::Cancel(job) => self.jobs.handle_cancel(job),
        }
    }

    /// This session of the host with this id is to be connected to.
    pub fn handle_target(&mut self, host_id: &str, session: &str) {
        self.receiving = None;
        self.jobs.handle_target(origin(host_id, session));
    }

    /// The host said welcome; `allowed` is whether it uses printing.
    pub fn handle_welcome(&mut self, allowed: bool) {
        self.allowed = allowed;
        self.changed = true;
        self.handle_use();
        if allowed {
            self.jobs.handle_connected();
        }
    }

    /// The connection is gone; `refused`: the host no longer wants this device.
    pub fn handle_lost(&mut self, refused: bool) {
        self.allowed = false;
        self.receiving = None;
        self.changed = true;
        self.jobs.handle_lost(refused);
    }

    /// The host said something about printing.
    pub fn handle_word(&mut self, word: PrintWord) {
        self.handle_use();
        self.jobs.handle_word(word);
    }

    /// A document's stream begins; whether it is wanted.
    pub fn handle_document(&mut self, job: JobId, offset: u32) -> bool {
        let wanted = self.jobs.handle_document(job, offset);
        self.receiving = wanted.then_some(job);
        wanted
    }

    /// Further bytes of it; whether more are wanted.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> bool {
        let Some(job) = self.receiving else { return false };
        let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        // The machine refuses what it does not expect; only then is anything kept.
        let Some(is_whole) = self.jobs.handle_bytes(job, count) else {
            self.receiving = None;
            return false;
        };
        let spool = self.spools.entry(job).or_default();
        if let Err(error) = spool.append(bytes) {
            tracing::error!(%error, %job, "A print job cannot be kept");
            self.jobs.handle_no_room(job);
            self.receiving = None;
            return false;
        }
        if is_whole {
            self.receiving = None;
            let sha256 = spool.sha256();
            if let Some(spool) = self.spools.remove(&job) {
                self.documents.insert(job, spool.into_document());
            }
            let now = self.started.elapsed();
            self.jobs.handle_whole(job, sha256, now, clock());
        }
        true
    }

    /// When to call [`Printing::handle_timeout`].
    pub fn wake_at(&self) -> Option<std::time::Instant> {
        self.jobs.poll_timeout().map(|at| (self.started + at).into_std())
    }

    /// What is due is tried again.
    pub fn handle_timeout(&mut self) {
        self.jobs.handle_timeout(self.now(), clock());
    }

    /// Does what is to be done until there is something for the host, or a record is to be written first.
    pub fn poll_wish(&mut self) -> Option<PrintWish> {
        while self.writing.is_none() {
            let room = match self.orders.try_reserve() {
                Ok(room) => room,
                Err(error) => {
                    self.is_blocked = error == mpsc::error::TrySendError::Full(());
                    return None;
                }
            };
            let order = match self.jobs.poll_action()? {
                ViewerAction::Tell(wish) => return Some(wish),
                ViewerAction::Record { job, step, bytes } => {
                    self.journal.append(None, bytes);
                    self.writing = Some((job, step));
                    continue;
                }
                ViewerAction::Discard(job) => {
                    self.spools.remove(&job);
                    self.documents.remove(&job);
                    continue;
                }
                ViewerAction::Submit(offer) => {
                    let Some(document) = self.documents.get(&offer.job).cloned() else {
                        let now = self.started.elapsed();
                        self.jobs.handle_submitted(offer.job, Submitted::Refused(JobReason::NoRoom), now);
                        continue;
                    };
                    tracing::info!(job = %offer.job, bytes = offer.size, "A print job is handed over");
                    Order::Submit(offer, document)
                }
                ViewerAction::Find { job, printer } => Order::Find(job, printer),
                ViewerAction::Watch(handed) => Order::Watch(handed),
                ViewerAction::Unwatch(job) => Order::Unwatch(job),
                ViewerAction::Cancel(handed) => Order::Cancel(handed),
            };
            room.send(order);
        }
        None
    }

    /// What the panel shows, if it changed since this was asked last.
    pub fn poll_view(&mut self) -> Option<PrintView> {
        let jobs_changed = self.jobs.poll_changed();
        if !std::mem::take(&mut self.changed) && !jobs_changed {
            return None;
        }
        let printers = self.printers.iter().map(|p| (p.clone(), self.is_offered(p))).collect();
        Some(PrintView { printers, jobs: self.ended.with(self.jobs.jobs()), allowed: self.allowed })
    }

    fn offer(&mut self) {
        let offered = self.printers.iter().filter(|p| self.is_offered(p)).cloned().collect();
        self.jobs.handle_printers(offered);
        self.changed = true;
    }

    fn is_offered(&self, printer: &Printer) -> bool {
        !self.refused.contains(&printer.key.to_string())
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Jobs that are at their end and that the host has been told of: nothing is to be done for them, but the user wants to read
/// how they ended.
#[derive(Default)]
struct EndedJobs {
    /// The newest first; at most [`ENDED_MAX`].
    jobs: VecDeque<JobView>,
    /// What was shown last, but for those.
    shown: Vec<JobView>,
}

impl EndedJobs {
    /// These jobs, and behind them those that have ended before.
    fn with(&mut self, jobs: Vec<JobView>) -> Vec<JobView> {
        let is_there = |jobs: &[JobView], old: &JobView| jobs.iter().any(|job| job.job == old.job);
        for old in std::mem::replace(&mut self.shown, jobs.clone()) {
            if matches!(old.progress, Progress::State(state, _) if state.is_end()) && !is_there(&jobs, &old) {
                self.jobs.push_front(old);
            }
        }
        self.jobs.retain(|old| !is_there(&jobs, old));
        self.jobs.truncate(ENDED_MAX);
        jobs.into_iter().chain(self.jobs.iter().cloned()).collect()
    }
}

/// The print thread: finds printers, and does what it is ordered. Ends with its orders.
async fn work(
    sources: Vec<Source>,
    place: [u8; 16],
    is_used: Arc<Notify>,
    mut orders: mpsc::Receiver<Order>,
    news: mpsc::Sender<PrintNews>,
) {
    let mut desk = Desk { printers: Printers::default(), tasks: BTreeMap::new(), news };
    let looking = look(sources, place, is_used, Rc::clone(&desk.printers), desk.news.clone());
    let looking = tokio::task::spawn_local(looking);
    while let Some(order) = orders.recv().await {
        desk.handle(order);
    }
    looking.abort();
}

/// All printers that were ever found in this run; the present ones first.
type Printers = Rc<RefCell<Vec<AnyPrinter>>>;

/// Looks for printers again and again while they may be wanted. Orders do not wait for it: a print system may take its time to
/// answer.
async fn look(
    sources: Vec<Source>,
    place: [u8; 16],
    is_used: Arc<Notify>,
    printers: Printers,
    news: mpsc::Sender<PrintNews>,
) {
    let mut told: Option<Vec<Printer>> = None;
    if sources.is_empty() {
        return;
    }
    let mut finder = Finder::new(sources);
    loop {
        let found = finder.find(&place).await;
        let present: Vec<Printer> = found.iter().map(|p| p.printer().clone()).collect();
        // A printer that is away for a moment is asked after all the same.
        printers.borrow_mut().retain(|old| found.iter().all(|new| new.printer().key != old.printer().key));
        printers.borrow_mut().splice(0..0, found);
        if told.as_ref() != Some(&present) {
            told = Some(present.clone());
            if news.send(PrintNews::Printers(present)).await.is_err() {
                return;
            }
        }
        next_look(&is_used, LOOK).await;
    }
}

/// Waits until printers are worth looking for again, `pause` at least. Idle means idle: no print system is woken for nobody.
async fn next_look(is_used: &Notify, pause: Duration) {
    sleep(pause).await;
    is_used.notified().await;
}

/// What the print thread is doing for a job: each once at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    /// Handing it over, or finding it: never both.
    HandOver(JobId),
    Watch(JobId),
    Cancel(JobId),
}

struct Desk {
    printers: Printers,
    tasks: BTreeMap<Task, tokio::task::AbortHandle>,
    news: mpsc::Sender<PrintNews>,
}

impl Desk {
    fn handle(&mut self, order: Order) {
        self.tasks.retain(|_, task| !task.is_finished());
        let news = self.news.clone();
        match order {
            Order::Submit(offer, document) => {
                let printer = printer(&self.printers, offer.printer);
                self.begin(Task::HandOver(offer.job), async move {
                    let submitted = match &printer {
                        Some(printer) => printer.submit(&offer, document).await,
                        None => Submitted::NotSent,
                    };
                    let _ = news.send(PrintNews::Submitted(offer.job, submitted)).await;
                });
            }
            Order::Find(job, key) => {
                let printer = printer(&self.printers, key);
                self.begin(Task::HandOver(job), async move {
                    let found = match &printer {
                        Some(printer) => printer.find_job(job).await,
                        // Not found yet, or gone: its print system cannot be asked now.
                        None => Found::Away,
                    };
                    let _ = news.send(PrintNews::Found(job, found)).await;
                });
            }
            Order::Watch(handed) => {
                let job = handed.job;
                let watch = watch(Rc::clone(&self.printers), handed, news);
                self.begin(Task::Watch(job), watch);
            }
            Order::Unwatch(job) => {
                if let Some(task) = self.tasks.remove(&Task::Watch(job)) {
                    task.abort();
                }
            }
            // One that is under way says the same as another one would.
            Order::Cancel(handed) if self.tasks.contains_key(&Task::Cancel(handed.job)) => {}
            Order::Cancel(handed) => {
                let printer = printer(&self.printers, handed.printer);
                self.begin(Task::Cancel(handed.job), async move {
                    if let Some(printer) = &printer {
                        printer.cancel(&handed).await;
                    }
                });
            }
        }
    }

    /// Begins what takes its time, in the place of what was done there before.
    fn begin(&mut self, task: Task, work: impl Future<Output = ()> + 'static) {
        let handle = tokio::task::spawn_local(work).abort_handle();
        // A hand-over that its job no longer waits for may still be on its way: that is never ended from here.
        if let Some(before) = self.tasks.insert(task, handle)
            && matches!(task, Task::Watch(_))
        {
            before.abort();
        }
    }
}

fn printer(printers: &Printers, key: PrinterKey) -> Option<AnyPrinter> {
    printers.borrow().iter().find(|p| p.printer().key == key).cloned()
}

/// Tells how a job fares, again and again. Its printer may be found only later: a viewer that was started again asks
/// after its jobs before it has looked for printers.
async fn watch(printers: Printers, handed: HandedJob, news: mpsc::Sender<PrintNews>) {
    let begun = Instant::now();
    loop {
        let (state, reason) = match printer(&printers, handed.printer) {
            Some(printer) => printer.job_state(&handed).await,
            None => (JobState::Stopped, JobReason::NoPrinter),
        };
        if news.send(PrintNews::State(handed.job, state, reason)).await.is_err() {
            return;
        }
        sleep(if begun.elapsed() < YOUNG { ASK[0] } else { ASK[1] }).await;
    }
}

/// The first journal that no other viewer holds, locked.
fn own_journal(state: &Path) -> io::Result<(File, PathBuf)> {
    for number in 1..=JOURNALS_MAX {
        let path = state.join(format!("print-{number}.journal"));
        // Not `append`: Windows would not lock such a file.
        let lock = File::options().create(true).truncate(false).write(true).open(path.with_extension("lock"))?;
        match lock.try_lock() {
            Ok(()) => return Ok((lock, path)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// This device's own id. Without its journal it is another device: nobody knows what that one handed over.
fn place_id(path: &Path, has_journal: bool) -> io::Result<[u8; 16]> {
    if has_journal
        && let Ok(bytes) = fs::read(path)
        && let Ok(id) = bytes.try_into()
    {
        return Ok(id);
    }
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| io::Error::other("no random bytes"))?;
    write_private(path, &id)?;
    Ok(id)
}

/// Takes up what the journal says and writes it anew, short.
fn open_journal(path: &Path) -> io::Result<(ViewerJobs, JournalFile)> {
    let jobs = ViewerJobs::recover(&JournalFile::read(path)?);
    let journal = JournalFile::create(path, &jobs.snapshot())?;
    Ok((jobs, journal))
}

/// What tells jobs of this session from all others.
fn origin(host_id: &str, session: &str) -> Origin {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(host_id.as_bytes());
    context.update(&[0]);
    context.update(session.as_bytes());
    Origin(context.finish().as_ref()[..16].try_into().expect("SHA-256 has 32 bytes"))
}

/// The machine's clock in seconds.
fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::ipp::client::LocalPrinter;
    use crate::proto::wire::print::JobOptions;

    /// A settings' source where nobody listens: it is no printer, but one that could be asked.
    fn nobody() -> std::net::SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port")
    }

    fn in_local_tasks<F: Future>(work: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, work)
    }

    const KEY: PrinterKey = PrinterKey([1; 16]);
    const JOB: JobId = JobId([2; 16]);

    fn handed() -> HandedJob {
        HandedJob { job: JOB, printer: KEY, number: 7, title: None }
    }

    #[test]
    fn how_a_job_ended_is_told_when_nothing_is_left_to_do_for_it() {
        let job = |number, state| JobView {
            job: JobId([number; 16]),
            printer: KEY,
            title: format!("letter {number}"),
            progress: Progress::State(state, JobReason::None),
        };
        let mut ended = EndedJobs::default();
        assert_eq!(ended.with(vec![job(1, JobState::Printing), job(2, JobState::Failed)]).len(), 2);
        // The second is settled; the first was canceled and goes without an end.
        assert_eq!(ended.with(Vec::new()), [job(2, JobState::Failed)]);
        assert_eq!(ended.with(vec![job(3, JobState::Done)]), [job(3, JobState::Done), job(2, JobState::Failed)]);
        assert_eq!(ended.with(Vec::new()), [job(3, JobState::Done), job(2, JobState::Failed)]);
        // One that begins anew stands where it is now.
        assert_eq!(ended.with(vec![job(2, JobState::Queued)]), [job(2, JobState::Queued), job(3, JobState::Done)]);
        for number in 10..99 {
            ended.with(vec![job(number, JobState::Done)]);
        }
        let told = ended.with(Vec::new());
        assert_eq!((told.len(), &told[0]), (ENDED_MAX, &job(98, JobState::Done)));
    }

    #[test]
    fn a_jobs_printer_that_is_found_later_is_asked_after_it() {
        in_local_tasks(async {
            let (told, mut news) = mpsc::channel(4);
            let printers = Printers::default();
            tokio::task::spawn_local(watch(Rc::clone(&printers), handed(), told));
            let next = news.recv().await;
            assert!(matches!(next, Some(PrintNews::State(JOB, JobState::Stopped, JobReason::NoPrinter))), "{next:?}");
            printers.borrow_mut().push(AnyPrinter::Ipp(LocalPrinter::at(KEY, nobody())));
            let next = news.recv().await;
            let asked = PrintNews::State(JOB, JobState::Stopped, JobReason::NoPrintSystem);
            assert_eq!(format!("{next:?}"), format!("{:?}", Some(asked)));
        });
    }

    #[test]
    fn printers_are_looked_for_again_only_while_somebody_uses_the_viewer() {
        in_local_tasks(async {
            let (is_used, pause) = (Notify::new(), Duration::from_millis(1));
            // Nothing but a use ends the wait, so it may be short here.
            let is_due = async || tokio::time::timeout(20 * pause, next_look(&is_used, pause)).await.is_ok();
            assert!(!is_due().await);
            // However often it is used, once is looked.
            (0..1_000).for_each(|_| is_used.notify_one());
            assert!(is_due().await);
            assert!(!is_due().await);
        });
    }

    #[test]
    fn a_host_that_cancels_a_job_again_and_again_is_one_question() {
        in_local_tasks(async {
            let (news, _told) = mpsc::channel(4);
            let mut desk = Desk { printers: Printers::default(), tasks: BTreeMap::new(), news };
            desk.printers.borrow_mut().push(AnyPrinter::Ipp(LocalPrinter::at(KEY, nobody())));
            for _ in 0..1_000 {
                desk.handle(Order::Cancel(handed()));
            }
            assert_eq!(desk.tasks.len(), 1);
            let metrics = tokio::runtime::Handle::current().metrics();
            assert!(metrics.num_alive_tasks() <= 1, "{} tasks", metrics.num_alive_tasks());
        });
    }

    #[test]
    fn a_printer_that_the_user_does_not_offer_is_shown_and_not_offered() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = PrintSettings { sources: Vec::new(), state: Some(dir.path().to_owned()) };
        let other = PrinterKey([9; 16]);
        let mut printing = Printing::start(&settings, &[KEY.to_string()]).expect("a journal");
        printing
            .handle_news(PrintNews::Printers([KEY, other].map(|key| LocalPrinter::at(key, nobody()).printer).into()));
        printing.handle_welcome(true);
        let offered = |printing: &mut Printing| {
            let mut last = None;
            while let Some(wish) = printing.poll_wish() {
                if let PrintWish::Printers(printers) = wish {
                    last = Some(printers.iter().map(|printer| printer.key).collect::<Vec<_>>());
                }
            }
            let view = printing.poll_view().expect("something new");
            assert_eq!(view.printers.len(), 2);
            let ticked = view.printers.iter().filter(|(_, ticked)| *ticked).map(|(printer, _)| printer.key);
            assert_eq!(last.as_deref(), Some(&*ticked.collect::<Vec<_>>()));
            last
        };
        assert_eq!(offered(&mut printing), Some(vec![other]));
        printing.handle_command(PrintCommand::Offer(KEY, true));
        assert_eq!(offered(&mut printing), Some(vec![KEY, other]));
        printing.handle_command(PrintCommand::Offer(other, false));
        printing.handle_command(PrintCommand::Offer(KEY, false));
        assert_eq!(offered(&mut printing), Some(Vec::new()));
    }

    #[test]
    fn full_orders_lose_nothing_and_a_record_comes_before_what_follows_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = PrintSettings { sources: Vec::new(), state: Some(dir.path().to_owned()) };
        let mut printing = Printing::start(&settings, &[]).expect("a journal");
        // A print thread that takes nothing until it is asked to.
        let (orders, mut taken) = mpsc::channel(1);
        printing.orders = orders;
        let printer = LocalPrinter::at(KEY, nobody()).printer;
        printing.handle_news(PrintNews::Printers(vec![printer]));
        printing.handle_welcome(true);
        let jobs = [JobId([3; 16]), JobId([4; 16]), JobId([5; 16])];
        let empty: [u8; 32] = Spool::new().sha256();
        for job in jobs {
            let options = JobOptions::default();
            let mut offer = JobOffer { job, printer: KEY, size: 3, sha256: empty, title: String::new(), options };
            let mut spool = Spool::new();
            spool.append(b"PDF").expect("memory");
            offer.sha256 = spool.sha256();
            printing.handle_word(PrintWord::Offer(offer));
            assert!(printing.handle_document(job, 0) && printing.handle_bytes(b"PDF"));
        }
        in_local_tasks(async {
            let mut submitted = Vec::new();
            while submitted.len() < jobs.len() {
                while printing.poll_wish().is_some() {}
                if let Ok(Order::Submit(offer, _)) = taken.try_recv() {
                    let journal = fs::read(dir.path().join("print-1.journal")).expect("it is there");
                    let is_written = journal.windows(16).any(|bytes| bytes == offer.job.0);
                    assert!(is_written, "handed over before the journal knew");
                    submitted.push(offer.job);
                    continue;
                }
                let news = printing.news().await.expect("the journal's thread tells");
                printing.handle_news(news);
            }
            assert_eq!(submitted, jobs);
        });
    }
}
