//! The viewer's way to the print system of its machine: CUPS, or a printer that speaks IPP itself.
//!
//! Printers are found with what they can, jobs are handed over, watched and cancelled. Nothing is repeated here: what a
//! failure means for a job decides `proto::print::viewer`, so each failure says whether the print system may have it.

mod describe;

use super::write::{attribute, collection, keyword, keywords, mime, name, several, uri};
use super::{HEAD_BYTES_MAX, Head, head};
use crate::proto::print::media::Paper;
use crate::proto::print::viewer::{Found, HandedJob, Submitted};
use crate::proto::wire::print::{ColorMode, JobId, JobOffer, JobReason, JobState, Printer, PrinterKey, Sides};
use aws_lc_rs::digest;
use bytes::Bytes;
use describe::{answered_state, printers_of};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use ipp::attribute::IppAttribute;
use ipp::model::{DelimiterTag, IppVersion, Operation};
use ipp::request::IppRequestResponse;
use ipp::value::IppValue;
use std::env;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A print system answers its socket within this.
const CONNECT: Duration = Duration::from_secs(5);
/// A question is answered within this.
const ANSWER: Duration = Duration::from_secs(30);
/// A document is taken within this: half a gigabyte over a slow USB cable.
const HAND_OVER: Duration = Duration::from_secs(1_800);
/// Longest name that a job gets: there are printers that cut longer ones, and the id is at its end.
const JOB_NAME_BYTES_MAX: usize = 127;
/// A name that was cut has so many bytes at least.
const CUT_NAME_BYTES_MIN: usize = 31;
/// Bytes of a document read at a time.
const PIECE: usize = 64 << 10;
/// The port of IPP.
const PORT: u16 = 631;

/// Why a print system did not answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The address is none.
    #[error("{0} is no address of a printer: ipp://HOST[:PORT]/PATH or the name of a queue")]
    Address(String),
    /// It cannot be reached; nothing was sent.
    #[error("{address} cannot be reached")]
    Unreachable {
        /// Where.
        address: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or the answer is none.
    #[error("{address} did not answer: {detail}")]
    Broken {
        /// Where.
        address: String,
        /// What happened.
        detail: String,
    },
}

/// A document that is to be handed over.
#[derive(Clone, Debug)]
pub enum Document {
    /// In memory.
    Memory(Arc<Vec<u8>>),
    /// In a file that has no name any more.
    File(Arc<File>, u32),
}

/// A document on its way to a print system.
#[derive(Debug)]
pub struct DocumentReader {
    document: Document,
    offset: u64,
}

/// Where printers are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The machine's own print system.
    System,
    /// One queue of it.
    Queue(String),
    /// A printer, or a queue of another print system.
    Uri(String),
}

/// A printer and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPrinter {
    /// As it is offered.
    pub printer: Printer,
    address: Address,
    uri: String,
    path: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    #[cfg_attr(not(unix), allow(dead_code, reason = "there are no such sockets there"))]
    Unix(PathBuf),
    Tcp(String, u16),
}

impl Document {
    /// Reads it from its beginning.
    pub fn into_reader(self) -> DocumentReader {
        DocumentReader { document: self, offset: 0 }
    }

    fn size(&self) -> u64 {
        match self {
            Document::Memory(bytes) => bytes.len() as u64,
            Document::File(_, size) => u64::from(*size),
        }
    }
}

impl DocumentReader {
    /// Bytes that are still to be read.
    fn left(&self) -> u64 {
        self.document.size() - self.offset
    }
}

impl Read for DocumentReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let room = into.len().min(usize::try_from(self.left()).unwrap_or(usize::MAX));
        let count = match &self.document {
            Document::Memory(bytes) => (&bytes[self.offset as usize..]).read(&mut into[..room])?,
            Document::File(file, _) => {
                let mut file: &File = file;
                file.seek(SeekFrom::Start(self.offset))?;
                file.read(&mut into[..room])?
            }
        };
        self.offset += count as u64;
        Ok(count)
    }
}

