//! The viewer's printing: the machine of `proto::print::viewer` meets journal, spool and the thread that knows printers.
//!
//! Lives in the net thread, which never waits for a print system: a thread of its own does ([`work`]).

use crate::io::ipp::client::{self, Document, LocalPrinter, Source, find_printers};
use crate::io::journal::JournalFile;
use crate::io::net::files::private_dir;
use crate::limits::JOBS_MAX;
use crate::proto::print::viewer::{Found, JobView, Submitted, ViewerAction, ViewerJobs};
use crate::proto::wire::print::{JobId, JobOffer, JobReason, JobState, PrintWish, PrintWord, Printer, PrinterKey};
use crate::viewer::spool::Spool;
use std::collections::{BTreeMap, HashMap};
use std::env;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

/// Orders that may wait for the print thread: a few for each job.
const ORDERS_MAX: usize = 8 * JOBS_MAX;
/// How often the machine's printers are looked for.
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
    Find(JobId, PrinterKey, u64),
    Watch(JobId, PrinterKey, i32),
    Unwatch(JobId),
    Cancel(PrinterKey, i32),
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
}

/// All of a viewer's printing.
pub struct Printing {
    jobs: ViewerJobs,
    journal: JournalFile,
    /// Held as long as this viewer prints.
    _lock: File,
    spools: HashMap<JobId, Spool>,
    documents: HashMap<JobId, Document>,
    receiving: Option<JobId>,
    orders: mpsc::Sender<Order>,
    news: mpsc::Receiver<PrintNews>,
    printers: Vec<Printer>,
    refused: Vec<PrinterKey>,
    allowed: bool,
    started: Instant,
    changed: bool,
}

impl Printing {
    /// Takes up what an earlier run left, and begins to look for printers.
    ///
    /// # Errors
    /// What the system says; without a journal a viewer does not print.
    pub fn start(settings: &PrintSettings) -> io::Result<Printing> {
        let state = settings.state.clone().or_else(default_state).ok_or(io::ErrorKind::NotFound)?;
        private_dir(&state)?;
        let (lock, path) = own_journal(&state)?;
        let place = place_id(&path.with_extension("id"), path.exists())?;
        let (jobs, journal) = open_journal(&path)?;
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let (told, news) = mpsc::channel(ORDERS_MAX);
        let sources = settings.sources.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("print".into()).spawn(move || {
            let tasks = tokio::task::LocalSet::new();
            tasks.block_on(&runtime, work(sources, place, taken, told));
        })?;
        Ok(Printing {
            jobs,
            journal,
            _lock: lock,
            spools: HashMap::new(),
            documents: HashMap::new(),
            receiving: None,
            orders,
            news,
            printers: Vec::new(),
            refused: Vec::new(),
            allowed: false,
            started: Instant::now(),
            changed: true,
        })
    }

    /// The next thing from the print thread.
    pub async fn news(&mut self) -> Option<PrintNews> {
        self.news.recv().await
    }

    /// Takes it.
    pub fn handle_news(&mut self, news: PrintNews) {
        match news {
            PrintNews::Printers(printers) => {
                self.printers = printers;
                self.offer();
            }
            PrintNews::Submitted(job, submitted) => self.jobs.handle_submitted(job, submitted, self.now()),
            PrintNews::Found(job, found) => self.jobs.handle_found(job, found, self.now()),
            PrintNews::State(job, state, reason) => self.jobs.handle_state(job, state, reason),
        }
    }

    /// The user did something on the panel.
    pub fn handle_command(&mut self, command: PrintCommand) {
        match command {
            PrintCommand::Offer(key, offered) => {
                self.refused.retain(|k| *k != key);
                if !offered {
                    self.refused.push(key);
                }
                self.offer();
            }
            PrintCommand::Answer(job, printed) => self.jobs.handle_answer(job, printed),
            PrintCommand::Cancel(job) => self.jobs.handle_cancel(job),
        }
    }

