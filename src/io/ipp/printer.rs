//! The session's own IPP printer: takes jobs from the session's CUPS over a Unix socket, spools them, and tells states.
//!
//! One thread with an event loop of its own; what it may not decide it asks the session's loop ([`Ask`]). Each printer has
//! a path of its own, `/ipp/print/KEY`. Only PDF is taken: CUPS converts the rest. Attributes: `describe`.

mod begun;
mod describe;
mod options;

use super::{Head, HeadError, HeadReader, header, write};
use crate::limits::{DOCUMENTS_BYTES_MAX, JOB_BYTES_MAX};
use crate::proto::print::host::{JobView, Refusal};
use crate::proto::wire::print::{JobId, JobOptions, Printer, PrinterKey};
use aws_lc_rs::digest;
use begun::{Begun, State};
use bytes::Bytes;
use describe::{Times, job_attributes, printer_attributes};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode as Http};
use hyper_util::rt::TokioIo;
use ipp::IppHeader;
use ipp::attribute::{IppAttribute, IppAttributeGroup};
use ipp::model::{DelimiterTag, IppVersion, Operation, StatusCode};
use ipp::request::IppRequestResponse;
use options::{job_id, options, requested};
use std::cell::{Cell, RefCell};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

/// Connections at once: CUPS has one for each of its jobs and some that ask.
const CONNECTIONS_MAX: usize = 128;
/// Jobs that were begun and whose document has not come.
const BEGUN_MAX: usize = 64;
/// A client that sends or takes nothing for this long is gone.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause after a connection that could not be taken, so that a lack of descriptors does not take the processor too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Where a PDF must say that it is one; readers look this far too.
const MAGIC_WITHIN: usize = 1024;
/// Threads that write documents to the disk; while it is slow, further documents wait, and no answer does.
const WRITERS_MAX: usize = 4;
/// Questions that may wait for the session's loop.
pub const ASKS_MAX: usize = 32;

/// A question to the session.
#[derive(Debug)]
pub enum Ask {
    /// What is there?
    Look(oneshot::Sender<View>),
    /// A job is whole: take it, and answer once it is safe.
    Job {
        /// The job.
        job: Box<NewJob>,
        /// Its number then, which is another one if the job was known already.
        answer: oneshot::Sender<Result<u32, Refused>>,
    },
    /// The user no longer wants it.
    Cancel(JobId),
}

/// Why the session does not take a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It may not.
    Rule(Refusal),
    /// It cannot be written down.
    Journal,
    /// Another document has its id.
    Other,
}

/// What the session has.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Printers with a queue.
    pub printers: Vec<Printer>,
    /// All jobs.
    pub jobs: Vec<JobView>,
}

/// A job that has come.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its name on every hop: the same however often CUPS sends this document.
    pub id: JobId,
    /// For which printer.
    pub printer: PrinterKey,
    /// The number that its program was told.
    pub number: u32,
    /// What the user calls it.
    pub title: String,
    /// How to print it.
    pub options: JobOptions,
    /// Where its document was spooled.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u32,
    /// Its SHA-256.
    pub sha256: [u8; 32],
}

/// What a request says of a job: its id if it has one, its title, and how to print it on this printer. All within the
/// wire's bounds.
pub fn read_job(head: &Head, printer: &Printer) -> (Option<JobId>, String, JobOptions) {
    let title = head.text("job-name").or_else(|| head.text("document-name")).filter(|t| !t.is_empty());
    (job_id(head), title.unwrap_or_else(|| "Dokument".into()), options(head, printer))
}

/// Where documents of jobs lie: `DIR/ID.pdf`.
pub fn spool_path(dir: &Path, job: JobId) -> PathBuf {
    dir.join(format!("{job}.pdf"))
}

/// Serves until the session hangs up.
///
/// Connections are taken from `listener` and from processes of these `users` only, documents are spooled in `spool`, numbers
/// begin at `first_number`. `cups_starts` is how often CUPS has been started. `wake` is called after each question.
///
/// # Errors
/// If the thread or its loop cannot be made.
pub fn serve(
    listener: std::os::unix::net::UnixListener,
    users: Vec<u32>,
    spool: PathBuf,
    first_number: u32,
    cups_starts: Arc<AtomicU64>,
    asks: mpsc::Sender<Ask>,
    wake: impl Fn() + Send + 'static,
) -> io::Result<()> {
    let spool = Spool { dir: spool, document_bytes_max: JOB_BYTES_MAX };
    serve_from(listener, users, spool, first_number, cups_starts, asks, wake)
}