impl Source {
    /// Reads what a user says: a URI, or the name of a queue.
    pub fn parse(text: &str) -> Source {
        if text.contains("://") { Source::Uri(text.to_owned()) } else { Source::Queue(text.to_owned()) }
    }
}

/// Finds the printers of a source. `place` is this device's own id, from which the printers' keys are made.
///
/// A source that does not answer has none.
pub async fn find_printers(source: &Source, place: &[u8; 16]) -> Vec<LocalPrinter> {
    let printers = match source {
        Source::Uri(uri) => printer_at(uri, place).await.map(|printer| vec![printer]),
        Source::System => system_printers(place).await,
        Source::Queue(name) => {
            let is_it = |p: &LocalPrinter| p.path.rsplit('/').next() == Some(name.as_str());
            system_printers(place).await.map(|all| all.into_iter().filter(is_it).collect())
        }
    };
    printers.unwrap_or_else(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::debug!(%error, cause, ?source, "No printers");
        Vec::new()
    })
}

/// The printers in a print system's answer, with what they can, all within the wire's bounds. `place` as in
/// [`find_printers`].
pub fn read_printers(answer: &Head, place: &[u8; 16]) -> Vec<Printer> {
    let of = |queue: &str| Some((Address::Tcp(String::new(), PORT), queue.to_owned(), String::new()));
    printers_of(answer, place, of).into_iter().map(|found| found.printer).collect()
}

/// Hands a job over.
pub async fn submit(printer: &LocalPrinter, offer: &JobOffer, document: Document) -> Submitted {
    let mut request = printer.request(Operation::PrintJob);
    let mut operation = |word: &str, value: IppValue| {
        request.attributes_mut().add(DelimiterTag::OperationAttributes, attribute(word, value));
    };
    operation("requesting-user-name", name(&user()));
    operation("job-name", name(&job_name(&offer.title, offer.job)));
    operation("document-format", mime("application/pdf"));
    operation("ipp-attribute-fidelity", IppValue::Boolean(false));
    for option in options(offer) {
        request.attributes_mut().add(DelimiterTag::JobAttributes, option);
    }
    match exchange(&printer.address, &printer.path, request.to_bytes(), Some(document), HAND_OVER).await {
        Err(ClientError::Unreachable { .. } | ClientError::Address(_)) => Submitted::NotSent,
        Err(error) => {
            tracing::warn!(%error, job = %offer.job, "A hand-over's outcome is not known");
            Submitted::Uncertain
        }
        Ok(answer) => match (answer.header.operation_or_status, answer.number("job-id")) {
            (0..=0xff, Some(number)) => Submitted::Taken(number),
            (0..=0xff, None) => Submitted::Uncertain,
            // Busy, or not just now: it has nothing of it.
            (0x0505 | 0x0507, _) => Submitted::NotSent,
            (status, _) => {
                tracing::warn!(status, job = %offer.job, "The print system refused a job");
                Submitted::Refused(JobReason::Refused)
            }
        },
    }
}

/// Looks for a job whose name carries the id.
pub async fn find_job(printer: &LocalPrinter, job: JobId) -> Found {
    let wanted = job.to_string();
    // CUPS 2.4 does not count what it had printed before it was started again among the completed. Not all know `all`.
    for which in ["not-completed", "completed", "all"] {
        let request = printer.jobs_request(which);
        let Ok(answer) = exchange(&printer.address, &printer.path, request.to_bytes(), None, ANSWER).await else {
            return Found::Away;
        };
        if !answer.is_success() && which != "all" {
            return Found::Away;
        }
        for group in answer.attributes.groups_of(DelimiterTag::JobAttributes) {
            let text = group.get("job-name").and_then(|a| super::text_of(a.value())).unwrap_or_default();
            let number = group.get("job-id").and_then(|a| super::number_of(a.value()));
            if let (true, Some(number)) = (text.contains(&wanted), number) {
                return Found::Job(number);
            }
        }
    }
    Found::Nothing
}