    /// The host said welcome; `allowed` is whether it uses printing.
    pub fn handle_welcome(&mut self, allowed: bool) {
        self.allowed = allowed;
        self.changed = true;
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
            self.jobs.handle_whole(job, sha256, clock());
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

    /// Does what is to be done until there is something for the host.
    pub fn poll_wish(&mut self) -> Option<PrintWish> {
        while let Some(action) = self.jobs.poll_action() {
            let order = match action {
                ViewerAction::Tell(wish) => return Some(wish),
                ViewerAction::Record { job, step, bytes } => {
                    let written = self.journal.append(&bytes);
                    if let Err(error) = &written {
                        tracing::error!(%error, "The print journal cannot be written");
                    }
                    self.jobs.handle_recorded(job, step, written.is_ok());
                    self.journal.compact(|| self.jobs.snapshot());
                    continue;
                }
                ViewerAction::Discard(job) => {
                    self.spools.remove(&job);
                    self.documents.remove(&job);
                    continue;
                }
                ViewerAction::Submit(offer) => {
                    let Some(document) = self.documents.get(&offer.job).cloned() else {
                        self.jobs.handle_submitted(offer.job, Submitted::Refused(JobReason::NoRoom), self.now());
                        continue;
                    };
                    tracing::info!(job = %offer.job, bytes = offer.size, "A print job is handed over");
                    Order::Submit(offer, document)
                }
                ViewerAction::Find { job, printer, since } => Order::Find(job, printer, since),
                ViewerAction::Watch { job, printer, number } => Order::Watch(job, printer, number),
                ViewerAction::Unwatch(job) => Order::Unwatch(job),
                ViewerAction::Cancel { printer, number, .. } => Order::Cancel(printer, number),
            };
            if self.orders.try_send(order).is_err() {
                tracing::error!("The print thread takes no orders");
            }
        }
        None
    }

    /// What the panel shows, if it changed since this was asked last.
    pub fn poll_view(&mut self) -> Option<PrintView> {
        let jobs_changed = self.jobs.poll_changed();
        if !std::mem::take(&mut self.changed) && !jobs_changed {
            return None;
        }
        let printers = self.printers.iter().map(|p| (p.clone(), !self.refused.contains(&p.key))).collect();
        Some(PrintView { printers, jobs: self.jobs.jobs(), allowed: self.allowed })
    }

    fn offer(&mut self) {
        let offered = self.printers.iter().filter(|p| !self.refused.contains(&p.key)).cloned().collect();
        self.jobs.handle_printers(offered);
        self.changed = true;
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The print thread: finds printers, and does what it is ordered. Ends with its orders.
async fn work(sources: Vec<Source>, place: [u8; 16], mut orders: mpsc::Receiver<Order>, news: mpsc::Sender<PrintNews>) {
    let mut desk = Desk { printers: Rc::new(Vec::new()), watched: BTreeMap::new(), news };
    let mut look_at = Instant::now();
    let mut told: Option<Vec<Printer>> = None;
    loop {
        if look_at <= Instant::now() && !sources.is_empty() {
            let found = find_printers(&sources, &place).await;
            let printers: Vec<Printer> = found.iter().map(|p| p.printer.clone()).collect();
            // A printer that is away for a moment is asked after all the same.
            let gone = desk.printers.iter().filter(|old| found.iter().all(|new| new.printer.key != old.printer.key));
            let all: Vec<LocalPrinter> = found.iter().chain(gone).cloned().collect();
            desk.printers = Rc::new(all);
            if told.as_ref() != Some(&printers) {
                told = Some(printers.clone());
                if desk.news.send(PrintNews::Printers(printers)).await.is_err() {
                    return;
                }
            }
            look_at = Instant::now() + LOOK;
        }
        let idle = Instant::now() + Duration::from_secs(3600);
        match timeout_at(if sources.is_empty() { idle } else { look_at }, orders.recv()).await {
            Err(_) => {}
            Ok(None) => return,
            Ok(Some(order)) => desk.handle(order),
        }
    }
}

struct Desk {
    /// All that were ever found in this run; the present ones first.
    printers: Rc<Vec<LocalPrinter>>,
    watched: BTreeMap<JobId, tokio::task::AbortHandle>,
    news: mpsc::Sender<PrintNews>,
}

impl Desk {
    fn handle(&mut self, order: Order) {
        let news = self.news.clone();
        match order {
            Order::Submit(offer, document) => {
                let printer = self.printer(offer.printer);
                tokio::task::spawn_local(async move {
                    let submitted = match &printer {
                        Some(printer) => client::submit(printer, &offer, document).await,
                        None => Submitted::NotSent,
                    };
                    let _ = news.send(PrintNews::Submitted(offer.job, submitted)).await;
                });
            }
            Order::Find(job, key, since) => {
                let printer = self.printer(key);
                tokio::task::spawn_local(async move {
                    let found = match &printer {
                        Some(printer) => client::find_job(printer, job, since).await,
                        // Not found yet, or gone: its print system cannot be asked now.
                        None => Found::Away,
                    };
                    let _ = news.send(PrintNews::Found(job, found)).await;
                });
            }
            Order::Watch(job, key, number) => {
                let printers = self.printer(key);
                let task = tokio::task::spawn_local(watch(printers, job, number, news));
                if let Some(before) = self.watched.insert(job, task.abort_handle()) {
                    before.abort();
                }
            }
            Order::Unwatch(job) => {
                if let Some(task) = self.watched.remove(&job) {
                    task.abort();
                }
            }
            Order::Cancel(key, number) => {
                let printer = self.printer(key);
                tokio::task::spawn_local(async move {
                    if let Some(printer) = &printer {
                        client::cancel(printer, number).await;
                    }
                });
            }
        }
    }

    fn printer(&self, key: PrinterKey) -> Option<LocalPrinter> {
        self.printers.iter().find(|p| p.printer.key == key).cloned()
    }
}

async fn watch(printer: Option<LocalPrinter>, job: JobId, number: i32, news: mpsc::Sender<PrintNews>) {
    let begun = Instant::now();
    loop {
        let (state, reason) = match &printer {
            Some(printer) => client::job_state(printer, number).await,
            None => (JobState::Stopped, JobReason::NoPrinter),
        };
        if news.send(PrintNews::State(job, state, reason)).await.is_err() {
            return;
        }
        sleep(if begun.elapsed() < YOUNG { ASK[0] } else { ASK[1] }).await;
    }
}

/// The user's state directory.
fn default_state() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .or_else(|| absolute("LOCALAPPDATA"))
        .map(|base| base.join("kachel"))
}

/// The first journal that no other viewer holds, locked.
fn own_journal(state: &Path) -> io::Result<(File, PathBuf)> {
    for number in 1..=JOURNALS_MAX {
        let path = state.join(format!("print-{number}.journal"));
        let lock = File::options().create(true).append(true).open(path.with_extension("lock"))?;
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
    write_private(path, &id)?.sync_all()?;
    Ok(id)
}

/// Takes up what the journal says and writes it anew, short.
fn open_journal(path: &Path) -> io::Result<(ViewerJobs, JournalFile)> {
    let jobs = ViewerJobs::recover(&JournalFile::read(path)?);
    let journal = JournalFile::create(path, &jobs.snapshot())?;
    Ok((jobs, journal))
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let _ = fs::remove_file(path);
    let mut options = OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// The machine's clock in seconds.
fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