fn serve_from(
    listener: std::os::unix::net::UnixListener,
    users: Vec<u32>,
    spool: Spool,
    first_number: u32,
    cups_starts: Arc<AtomicU64>,
    asks: mpsc::Sender<Ask>,
    wake: impl Fn() + Send + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(WRITERS_MAX)
        .thread_name("printer-disk")
        .build()?;
    let work = move || {
        let address = listener.local_addr().ok().and_then(|a| a.as_pathname().map(Path::to_owned)).unwrap_or_default();
        let tasks = tokio::task::LocalSet::new();
        let served = tasks.block_on(&runtime, async move {
            let listener = UnixListener::from_std(listener)?;
            let desk = Rc::new(Desk {
                address: address.to_string_lossy().replace('%', "%25").replace('/', "%2F"),
                spool,
                cups_starts,
                asks,
                wake: Box::new(wake),
                state: RefCell::new(State::new(first_number)),
            });
            accept(&listener, &users, desk).await
        });
        if let Err(error) = served {
            tracing::error!(%error, "The session's printer is gone");
        }
    };
    std::thread::Builder::new().name("printer".into()).spawn(work)?;
    Ok(())
}

async fn accept(listener: &UnixListener, users: &[u32], desk: Rc<Desk>) -> io::Result<()> {
    let places = Rc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Rc::clone(&places);
        tokio::select! {
            () = desk.asks.closed() => return Ok(()),
            accepted = listener.accept() => {
                let stream = match accepted {
                    Ok((stream, _)) => stream,
                    // A client that was gone again, or no descriptor left: neither is the end of printing.
                    Err(error) => {
                        tracing::warn!(%error, "A connection to the session's printer failed");
                        sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                if !is_one_of(&stream, users) {
                    tracing::warn!("A stranger was refused at the session's printer");
                    continue;
                }
                let desk = Rc::clone(&desk);
                let starts = desk.cups_starts.load(Ordering::Relaxed);
                tokio::task::spawn_local(async move {
                    let Ok(_place) = place.acquire().await else { return };
                    let service = service_fn(|request| serve_request(Rc::clone(&desk), starts, request));
                    let mut server = hyper::server::conn::http1::Builder::new();
                    // A client that hangs up in the middle of something is an ordinary thing.
                    let _ = server.keep_alive(true).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        }
    }
}

/// Whether the process at the other end runs as one of these users.
fn is_one_of(stream: &UnixStream, users: &[u32]) -> bool {
    stream.peer_cred().is_ok_and(|peer| users.contains(&peer.uid()))
}

/// What all connections share.
struct Desk {
    /// The socket's path as a host name in a URI.
    address: String,
    spool: Spool,
    cups_starts: Arc<AtomicU64>,
    asks: mpsc::Sender<Ask>,
    wake: Box<dyn Fn()>,
    state: RefCell<State>,
}

/// Where documents that come are put.
struct Spool {
    dir: PathBuf,
    /// The longest that is taken.
    document_bytes_max: u32,
}

/// The file of a document that comes: gone when this is, unless it was given away.
struct Part {
    path: PathBuf,
    is_given: bool,
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_given {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What has come of a document. The disk may take its time over each of these, so they are not for the thread that answers.
struct Document {
    file: File,
    hash: digest::Context,
    part: Part,
}

impl Document {
    /// Only we may read it.
    fn create(path: PathBuf) -> io::Result<Document> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        Ok(Document { file, hash: digest::Context::new(&digest::SHA256), part: Part { path, is_given: false } })
    }

    fn write(mut self, bytes: &[u8]) -> io::Result<Document> {
        self.hash.update(bytes);
        self.file.write_all(bytes)?;
        Ok(self)
    }

    /// Its file and SHA-256, once it is on the disk.
    fn finish(self) -> io::Result<(Part, [u8; 32])> {
        self.file.sync_all()?;
        Ok((self.part, self.hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")))
    }
}

/// Counts one upload of a job's document as long as it lives: hyper drops the answer of a client that hung up.
struct Upload<'a> {
    state: &'a RefCell<State>,
    number: u32,
    /// No other one has it.
    serial: u64,
    /// Bytes of all documents that are coming may be so many.
    room: u64,
    bytes: Cell<u64>,
    is_over: bool,
}

impl<'a> Upload<'a> {
    fn begin(state: &'a RefCell<State>, number: u32, room: u64) -> Upload<'a> {
        let serial = state.borrow_mut().begin_upload(number);
        Upload { state, number, serial, room, bytes: Cell::new(0), is_over: false }
    }

    /// Further bytes are to be kept; whether there is room for them.
    fn grow(&self, bytes: usize) -> bool {
        let mut state = self.state.borrow_mut();
        let has_room = state.coming_bytes + bytes as u64 <= self.room;
        if has_room {
            state.coming_bytes += bytes as u64;
            self.bytes.set(self.bytes.get() + bytes as u64);
        }
        has_room
    }

    /// Whether the job was cancelled meanwhile.
    fn end(mut self) -> bool {
        self.is_over = true;
        self.state.borrow_mut().end_upload(self.number)
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        self.state.borrow_mut().coming_bytes -= self.bytes.get();
        if !self.is_over {
            self.state.borrow_mut().end_upload(self.number);
        }
    }
}

/// An answer: status, and groups of attributes behind the first.
struct Answer {
    status: StatusCode,
    groups: Vec<(DelimiterTag, Vec<IppAttribute>)>,
}

impl From<StatusCode> for Answer {
    fn from(status: StatusCode) -> Answer {
        Answer { status, groups: Vec::new() }
    }
}

/// `starts` is how often CUPS had been started when this connection was made.
async fn serve_request(
    desk: Rc<Desk>,
    starts: u64,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let plain = |status: Http| {
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.status_mut() = status;
        response
    };
    let is_ipp = request.headers().get("content-type").is_some_and(|kind| kind == "application/ipp");
    let key = request.uri().path().strip_prefix("/ipp/print/").and_then(printer_key);
    if request.method() != "POST" || !is_ipp {
        return Ok(plain(Http::METHOD_NOT_ALLOWED));
    }
    let mut body = request.into_body();
    let (mut begin, mut reader) = (Vec::new(), HeadReader::default());
    let head = loop {
        match reader.read(&begin) {
            Ok(Some(head)) => break Ok(head),
            Ok(None) => {}
            Err(error) => break Err(error),
        }
        match next(&mut body).await {
            Ok(Some(data)) => begin.extend_from_slice(&data),
            _ => return Ok(plain(Http::BAD_REQUEST)),
        }
    };
    let (header, answer) = match head {
        Ok(head) => {
            let rest = Bytes::from(begin).slice(head.length..);
            (head.header, desk.answer((key, starts), &head, rest, &mut body).await)
        }
        Err(error) => {
            tracing::warn!(%error, "A print request was refused");
            let Some(header) = header(&begin) else { return Ok(plain(Http::BAD_REQUEST)) };
            let is_long = matches!(error, HeadError::Long);
            let status =
                if is_long { StatusCode::ClientErrorRequestEntityTooLong } else { StatusCode::ClientErrorBadRequest };
            (header, status.into())
        }
    };
    // What is left of a body that nobody wants is read, bounded, so that the answer reaches a client that writes first.
    let mut left = JOB_BYTES_MAX as usize;
    while let Ok(Some(data)) = next(&mut body).await {
        left = left.saturating_sub(data.len());
        if left == 0 {
            break;
        }
    }
    let mut response = Response::new(Full::new(encode(&header, answer)));
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/ipp"));
    Ok(response)
}

/// Further bytes of a body; none when it is over.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, StatusCode> {
    loop {
        match timeout(PATIENCE, body.frame()).await {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            // It hung up in the middle.
            Ok(Some(Err(_))) => return Err(StatusCode::ClientErrorBadRequest),
            Err(_) => return Err(StatusCode::ClientErrorTimeout),
        }
    }
}

fn encode(header: &IppHeader, answer: Answer) -> Bytes {
    let version = if header.version.0 >> 8 == 1 { IppVersion::v1_1() } else { IppVersion::v2_0() };
    let mut response = IppRequestResponse::new_response(version, answer.status, header.request_id)
        .expect("charset and language are short");
    for (tag, attributes) in answer.groups {
        let mut group = IppAttributeGroup::new(tag);
        group.attributes_mut().extend(attributes);
        response.attributes_mut().groups_mut().push(group);
    }
    response.to_bytes()
}

fn printer_key(hex: &str) -> Option<PrinterKey> {
    options::bytes16(hex.split('/').next()?).map(PrinterKey)
}

impl Desk {
    async fn answer(
        &self,
        (key, starts): (Option<PrinterKey>, u64),
        head: &Head,
        rest: Bytes,
        body: &mut Incoming,
    ) -> Answer {
        if let Err(status) = options::check_head(head) {
            return status.into();
        }
        let Some(view) = self.look().await else { return StatusCode::ServerErrorServiceUnavailable.into() };
        let Some(printer) = view.printers.iter().find(|p| Some(p.key) == key) else {
            return StatusCode::ClientErrorNotFound.into();
        };
        use Operation as Op;
        match head.operation() {
            Some(Op::GetPrinterAttributes) => self.printer(&view, printer, head),
            Some(Op::ValidateJob) => match options::check(head, printer) {
                Ok(()) => StatusCode::SuccessfulOk.into(),
                Err(answer) => answer,
            },
            Some(Op::PrintJob) => {
                let begun = match self.begin(printer, head) {
                    Ok(begun) => begun,
                    Err(answer) => return answer,
                };
                self.state.borrow_mut().note(begun.clone());
                self.take(&view, printer, begun, rest, body).await
            }
            Some(Op::CreateJob) => {
                let begun = match self.begin(printer, head) {
                    Ok(begun) => begun,
                    Err(answer) => return answer,
                };
                let answer = self.begun(&begun);
                self.state.borrow_mut().note(begun);
                answer
            }
            Some(Op::SendDocument) => self.send_document(&view, printer, head, rest, body).await,
            Some(Op::CancelJob) => self.cancel(&view, printer, head),
            Some(Op::CancelMyJobs) => {
                self.state.borrow_mut().cancel(printer.key, None);
                for job in view.jobs.iter().filter(|job| job.offer.printer == printer.key) {
                    self.ask(Ask::Cancel(job.offer.job)).await;
                }
                StatusCode::SuccessfulOk.into()
            }
            Some(Op::CloseJob) => match self.job_of(&view, printer, head) {
                Some(job) => self.describe(printer, &job, &[]),
                None => StatusCode::ClientErrorNotFound.into(),
            },
            Some(Op::GetJobAttributes) => match self.job_of(&view, printer, head) {
                Some(job) => {
                    self.state.borrow_mut().note_told(&job, starts);
                    self.describe(printer, &job, &requested(head))
                }
                None => StatusCode::ClientErrorNotFound.into(),
            },
            Some(Op::GetJobs) => self.jobs(&view, printer, head),
            Some(Op::IdentifyPrinter) => StatusCode::SuccessfulOk.into(),
            _ => StatusCode::ServerErrorOperationNotSupported.into(),
        }
    }

    fn uri(&self, printer: &Printer) -> String {
        format!("ipp://{}/ipp/print/{}", self.address, printer.key)
    }

    async fn ask(&self, ask: Ask) -> bool {
        let sent = self.asks.send(ask).await.is_ok();
        (self.wake)();
        sent
    }

    async fn look(&self) -> Option<View> {
        let (answer, view) = oneshot::channel();
        self.ask(Ask::Look(answer)).await;
        let mut view = view.await.ok()?;
        let mut state = self.state.borrow_mut();
        state.expire(Instant::now());
        state.note_cups_starts(self.cups_starts.load(Ordering::Relaxed));
        state.keep(&view.jobs);
        for job in &view.jobs {
            state.times.entry(job.number).or_default().note(job, clock());
        }
        let begun = state.begun.clone();
        let numbers: Vec<u32> = view.jobs.iter().map(|j| j.number).chain(begun.iter().map(|b| b.number)).collect();
        state.times.retain(|number, _| numbers.contains(number));
        view.jobs.sort_by_key(|job| job.number);
        Some(view)
    }

    /// Gives a job its number, the one it has already if it waits for its document.
    fn begin(&self, printer: &Printer, head: &Head) -> Result<Begun, Answer> {
        options::check(head, printer)?;
        let (id, title, options) = read_job(head, printer);
        let id = match id {
            Some(id) => id,
            None => {
                let mut id = [0; 16];
                aws_lc_rs::rand::fill(&mut id).map_err(|_| Answer::from(StatusCode::ServerErrorInternalError))?;
                JobId(id)
            }
        };
        let mut state = self.state.borrow_mut();
        let waiting = state.waiting(id);
        if waiting.is_none() && state.begun.len() >= BEGUN_MAX {
            return Err(StatusCode::ServerErrorBusy.into());
        }
        let number = waiting.unwrap_or_else(|| {
            state.next += 1;
            state.next
        });
        let user = head.text("requesting-user-name").unwrap_or_default();
        state.times.entry(number).or_insert_with(|| Times::begun(clock(), user));
        Ok(Begun {
            number,
            id,
            printer: printer.key,
            title,
            options,
            since: Instant::now(),
            uploads: 0,
            canceled: false,
        })
    }

    fn begun(&self, begun: &Begun) -> Answer {
        let uri = format!("ipp://{}/ipp/print/{}/{}", self.address, begun.printer, begun.number);
        let attributes = vec![
            write::attribute("job-id", ipp::value::IppValue::Integer(begun.number.cast_signed())),
            write::attribute("job-uri", write::uri(&uri)),
            write::attribute("job-state", ipp::value::IppValue::Enum(4)),
            write::attribute("job-state-reasons", write::keyword("job-incoming")),
        ];
        Answer { status: StatusCode::SuccessfulOk, groups: vec![(DelimiterTag::JobAttributes, attributes)] }
    }

    async fn send_document(
        &self,
        view: &View,
        printer: &Printer,
        head: &Head,
        rest: Bytes,
        body: &mut Incoming,
    ) -> Answer {
        let Some(number) = options::job_number(head) else { return StatusCode::ClientErrorBadRequest.into() };
        if head.flag("last-document").is_none() {
            return StatusCode::ClientErrorBadRequest.into();
        }
        let begun = self.state.borrow().begun.iter().find(|b| b.number == number && b.printer == printer.key).cloned();
        let Some(begun) = begun else {
            // It has its document already: a client that did not hear so sends it again.
            return match self.job_of(view, printer, head) {
                Some(job) => self.describe(printer, &job, &[]),
                None => StatusCode::ClientErrorNotFound.into(),
            };
        };
        if let Err(answer) = options::check(head, printer) {
            return answer;
        }
        self.take(view, printer, begun, rest, body).await
    }

    /// Spools a document and gives it to the session.
    async fn take(&self, view: &View, printer: &Printer, begun: Begun, rest: Bytes, body: &mut Incoming) -> Answer {
        let kept =
            view.jobs.iter().filter(|job| !job.state.is_some_and(|s| s.is_end())).map(|j| u64::from(j.offer.size));
        let upload = Upload::begin(&self.state, begun.number, DOCUMENTS_BYTES_MAX.saturating_sub(kept.sum()));
        // A client that hears nothing may send it twice, at the same time.
        let path = self.spool.dir.join(format!("{}-{}.part", begun.id, upload.serial));
        let spooled = self.spool.keep(path, rest, body, &upload).await;
        let spooled = if upload.end() { Err(StatusCode::ClientErrorNotPossible) } else { spooled };
        let (mut part, size, sha256) = match spooled {
            Ok(spooled) => spooled,
            Err(status) => return status.into(),
        };
        let Some(view) = self.look().await else { return StatusCode::ServerErrorServiceUnavailable.into() };
        let Begun { number, title, options, .. } = begun.clone();
        let id = self.state.borrow().document_id(begun.id, sha256, &view.jobs);
        let job = NewJob { id, printer: printer.key, number, title, options, path: part.path.clone(), size, sha256 };
        let (answer, taken) = oneshot::channel();
        // From here on it is the session's, whether or not its client waits for the answer.
        part.is_given = self.ask(Ask::Job { job: Box::new(job), answer }).await;
        match taken.await {
            Ok(Ok(first)) => {
                self.state.borrow_mut().note_again(number, first);
                self.begun(&Begun { number: first, ..begun })
            }
            refused => {
                part.is_given = false;
                match refused {
                    Ok(Err(Refused::Rule(Refusal::Full | Refusal::NoRoom))) => StatusCode::ServerErrorBusy.into(),
                    Ok(Err(Refused::Rule(Refusal::NoPrinter))) => StatusCode::ClientErrorGone.into(),
                    _ => StatusCode::ServerErrorTemporaryError.into(),
                }
            }
        }
    }

    fn cancel(&self, view: &View, printer: &Printer, head: &Head) -> Answer {
        let Some(number) = options::job_number(head) else { return StatusCode::ClientErrorBadRequest.into() };
        let was_begun = self.state.borrow_mut().cancel(printer.key, Some(number));
        let number = self.state.borrow().known_number(number);
        match view.jobs.iter().find(|job| job.number == number && job.offer.printer == printer.key) {
            None if was_begun => StatusCode::SuccessfulOk.into(),
            None => StatusCode::ClientErrorNotFound.into(),
            Some(job) if job.state.is_some_and(|s| s.is_end()) => StatusCode::ClientErrorNotPossible.into(),
            Some(job) => {
                // The loop takes questions as they come; a full channel means that it stands still.
                let sent = self.asks.try_send(Ask::Cancel(job.offer.job));
                (self.wake)();
                sent.map_or(StatusCode::ServerErrorBusy, |()| StatusCode::SuccessfulOk).into()
            }
        }
    }

    fn printer(&self, view: &View, printer: &Printer, head: &Head) -> Answer {
        if let Some(kind) = head.text("document-format")
            && !options::is_format(&kind)
        {
            return StatusCode::ClientErrorDocumentFormatNotSupported.into();
        }
        let all = printer_attributes(printer, &self.uri(printer), view, clock());
        let wanted = requested(head);
        let attributes = all.into_iter().filter(|a| describe::is_wanted(a.name().as_str(), &wanted)).collect();
        Answer { status: StatusCode::SuccessfulOk, groups: vec![(DelimiterTag::PrinterAttributes, attributes)] }
    }

    /// The job that a request is about, begun or known.
    fn job_of(&self, view: &View, printer: &Printer, head: &Head) -> Option<JobView> {
        let number = self.state.borrow().known_number(options::job_number(head)?);
        let known = view.jobs.iter().find(|job| job.number == number && job.offer.printer == printer.key);
        known.cloned().or_else(|| {
            let state = self.state.borrow();
            state.begun.iter().find(|b| b.number == number && b.printer == printer.key).map(describe::incoming)
        })
    }

    fn describe(&self, printer: &Printer, job: &JobView, wanted: &[String]) -> Answer {
        let state = self.state.borrow();
        let times = state.times.get(&job.number).cloned().unwrap_or_default();
        let all = job_attributes(printer, &self.uri(printer), job, &times, clock());
        let attributes = all.into_iter().filter(|a| describe::is_wanted(a.name().as_str(), wanted)).collect();
        Answer { status: StatusCode::SuccessfulOk, groups: vec![(DelimiterTag::JobAttributes, attributes)] }
    }

    fn jobs(&self, view: &View, printer: &Printer, head: &Head) -> Answer {
        let completed = match head.text("which-jobs").as_deref() {
            None | Some("not-completed") => Some(false),
            Some("completed") => Some(true),
            Some("all") => None,
            Some(_) => return StatusCode::ClientErrorAttributesOrValuesNotSupported.into(),
        };
        let limit = head.number("limit").map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(0));
        let mine = head.flag("my-jobs") == Some(true);
        let user = head.text("requesting-user-name").unwrap_or_default();
        let wanted = match requested(head) {
            wanted if wanted.is_empty() => vec!["job-id".to_owned(), "job-uri".to_owned()],
            wanted => wanted,
        };
        let begun: Vec<JobView> = self.state.borrow().begun.iter().map(describe::incoming).collect();
        let is_new = |begun: &&JobView| view.jobs.iter().all(|job| job.number != begun.number);
        let groups = begun
            .iter()
            .filter(is_new)
            .chain(&view.jobs)
            .filter(|job| job.offer.printer == printer.key)
            .filter(|job| completed.is_none_or(|done| job.state.is_some_and(|s| s.is_end()) == done))
            .filter(|job| !mine || self.state.borrow().times.get(&job.number).is_some_and(|t| t.user == user))
            .take(limit)
            .flat_map(|job| self.describe(printer, job, &wanted).groups)
            .collect();
        Answer { status: StatusCode::SuccessfulOk, groups }
    }
}

impl Spool {
    /// Writes a document to this file; length and SHA-256 are returned with it. It is on the disk when this returns.
    async fn keep(
        &self,
        path: PathBuf,
        first: Bytes,
        body: &mut Incoming,
        upload: &Upload<'_>,
    ) -> Result<(Part, u32, [u8; 32]), StatusCode> {
        let mut document = on_disk(move || Document::create(path)).await?;
        let (mut size, mut begin) = (0u64, Vec::new());
        let mut data = Some(first);
        while let Some(bytes) = data {
            size += bytes.len() as u64;
            if size > u64::from(self.document_bytes_max) {
                return Err(StatusCode::ClientErrorRequestEntityTooLong);
            }
            // Others are to be printed first; CUPS sends it again then.
            if !upload.grow(bytes.len()) {
                return Err(StatusCode::ServerErrorBusy);
            }
            if begin.len() < MAGIC_WITHIN {
                begin.extend_from_slice(&bytes[..bytes.len().min(MAGIC_WITHIN)]);
            }
            document = on_disk(move || document.write(&bytes)).await?;
            data = next(body).await?;
        }
        if !begin.windows(5).any(|window| window == b"%PDF-") {
            return Err(StatusCode::ClientErrorDocumentFormatNotSupported);
        }
        let (part, sha256) = on_disk(|| document.finish()).await?;
        Ok((part, size as u32, sha256))
    }
}

/// Does something with the disk on a thread that may wait for it, and waits for the end.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, StatusCode> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.into()));
    done.map_err(|error| {
        tracing::warn!(%error, "A print job cannot be spooled");
        StatusCode::ServerErrorTemporaryError
    })
}

/// The machine's clock in seconds.
fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
    use std::io::Read;
    use std::os::unix::net::{UnixListener, UnixStream};

    const KEY: PrinterKey = PrinterKey([1; 16]);
    /// Longest document in these tests.
    const LIMIT: u32 = 10_000;
    /// Nothing here takes this long, unless it takes for ever.
    const FOR_EVER: Duration = Duration::from_secs(20);

    /// A session's printer whose session takes every job.
    struct Session {
        dir: tempfile::TempDir,
        jobs: std::sync::mpsc::Receiver<NewJob>,
    }

    impl Session {
        fn start(document_bytes_max: u32) -> Session {
            let dir = tempfile::tempdir().expect("a directory");
            let listener = UnixListener::bind(dir.path().join("socket")).expect("a socket");
            let user = rustix::process::getuid().as_raw();
            let spool = Spool { dir: dir.path().join("spool"), document_bytes_max };
            fs::create_dir(&spool.dir).expect("ours");
            let (asks, mut asked) = mpsc::channel(ASKS_MAX);
            serve_from(listener, vec![user], spool, 0, Arc::default(), asks, || {}).expect("a thread");
            let (tell, jobs) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                while let Some(ask) = asked.blocking_recv() {
                    match ask {
                        Ask::Look(answer) => {
                            let printers = vec![printer()];
                            let _ = answer.send(View { printers, jobs: Vec::new() });
                        }
                        Ask::Job { job, answer } => {
                            let _ = answer.send(Ok(job.number));
                            let _ = tell.send(*job);
                        }
                        Ask::Cancel(_) => {}
                    }
                }
            });
            Session { dir, jobs }
        }

        fn socket(&self) -> PathBuf {
            self.dir.path().join("socket")
        }

        /// The file of the first document that comes for this job.
        fn part(&self, job: JobId) -> PathBuf {
            self.dir.path().join("spool").join(format!("{job}-1.part"))
        }

        fn spooled(&self) -> usize {
            fs::read_dir(self.dir.path().join("spool")).expect("ours").count()
        }

        /// Status of the answer to a request.
        fn status(&self, operation: Operation, document: &[u8]) -> StatusCode {
            status_of(&answer_to(&self.socket(), &[&request(operation)[..], document].concat()).1)
        }
    }

    fn printer() -> Printer {
        Printer { is_default: true, ..Printer::plain(KEY, "Laser") }
    }

    const JOB: JobId = JobId([5; 16]);

    fn request(operation: Operation) -> Bytes {
        let uri = format!("ipp://x/ipp/print/{KEY}").parse().expect("a URI");
        let mut request = IppRequestResponse::new(IppVersion::v2_0(), operation, Some(uri)).expect("it is short");
        let uuid = write::attribute("job-uuid", write::uri(&format!("urn:uuid:{JOB}")));
        request.attributes_mut().add(DelimiterTag::OperationAttributes, uuid);
        request.to_bytes()
    }

    /// A PDF, as far as anybody looks here.
    fn document(bytes: u32) -> Vec<u8> {
        let mut document = b"%PDF-1.7".to_vec();
        document.resize(bytes as usize, b'x');
        document
    }

    fn status_of(answer: &[u8]) -> StatusCode {
        StatusCode::try_from(u16::from_be_bytes([answer[2], answer[3]]).cast_signed()).expect("a status")
    }

    /// HTTP's status line and the body of the answer to a request with this head.
    fn answer_to(socket: &Path, head: &[u8]) -> (String, Vec<u8>) {
        answer_on(&mut begin(socket, head, head.len()))
    }

    /// Sends a request of so many bytes, the first of them.
    fn begin(socket: &Path, first: &[u8], length: usize) -> UnixStream {
        let mut stream = UnixStream::connect(socket).expect("a connection");
        stream.set_read_timeout(Some(FOR_EVER)).expect("a socket");
        let http = format!(
            "POST /ipp/print/{KEY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/ipp\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        stream.write_all(&[http.as_bytes(), first].concat()).expect("a request");
        stream
    }

    fn answer_on(stream: &mut UnixStream) -> (String, Vec<u8>) {
        // No shutdown here: hyper may see it before the answer is made, and takes it for a client that has left.
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let body = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head of HTTP") + 4;
        let status = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
        (status, answer[body..].to_vec())
    }

    #[test]
    fn malformed_requests_are_called_bad_and_the_next_is_served() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let user = rustix::process::getuid().as_raw();
        let (asks, _session) = mpsc::channel(ASKS_MAX);
        serve(listener, vec![user], dir.path().to_owned(), 1, Arc::default(), asks, || {}).expect("a thread");
        let request = |tag: u8, value: &[u8]| {
            let length = (value.len() as u16).to_be_bytes();
            [&[2, 0, 0, 0x0b, 0, 0, 0, 77, 1, tag, 0, 1, b'x'][..], &length, value, &[3]].concat()
        };
        let bad = [2, 0, 0x04, 0x00, 0, 0, 0, 77];
        // An integer of three bytes, a text that ends beyond its value, a collection that stays open; then a sound request
        // that does not say its charset.
        for (tag, value) in [(0x21, &b"abc"[..]), (0x35, b"\x00\x10de"), (0x34, b""), (0x44, b"word")] {
            let (status, body) = answer_to(&socket, &request(tag, value));
            assert_eq!(status, "HTTP/1.1 200 OK", "{tag:#x}");
            assert_eq!(body[..8], bad, "{tag:#x}");
        }
    }

    #[test]
    fn a_document_above_the_limit_is_refused_and_nothing_of_it_stays() {
        let session = Session::start(LIMIT);
        assert_eq!(session.status(Operation::PrintJob, &document(LIMIT)), StatusCode::SuccessfulOk);
        let job = session.jobs.recv_timeout(FOR_EVER).expect("the job");
        assert_eq!((job.size, fs::read(&job.path).expect("it is there")), (LIMIT, document(LIMIT)));
        fs::remove_file(&job.path).expect("it is ours now");
        for bytes in [LIMIT + 1, 50 * LIMIT] {
            let status = session.status(Operation::PrintJob, &document(bytes));
            assert_eq!(status, StatusCode::ClientErrorRequestEntityTooLong, "{bytes} bytes");
            assert_eq!((session.spooled(), session.jobs.try_recv().is_ok()), (0, false), "{bytes} bytes");
        }
    }

    #[test]
    fn nothing_stays_of_a_document_whose_client_hangs_up() {
        let session = Session::start(LIMIT);
        let first = [&request(Operation::PrintJob)[..], &document(LIMIT / 2)].concat();
        let stream = begin(&session.socket(), &first, first.len() + 1_000);
        let until = Instant::now() + FOR_EVER;
        let is_asked = || {
            assert!(Instant::now() < until, "{} files", session.spooled());
            session.status(Operation::GetPrinterAttributes, b"") == StatusCode::SuccessfulOk
        };
        while is_asked() && session.spooled() == 0 {}
        drop(stream);
        while is_asked() && session.spooled() > 0 {}
        assert!(session.jobs.try_recv().is_err());
    }

    #[test]
    fn others_are_answered_while_the_disk_takes_its_time_and_a_job_is_taken_once_the_disk_has_it() {
        let session = Session::start(JOB_BYTES_MAX);
        // A disk that takes nothing after the first page: a pipe that is as short. What it has taken is never safe.
        let part = session.part(JOB);
        mknodat(CWD, &part, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
        let disk = open(&part, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).expect("a pipe");
        rustix::pipe::fcntl_setpipe_size(&disk, 4_096).expect("a pipe");
        let whole = [&request(Operation::PrintJob)[..], &document(100 * LIMIT)].concat();
        let socket = session.socket();
        let client = std::thread::spawn(move || answer_on(&mut begin(&socket, &whole, whole.len())).1);
        let mut ready = [PollFd::new(&disk, PollFlags::IN)];
        poll(&mut ready, None).expect("a pipe");
        // The first piece is longer than the pipe, so whoever writes waits now.
        assert_eq!(session.status(Operation::GetPrinterAttributes, b""), StatusCode::SuccessfulOk);
        assert!(!client.is_finished() && session.jobs.try_recv().is_err(), "it is not on the disk");
        rustix::io::ioctl_fionbio(&disk, false).expect("a pipe");
        let mut taken = Vec::new();
        File::from(disk).read_to_end(&mut taken).expect("a pipe");
        assert!(taken == document(100 * LIMIT));
        // A pipe refuses to be synced.
        assert_eq!(status_of(&client.join().expect("an answer")), StatusCode::ServerErrorTemporaryError);
        assert_eq!((session.spooled(), session.jobs.try_recv().is_ok()), (0, false));
    }
}