/// How a job fares; [`JobState::Unknown`] when the print system does not know it any more.
pub async fn job_state(printer: &LocalPrinter, handed: &HandedJob) -> (JobState, JobReason) {
    let request = printer.job_request(handed.number);
    let job = match exchange(&printer.address, &printer.path, request.to_bytes(), None, ANSWER).await {
        Ok(answer) => answer,
        Err(_) => return (JobState::Stopped, JobReason::NoPrintSystem),
    };
    if job.header.operation_or_status == 0x0406 || !is_named(&job, handed) {
        return (JobState::Unknown, JobReason::None);
    }
    let reasons = match attributes(printer, &["printer-state-reasons", "printer-state"]).await {
        Ok(answer) => answer.texts("printer-state-reasons"),
        Err(_) => Vec::new(),
    };
    answered_state(&job, &reasons)
}

/// Cancels a job. Whether that came in time says its state.
pub async fn cancel(printer: &LocalPrinter, handed: &HandedJob) {
    let asked = printer.job_request(handed.number).to_bytes();
    match exchange(&printer.address, &printer.path, asked, None, ANSWER).await {
        Ok(job) if is_named(&job, handed) => {}
        Ok(_) => return tracing::warn!(job = %handed.job, "Another job has its number: that one is not cancelled"),
        Err(error) => return tracing::warn!(%error, "A job was not cancelled"),
    }
    let mut request = printer.request(Operation::CancelJob);
    for (word, value) in [("job-id", IppValue::Integer(handed.number)), ("requesting-user-name", name(&user()))] {
        request.attributes_mut().add(DelimiterTag::OperationAttributes, attribute(word, value));
    }
    if let Err(error) = exchange(&printer.address, &printer.path, request.to_bytes(), None, ANSWER).await {
        tracing::warn!(%error, "A job was not cancelled");
    }
}

impl LocalPrinter {
    /// One of this key at an address, whoever listens there.
    #[cfg(test)]
    pub(crate) fn at(key: PrinterKey, address: std::net::SocketAddr) -> LocalPrinter {
        let printer = Printer { is_default: true, ..Printer::plain(key, "printer") };
        let (uri, path) = (format!("ipp://{address}/ipp/print"), "/ipp/print".to_owned());
        LocalPrinter { printer, address: Address::Tcp(address.ip().to_string(), address.port()), uri, path }
    }

    fn request(&self, operation: Operation) -> IppRequestResponse {
        request(operation, Some(&self.uri))
    }

    /// Asks for jobs with their names, as the user who hands them over: from anybody else CUPS keeps the names.
    fn jobs_request(&self, which: &str) -> IppRequestResponse {
        let mut request = self.request(Operation::GetJobs);
        for (word, value) in [
            ("requesting-user-name", name(&user())),
            ("which-jobs", keyword(which)),
            // CUPS 2.4 has forgotten the names of jobs that have ended, unless it is asked for what it must read on its disk.
            ("requested-attributes", keywords(["job-id", "job-name", "job-uuid"])),
        ] {
            request.attributes_mut().add(DelimiterTag::OperationAttributes, attribute(word, value));
        }
        request
    }

    /// Asks for a job, as the user who handed it over.
    fn job_request(&self, number: i32) -> IppRequestResponse {
        let mut request = self.request(Operation::GetJobAttributes);
        for (word, value) in [("job-id", IppValue::Integer(number)), ("requesting-user-name", name(&user()))] {
            request.attributes_mut().add(DelimiterTag::OperationAttributes, attribute(word, value));
        }
        request
    }
}

/// The name that a job has at the print system: its title, and its id to be found by.
fn job_name(title: &str, job: JobId) -> String {
    let mut title = title.to_owned();
    while title.len() + 35 > JOB_NAME_BYTES_MAX {
        title.pop();
    }
    format!("{title} ({job})")
}

/// Whether what a print system tells of a job under this number is about the one that was handed over. A print system that
/// tells no names is believed.
fn is_named(answer: &Head, handed: &HandedJob) -> bool {
    let found = answer.text("job-name").unwrap_or_default();
    // Somebody else may print what has the same title, and is not taken for it.
    let is_cut = |title: &String| {
        let found = found.trim_end_matches(char::REPLACEMENT_CHARACTER);
        found.len() >= CUT_NAME_BYTES_MIN && found != title && job_name(title, handed.job).starts_with(found)
    };
    found.is_empty() || found.contains(&handed.job.to_string()) || handed.title.as_ref().is_some_and(is_cut)
}

fn options(offer: &JobOffer) -> Vec<IppAttribute> {
    let o = &offer.options;
    let number = |n: u32| IppValue::Integer(i32::try_from(n).unwrap_or(i32::MAX));
    let mut all = vec![attribute("copies", number(o.copies))];
    let sides = match o.sides {
        Sides::Default => None,
        Sides::One => Some("one-sided"),
        Sides::LongEdge => Some("two-sided-long-edge"),
        Sides::ShortEdge => Some("two-sided-short-edge"),
    };
    all.extend(sides.map(|word| attribute("sides", keyword(word))));
    let color = match o.color {
        ColorMode::Default => None,
        ColorMode::Color => Some("color"),
        ColorMode::Monochrome => Some("monochrome"),
    };
    all.extend(color.map(|word| attribute("print-color-mode", keyword(word))));
    match (o.media.as_str(), o.source.as_str()) {
        ("", "") => {}
        (media, "") => all.push(attribute("media", keyword(media))),
        (media, source) => {
            let mut members = vec![("media-source", keyword(source))];
            // By its sides: CUPS reads no name here, and not all printers do.
            if let Some(paper) = Paper::parse(media) {
                let sides = vec![("x-dimension", number(paper.width)), ("y-dimension", number(paper.height))];
                members.push(("media-size", collection(sides)));
            }
            all.push(attribute("media-col", collection(members)));
        }
    }
    if o.number_up > 1 {
        all.push(attribute("number-up", number(o.number_up)));
    }
    if !o.pages.is_empty() {
        let range =
            |(min, max): &(u32, u32)| IppValue::RangeOfInteger { min: min.cast_signed(), max: max.cast_signed() };
        all.push(attribute("page-ranges", several(o.pages.iter().map(range).collect())));
    }
    all
}

async fn attributes(printer: &LocalPrinter, wanted: &[&str]) -> Result<Head, ClientError> {
    let mut request = printer.request(Operation::GetPrinterAttributes);
    let words = attribute("requested-attributes", keywords(wanted.iter().copied()));
    request.attributes_mut().add(DelimiterTag::OperationAttributes, words);
    exchange(&printer.address, &printer.path, request.to_bytes(), None, ANSWER).await
}

async fn printer_at(text: &str, place: &[u8; 16]) -> Result<LocalPrinter, ClientError> {
    let (address, path) = parse_uri(text).ok_or_else(|| ClientError::Address(text.to_owned()))?;
    let mut request = request(Operation::GetPrinterAttributes, Some(text));
    let words = attribute("requested-attributes", keywords(describe::WANTED));
    request.attributes_mut().add(DelimiterTag::OperationAttributes, words);
    let answer = exchange(&address, &path, request.to_bytes(), None, ANSWER).await?;
    let of = |_: &str| Some((address.clone(), text.to_owned(), path.clone()));
    printers_of(&answer, place, of).into_iter().next().ok_or_else(|| ClientError::Broken {
        address: text.to_owned(),
        detail: "it says nothing about a printer".into(),
    })
}

async fn system_printers(place: &[u8; 16]) -> Result<Vec<LocalPrinter>, ClientError> {
    let address = system_address();
    let mut request = request(Operation::CupsGetPrinters, None);
    let words = attribute("requested-attributes", keywords(describe::WANTED));
    request.attributes_mut().add(DelimiterTag::OperationAttributes, words);
    let answer = exchange(&address, "/", request.to_bytes(), None, ANSWER).await?;
    let of = |queue: &str| {
        let path = format!("/printers/{queue}");
        Some((address.clone(), format!("ipp://localhost{path}"), path))
    };
    Ok(printers_of(&answer, place, of))
}

/// Where the machine's CUPS listens, as its own programs find it.
fn system_address() -> Address {
    let tcp = |text: &str| {
        let (host, port) = text.rsplit_once(':').map_or((text, PORT), |(h, p)| (h, p.parse().unwrap_or(PORT)));
        Address::Tcp(host.to_owned(), port)
    };
    match env::var("CUPS_SERVER") {
        Ok(path) if path.starts_with('/') => Address::Unix(path.into()),
        Ok(server) if !server.is_empty() => tcp(&server),
        _ => match ["/run/cups/cups.sock", "/var/run/cupsd", "/private/var/run/cupsd"]
            .iter()
            .find(|path| std::path::Path::new(path).exists())
        {
            Some(path) if cfg!(unix) => Address::Unix(path.into()),
            _ => tcp("localhost"),
        },
    }
}

fn parse_uri(text: &str) -> Option<(Address, String)> {
    let rest = text.strip_prefix("ipp://").or_else(|| text.strip_prefix("http://"))?;
    let (authority, path) = rest.split_once('/').map_or((rest, String::new()), |(a, p)| (a, format!("/{p}")));
    let plain = |c: char| c.is_ascii_graphic() && !"@\\\"<>".contains(c);
    if authority.is_empty() || !rest.chars().all(plain) {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (authority, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((Address::Tcp(host.to_owned(), port), path))
}

fn request(operation: Operation, printer: Option<&str>) -> IppRequestResponse {
    let mut request =
        IppRequestResponse::new(IppVersion::v2_0(), operation, None).expect("charset and language are short");
    if let Some(printer) = printer {
        request.attributes_mut().add(DelimiterTag::OperationAttributes, attribute("printer-uri", uri(printer)));
    }
    request
}

fn user() -> String {
    env::var("USER").or_else(|_| env::var("USERNAME")).unwrap_or_else(|_| "kachel".into())
}

/// This device's key of a printer.
fn printer_key(place: &[u8; 16], uri: &str) -> PrinterKey {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(place);
    hash.update(uri.as_bytes());
    PrinterKey(hash.finish().as_ref()[..16].try_into().expect("SHA-256 has 32 bytes"))
}

/// One request and its answer's head.
async fn exchange(
    address: &Address,
    path: &str,
    begin: Bytes,
    document: Option<Document>,
    limit: Duration,
) -> Result<Head, ClientError> {
    let shown = match address {
        Address::Unix(path) => path.display().to_string(),
        Address::Tcp(host, port) => format!("{host}:{port}"),
    };
    let unreachable = |source| ClientError::Unreachable { address: shown.clone(), source };
    let broken = |detail: String| ClientError::Broken { address: shown.clone(), detail };
    match address {
        #[cfg(unix)]
        Address::Unix(path_of_socket) => {
            let connecting = timeout(CONNECT, tokio::net::UnixStream::connect(path_of_socket)).await;
            let stream = connecting.map_err(|late| unreachable(late.into()))?.map_err(unreachable)?;
            let talk = talk(stream, "localhost", path, begin, document);
            timeout(limit, talk).await.map_err(|_| broken("it took too long".into()))?.map_err(broken)
        }
        #[cfg(not(unix))]
        Address::Unix(_) => Err(unreachable(io::ErrorKind::Unsupported.into())),
        Address::Tcp(host, port) => {
            let connecting = timeout(CONNECT, TcpStream::connect((host.as_str(), *port))).await;
            let stream = connecting.map_err(|late| unreachable(late.into()))?.map_err(unreachable)?;
            let talk = talk(stream, &shown, path, begin, document);
            timeout(limit, talk).await.map_err(|_| broken("it took too long".into()))?.map_err(broken)
        }
    }
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    path: &str,
    begin: Bytes,
    document: Option<Document>,
) -> Result<Head, String> {
    let failed = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(if path.is_empty() { "/" } else { path })
        .header("host", host)
        .header("content-type", "application/ipp")
        .header("connection", "close")
        .body(Outgoing::new(begin, document))
        .map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(format!("HTTP status {}", response.status().as_u16()));
        }
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(failed)?.into_data() {
                bytes.extend_from_slice(&data);
            }
            if bytes.len() > HEAD_BYTES_MAX {
                return Err("its answer is too long".to_owned());
            }
        }
        match head(&bytes) {
            Ok(Some(head)) => Ok(head),
            Ok(None) => Err("its answer is cut off".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    };
    // The connection works while the answer is waited for; it ends with it.
    let mut answer = std::pin::pin!(answer);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error.to_string()),
        },
    }
}

/// A request's body: the head, then the document piece by piece.
struct Outgoing {
    begin: Option<Bytes>,
    document: Option<DocumentReader>,
    length: u64,
}

impl Outgoing {
    fn new(begin: Bytes, document: Option<Document>) -> Outgoing {
        let size = document.as_ref().map_or(0, Document::size);
        let length = begin.len() as u64 + size;
        Outgoing { begin: Some(begin), document: document.map(Document::into_reader), length }
    }

    fn piece(&mut self) -> io::Result<Option<Bytes>> {
        let Some(document) = &mut self.document else { return Ok(None) };
        let mut piece = vec![0; PIECE.min(document.left() as usize)];
        document.read_exact(&mut piece)?;
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(begin) = self.begin.take() {
            return Poll::Ready(Some(Ok(Frame::data(begin))));
        }
        Poll::Ready(self.piece().transpose().map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipp::model::StatusCode;

    #[test]
    fn addresses_of_printers_are_read_and_nothing_else() {
        let tcp = |host: &str, port, path: &str| Some((Address::Tcp(host.into(), port), path.to_owned()));
        assert_eq!(parse_uri("ipp://printer.local/ipp/print"), tcp("printer.local", 631, "/ipp/print"));
        assert_eq!(parse_uri("ipp://localhost:8631/ipp/print"), tcp("localhost", 8631, "/ipp/print"));
        assert_eq!(parse_uri("ipp://[::1]:99"), tcp("::1", 99, ""));
        for bad in ["ipp://", "ipp:///x", "file:///etc/passwd", "ipp://a b/", "ipp://a:b/", "ipp://u@h/", "ipps://h/"] {
            assert_eq!(parse_uri(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_jobs_name_carries_its_id_whatever_its_title() {
        let name = job_name(&"ä".repeat(200), JobId([0xab; 16]));
        assert!(name.len() <= JOB_NAME_BYTES_MAX && name.contains(&JobId([0xab; 16]).to_string()));
    }

    #[test]
    fn a_job_is_told_from_others_by_its_name_also_where_that_is_cut() {
        let title = "Bescheid über die Straßenreinigung".to_owned();
        let answered = |found: &str, title: &Option<String>| {
            let mut answer =
                IppRequestResponse::new_response(IppVersion::v2_0(), StatusCode::SuccessfulOk, 1).expect("ours");
            if !found.is_empty() {
                answer.attributes_mut().add(DelimiterTag::JobAttributes, attribute("job-name", name(found)));
            }
            let answer = head(&answer.to_bytes()).expect("our own words").expect("all of it");
            let (job, printer) = (JobId([0xab; 16]), PrinterKey([1; 16]));
            is_named(&answer, &HandedJob { job, printer, number: 7, title: title.clone() })
        };
        let whole = job_name(&title, JobId([0xab; 16]));
        for (found, is_ours_by_title, is_ours) in [
            ("", true, true),
            (&whole, true, true),
            (&whole[..31], true, false),
            (&whole[..64], true, false),
            (&title, false, false),
            (&whole[..20], false, false),
            ("Rundschreiben", false, false),
            (&job_name(&title, JobId([0xac; 16])), false, false),
        ] {
            assert_eq!(
                (answered(found, &Some(title.clone())), answered(found, &None)),
                (is_ours_by_title, is_ours),
                "{found}"
            );
        }
    }

    #[test]
    fn questions_about_jobs_say_who_asks() {
        let printer = Printer { is_default: true, ..Printer::plain(PrinterKey([1; 16]), "one") };
        let uri = "ipp://localhost/printers/one".to_owned();
        let address = Address::Tcp("localhost".into(), PORT);
        let printer = LocalPrinter { printer, address, uri, path: "/printers/one".into() };
        for request in [printer.jobs_request("completed"), printer.job_request(7)] {
            let head = head(&request.to_bytes()).expect("our own words").expect("all of it");
            assert_eq!(head.text("requesting-user-name"), Some(user()));
        }
    }
}
