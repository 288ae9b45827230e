//! What the session's printer says of itself and of its jobs (RFC 8011, PWG 5100.14 IPP Everywhere).
//!
//! It says what the viewer's printer can, and what PDF in general allows. Nothing here decides anything.

use super::super::write::{attribute, collection, keyword, keywords, mime, name, several, text, uri};
use super::View;
use super::begun::{BEGUN_LIFE, Begun};
use crate::limits::{COPIES_OF_JOB_MAX, JOB_BYTES_MAX};
use crate::proto::print::host::JobView;
use crate::proto::print::media::Paper;
use crate::proto::wire::print::{ColorMode, JobOffer, JobReason, JobState, Printer, Sides};
use ipp::attribute::IppAttribute;
use ipp::value::{IppDateTime, IppValue};

/// Margin in hundredths of a millimetre that every laser printer can keep.
const MARGIN: i32 = 423;
/// Operations: Print-Job, Validate-Job, Create-Job, Send-Document, Cancel-Job, Get-Job-Attributes, Get-Jobs,
/// Get-Printer-Attributes, Cancel-My-Jobs, Close-Job, Identify-Printer.
const OPERATIONS: [i32; 11] = [2, 4, 5, 6, 8, 9, 10, 11, 0x39, 0x3b, 0x3c];
/// Where the machine's clock stood when seconds since 1970 began to be called a printer's life: never 0.
const UP_MIN: i32 = 1;

/// When a job went from one state to the next, in the machine's clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    /// Who printed it.
    pub(super) user: String,
    created: u64,
    processing: Option<u64>,
    completed: Option<u64>,
}

impl Times {
    pub(super) fn begun(created: u64, user: String) -> Times {
        Times { user, created, ..Times::default() }
    }

    pub(super) fn note(&mut self, job: &JobView, clock: u64) {
        if self.created == 0 {
            self.created = clock;
        }
        self.processing.get_or_insert(clock);
        if job.state.is_some_and(JobState::is_end) {
            self.completed.get_or_insert(clock);
        }
    }
}

/// A job whose document has not come yet, as a view of it.
pub(super) fn incoming(begun: &Begun) -> JobView {
    JobView {
        offer: JobOffer {
            job: begun.id,
            printer: begun.printer,
            size: 0,
            sha256: [0; 32],
            title: begun.title.clone(),
            options: begun.options.clone(),
        },
        number: begun.number,
        state: None,
        reason: JobReason::None,
        confirmed: 0,
        present: true,
        canceling: false,
    }
}

/// Whether an attribute was asked for, by its name or by its group's.
pub(super) fn is_wanted(attribute: &str, wanted: &[String]) -> bool {
    let template = [
        "copies",
        "finishings",
        "media",
        "number-up",
        "orientation-requested",
        "output-bin",
        "page-ranges",
        "print-color-mode",
        "print-content-optimize",
        "print-quality",
        "print-rendering-intent",
        "printer-resolution",
        "sides",
        "job-priority",
        "multiple-document-handling",
    ];
    let is_template =
        template.iter().any(|t| attribute.strip_prefix(t).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')));
    // The long one comes only to those who name it.
    if attribute == "media-col-database" {
        return wanted.iter().any(|w| w == attribute);
    }
    wanted.is_empty()
        || wanted.iter().any(|w| match w.as_str() {
            "all" => true,
            "job-template" => is_template,
            "printer-description" | "job-description" => !is_template,
            word => word == attribute,
        })
}

/// IPP's number and words for a job's state.
fn state_of(job: &JobView) -> (i32, &'static str) {
    let waiting = if job.offer.size == 0 { "job-incoming" } else { "job-transferring" };
    match (job.state, job.reason) {
        (None, _) if !job.present => (4, "printer-stopped"),
        (None, _) => (5, waiting),
        (Some(JobState::Queued), _) => (5, "job-queued"),
        (Some(JobState::Printing), _) => (5, "job-printing"),
        (Some(JobState::Stopped | JobState::Unknown), _) => (5, "printer-stopped"),
        (Some(JobState::Done), _) => (9, "job-completed-successfully"),
        (Some(JobState::Canceled), _) => (7, "job-canceled-by-user"),
        (Some(JobState::Failed), JobReason::Damaged) => (8, "document-format-error"),
        (Some(JobState::Failed), _) => (8, "aborted-by-system"),
    }
}

/// What is the matter at the printer, in IPP's words.
fn printer_reason(reason: JobReason) -> &'static str {
    match reason {
        JobReason::MediaEmpty => "media-empty-error",
        JobReason::MediaJam => "media-jam-error",
        JobReason::CoverOpen => "cover-open-error",
        JobReason::MarkerEmpty => "marker-supply-empty-error",
        JobReason::Offline | JobReason::NoPrintSystem => "offline-report",
        _ => "other-report",
    }
}

/// What a person reads beside the state.
fn message_of(job: &JobView) -> String {
    let reason = match job.reason {
        JobReason::None => "",
        JobReason::MediaEmpty => ": no paper",
        JobReason::MediaJam => ": paper is stuck",
        JobReason::CoverOpen => ": a cover is open",
        JobReason::MarkerEmpty => ": no toner or ink",
        JobReason::Offline => ": the printer does not answer",
        JobReason::Other => ": see the printer",
        JobReason::Refused => ": the print system refused it",
        JobReason::Damaged => ": the document arrived damaged",
        JobReason::NoPrinter => ": the printer is no longer there",
        JobReason::NoRoom => ": no room at the viewer",
        JobReason::NoPrintSystem => ": the viewer's print system does not answer",
        JobReason::User => ": as the user said",
        JobReason::NoJournal => ": the viewer cannot write its journal",
    };
    let state = match job.state {
        None if !job.present => "waits for its device".to_owned(),
        None => format!("transferring, {} of {} bytes", job.confirmed, job.offer.size),
        Some(JobState::Queued) => "in the viewer's queue".into(),
        Some(JobState::Printing) => "printing".into(),
        Some(JobState::Stopped) => "stopped".into(),
        Some(JobState::Done) => "printed".into(),
        Some(JobState::Failed) => "not printed".into(),
        Some(JobState::Canceled) => "cancelled".into(),
        Some(JobState::Unknown) => "nobody knows whether it was printed; the viewer asks".into(),
    };
    state + reason
}

/// Everything a job has to say.
pub(super) fn job_attributes(
    printer: &Printer,
    printer_uri: &str,
    job: &JobView,
    times: &Times,
    clock: u64,
) -> Vec<IppAttribute> {
    let (state, reason) = state_of(job);
    let time = |at: Option<u64>| at.map_or(IppValue::NoValue, |at| IppValue::Integer(seconds(at)));
    let date = |at: Option<u64>| at.map_or(IppValue::NoValue, |at| IppValue::DateTime(date(at)));
    let options = &job.offer.options;
    let number = |n: u32| IppValue::Integer(i32::try_from(n).unwrap_or(i32::MAX));
    let mut all = vec![
        attribute("job-id", number(job.number)),
        attribute("job-uri", uri(&format!("{printer_uri}/{}", job.number))),
        attribute("job-uuid", uri(&uuid(&job.offer.job.0))),
        attribute("job-printer-uri", uri(printer_uri)),
        attribute("job-name", name(&job.offer.title)),
        attribute("job-originating-user-name", name(&times.user)),
        attribute("job-state", IppValue::Enum(state)),
        attribute("job-state-reasons", keyword(reason)),
        attribute("job-state-message", text(&message_of(job))),
        attribute("job-printer-state-message", text(&message_of(job))),
        attribute("job-printer-state-reasons", keyword(job_printer_reason(job))),
        attribute("job-printer-up-time", IppValue::Integer(seconds(clock))),
        attribute("time-at-creation", time(Some(times.created))),
        attribute("time-at-processing", time(times.processing)),
        attribute("time-at-completed", time(times.completed)),
        attribute("date-time-at-creation", date(Some(times.created))),
        attribute("date-time-at-processing", date(times.processing)),
        attribute("date-time-at-completed", date(times.completed)),
        attribute("job-k-octets", number(job.offer.size.div_ceil(1024))),
        attribute("job-impressions", IppValue::NoValue),
        attribute("job-impressions-completed", IppValue::Integer(0)),
        attribute("job-media-sheets-completed", IppValue::Integer(0)),
        attribute("number-of-documents", IppValue::Integer(1)),
        attribute("copies", number(options.copies)),
        attribute("number-up", number(options.number_up)),
        attribute("sides", keyword(sides(options.sides))),
        attribute("print-color-mode", keyword(color(options.color, printer))),
        attribute("attributes-charset", IppValue::Charset("utf-8".try_into().expect("it is short"))),
        attribute("attributes-natural-language", language()),
    ];
    if !options.media.is_empty() {
        all.push(attribute("media", keyword(&options.media)));
    }
    if !options.pages.is_empty() {
        let range =
            |(min, max): &(u32, u32)| IppValue::RangeOfInteger { min: min.cast_signed(), max: max.cast_signed() };
        all.push(attribute("page-ranges", several(options.pages.iter().map(range).collect())));
    }
    all
}

fn job_printer_reason(job: &JobView) -> &'static str {
    if job.state == Some(JobState::Stopped) { printer_reason(job.reason) } else { "none" }
}

fn sides(sides: Sides) -> &'static str {
    match sides {
        Sides::Default | Sides::One => "one-sided",
        Sides::LongEdge => "two-sided-long-edge",
        Sides::ShortEdge => "two-sided-short-edge",
    }
}

fn color(mode: ColorMode, printer: &Printer) -> &'static str {
    match mode {
        ColorMode::Monochrome => "monochrome",
        ColorMode::Default if !printer.color => "monochrome",
        _ => "color",
    }
}

/// Everything the printer has to say.
pub(super) fn printer_attributes(printer: &Printer, printer_uri: &str, view: &View, clock: u64) -> Vec<IppAttribute> {
    let int = IppValue::Integer;
    let ints = |values: &[i32]| several(values.iter().copied().map(IppValue::Integer).collect());
    let enums = |values: &[i32]| several(values.iter().copied().map(IppValue::Enum).collect());
    let open: Vec<&JobView> = view
        .jobs
        .iter()
        .filter(|job| job.offer.printer == printer.key && !job.state.is_some_and(JobState::is_end))
        .collect();
    let stopped = open.iter().find(|job| job.state == Some(JobState::Stopped));
    let (state, reason) = match stopped {
        Some(job) => (5, printer_reason(job.reason)),
        None if !printer.ready => (5, "offline-report"),
        None if open.is_empty() => (3, "none"),
        None => (4, "none"),
    };
    let message = match (stopped, printer.ready) {
        (Some(job), _) => message_of(job),
        (None, true) => String::new(),
        (None, false) => "waits for its device".into(),
    };
    let mut media: Vec<&str> = printer.media.iter().map(String::as_str).filter(|m| Paper::parse(m).is_some()).collect();
    if media.is_empty() {
        media = vec!["iso_a4_210x297mm", "na_letter_8.5x11in"];
    }
    let sources: Vec<&str> = match &printer.sources[..] {
        [] => vec!["auto"],
        some => some.iter().map(String::as_str).collect(),
    };
    let size = |paper: &Paper| {
        collection(vec![("x-dimension", int(paper.width as i32)), ("y-dimension", int(paper.height as i32))])
    };
    let media_col = |paper: &Paper| {
        collection(vec![
            ("media-size", size(paper)),
            ("media-size-name", keyword(&paper.name)),
            ("media-bottom-margin", int(MARGIN)),
            ("media-left-margin", int(MARGIN)),
            ("media-right-margin", int(MARGIN)),
            ("media-top-margin", int(MARGIN)),
            ("media-source", keyword(sources[0])),
            ("media-type", keyword("stationery")),
        ])
    };
    let papers: Vec<Paper> = media.iter().filter_map(|name| Paper::parse(name)).collect();
    let (sides, modes): (&[&str], &[&str]) = (
        if printer.duplex { &["one-sided", "two-sided-long-edge", "two-sided-short-edge"] } else { &["one-sided"] },
        if printer.color { &["auto", "color", "monochrome"] } else { &["auto", "monochrome"] },
    );
    let color_default = if printer.color { "color" } else { "monochrome" };
    let now = || IppValue::DateTime(date(clock));
    let resolution = || IppValue::Resolution { cross_feed: 600, feed: 600, units: 3 };
    let member_words = [
        "media-bottom-margin",
        "media-left-margin",
        "media-right-margin",
        "media-size",
        "media-size-name",
        "media-source",
        "media-top-margin",
        "media-type",
    ];
    let range = |min, max| IppValue::RangeOfInteger { min, max };
    let job_words = [
        "copies",
        "finishings",
        "ipp-attribute-fidelity",
        "job-name",
        "media",
        "media-col",
        "number-up",
        "orientation-requested",
        "output-bin",
        "page-ranges",
        "print-color-mode",
        "print-content-optimize",
        "print-quality",
        "print-rendering-intent",
        "printer-resolution",
        "sides",
    ];
    let mut all = vec![
        attribute("attributes-charset", IppValue::Charset("utf-8".try_into().expect("it is short"))),
        attribute("charset-configured", IppValue::Charset("utf-8".try_into().expect("it is short"))),
        attribute("charset-supported", IppValue::Charset("utf-8".try_into().expect("it is short"))),
        attribute("color-supported", IppValue::Boolean(printer.color)),
        attribute("compression-supported", keyword("none")),
        attribute("copies-default", int(1)),
        attribute("copies-supported", range(1, COPIES_OF_JOB_MAX as i32)),
        // CUPS sends every option of a job to what looks like CUPS, the job's id among them.
        attribute("cups-version", text("2.4.2")),
        attribute("document-format-default", mime("application/pdf")),
        attribute(
            "document-format-supported",
            several(vec![mime("application/pdf"), mime("application/octet-stream")]),
        ),
        attribute("finishings-default", enums(&[3])),
        attribute("finishings-supported", enums(&[3])),
        attribute("generated-natural-language-supported", language()),
        attribute("identify-actions-default", keyword("display")),
        attribute("identify-actions-supported", keyword("display")),
        attribute("ipp-features-supported", keyword("ipp-everywhere")),
        attribute("ipp-versions-supported", keywords(["1.1", "2.0"])),
        attribute("job-creation-attributes-supported", keywords(job_words)),
        attribute("job-ids-supported", IppValue::Boolean(true)),
        attribute("job-k-octets-supported", range(0, (JOB_BYTES_MAX / 1024) as i32)),
        attribute("landscape-orientation-requested-preferred", IppValue::Enum(4)),
        attribute("media-bottom-margin-supported", int(MARGIN)),
        attribute("media-col-database", several(papers.iter().map(media_col).collect())),
        attribute("media-col-default", media_col(&papers[0])),
        attribute("media-col-ready", media_col(&papers[0])),
        attribute("media-col-supported", keywords(member_words)),
        attribute("media-default", keyword(media[0])),
        attribute("media-left-margin-supported", int(MARGIN)),
        attribute("media-ready", keyword(media[0])),
        attribute("media-right-margin-supported", int(MARGIN)),
        attribute("media-size-supported", several(papers.iter().map(size).collect())),
        attribute("media-source-supported", keywords(sources.iter().copied())),
        attribute("media-supported", keywords(media.iter().copied())),
        attribute("media-top-margin-supported", int(MARGIN)),
        attribute("media-type-supported", keyword("stationery")),
        attribute("multiple-document-handling-default", keyword("separate-documents-uncollated-copies")),
        attribute("multiple-document-handling-supported", keyword("separate-documents-uncollated-copies")),
        attribute("multiple-document-jobs-supported", IppValue::Boolean(false)),
        attribute("multiple-operation-time-out", int(BEGUN_LIFE.as_secs() as i32)),
        attribute("multiple-operation-time-out-action", keyword("abort-job")),
        attribute("natural-language-configured", language()),
        attribute("number-up-default", int(1)),
        attribute("number-up-supported", ints(&[1, 2, 4, 6, 9, 16])),
        attribute("operations-supported", enums(&OPERATIONS)),
        attribute("orientation-requested-default", IppValue::NoValue),
        attribute("orientation-requested-supported", enums(&[3, 4, 5, 6])),
        attribute("output-bin-default", keyword("face-down")),
        attribute("output-bin-supported", keyword("face-down")),
        attribute("overrides-supported", keywords(["document-number", "pages"])),
        attribute("page-ranges-supported", IppValue::Boolean(true)),
        attribute("pages-per-minute", int(20)),
        attribute("pdf-versions-supported", keywords(["adobe-1.7", "iso-32000-1_2008"])),
        attribute("pdl-override-supported", keyword("attempted")),
        attribute("preferred-attributes-supported", IppValue::Boolean(false)),
        attribute("print-color-mode-default", keyword(color_default)),
        attribute("print-color-mode-supported", keywords(modes.iter().copied())),
        attribute("print-content-optimize-default", keyword("auto")),
        attribute("print-content-optimize-supported", keyword("auto")),
        attribute("print-quality-default", IppValue::Enum(4)),
        attribute("print-quality-supported", enums(&[4])),
        attribute("print-rendering-intent-default", keyword("auto")),
        attribute("print-rendering-intent-supported", keyword("auto")),
        attribute("printer-config-change-date-time", now()),
        attribute("printer-config-change-time", int(seconds(clock))),
        attribute("printer-current-time", now()),
        attribute("printer-device-id", text("MFG:Kachel;MDL:Kachel;CMD:PDF;")),
        attribute("printer-get-attributes-supported", keyword("document-format")),
        attribute("printer-geo-location", IppValue::Other { tag: 0x12, data: bytes::Bytes::new() }),
        attribute("printer-icons", uri("https://kachel.invalid/printer.png")),
        attribute("printer-info", text(&printer.name)),
        attribute("printer-is-accepting-jobs", IppValue::Boolean(true)),
        attribute("printer-location", text("")),
        attribute("printer-make-and-model", text("Kachel")),
        attribute("printer-more-info", uri("https://kachel.invalid/")),
        attribute("printer-name", name(&printer.name)),
        attribute("printer-organization", text("")),
        attribute("printer-organizational-unit", text("")),
        attribute("printer-resolution-default", resolution()),
        attribute("printer-resolution-supported", resolution()),
        attribute("printer-state", IppValue::Enum(state)),
        attribute("printer-state-change-date-time", now()),
        attribute("printer-state-change-time", int(seconds(clock))),
        attribute("printer-state-message", text(&message)),
        attribute("printer-state-reasons", keyword(reason)),
        attribute("printer-supply-info-uri", uri("https://kachel.invalid/supplies")),
        attribute("printer-up-time", int(seconds(clock))),
        attribute("printer-uri-supported", uri(printer_uri)),
        attribute("printer-uuid", uri(&uuid(&printer.key.0))),
        attribute("queued-job-count", int(open.len() as i32)),
        attribute("sides-default", keyword("one-sided")),
        attribute("sides-supported", keywords(sides.iter().copied())),
        attribute("uri-authentication-supported", keyword("none")),
        attribute("uri-security-supported", keyword("none")),
        attribute("which-jobs-supported", keywords(["completed", "not-completed", "all"])),
    ];
    if printer.color {
        all.push(attribute("pages-per-minute-color", int(20)));
    }
    all
}

fn language() -> IppValue {
    IppValue::NaturalLanguage("en".try_into().expect("it is short"))
}

/// Seconds as IPP counts them; CUPS too lets a printer's life begin in 1970.
fn seconds(clock: u64) -> i32 {
    i32::try_from(clock).unwrap_or(i32::MAX).max(UP_MIN)
}

fn uuid(bytes: &[u8; 16]) -> String {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("urn:uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A date in UTC (civil from days, after Howard Hinnant's algorithm).
fn date(clock: u64) -> IppDateTime {
    let (days, second) = ((clock / 86_400) as i64 + 719_468, clock % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    IppDateTime {
        year: (year_of_era + era * 400 + i64::from(month <= 2)) as u16,
        month: month as u8,
        day: (day_of_year - (153 * shifted + 2) / 5 + 1) as u8,
        hour: (second / 3_600) as u8,
        minutes: (second / 60 % 60) as u8,
        seconds: (second % 60) as u8,
        deci_seconds: 0,
        utc_dir: '+',
        utc_hours: 0,
        utc_mins: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::print::{JobId, JobOptions, PrinterKey};

    fn printer() -> Printer {
        Printer { is_default: true, ..Printer::plain(PrinterKey([1; 16]), "Laser") }
    }

    fn job(state: Option<JobState>, reason: JobReason) -> JobView {
        let offer = JobOffer {
            job: JobId([2; 16]),
            printer: printer().key,
            size: 4_000,
            sha256: [0; 32],
            title: "a letter".into(),
            options: JobOptions::default(),
        };
        JobView { offer, number: 7, state, reason, confirmed: 1_000, present: true, canceling: false }
    }

    /// Values of attributes, as text.
    fn values<const N: usize>(attributes: &[IppAttribute], names: [&str; N]) -> [String; N] {
        names.map(|name| {
            let attribute = attributes.iter().find(|a| a.name().as_str() == name);
            attribute.unwrap_or_else(|| panic!("{name} is missing")).value().to_string()
        })
    }

    /// State, reason and message of a job, and what the job says of its printer.
    fn told_of(job: &JobView) -> [String; 4] {
        let all = job_attributes(&printer(), "ipp://x/1", job, &Times::default(), 1);
        let names = ["job-state", "job-state-reasons", "job-state-message", "job-printer-state-reasons"];
        values(&all, names)
    }

    /// State, reason and message of the printer that has this job.
    fn told_of_printer(printer: &Printer, jobs: Vec<JobView>) -> [String; 3] {
        let view = View { printers: vec![printer.clone()], jobs };
        let all = printer_attributes(printer, "ipp://x/1", &view, 1);
        values(&all, ["printer-state", "printer-state-reasons", "printer-state-message"])
    }

    #[test]
    fn every_state_of_a_job_is_told_in_ipps_numbers_and_words() {
        use JobState::*;
        let at_the_viewer = [
            (Queued, "5", "job-queued", "in the viewer's queue"),
            (Printing, "5", "job-printing", "printing"),
            (Stopped, "5", "printer-stopped", "stopped"),
            (Done, "9", "job-completed-successfully", "printed"),
            (Failed, "8", "aborted-by-system", "not printed"),
            (Canceled, "7", "job-canceled-by-user", "cancelled"),
            (Unknown, "5", "printer-stopped", "nobody knows whether it was printed; the viewer asks"),
        ];
        assert_eq!(at_the_viewer.len(), (0..=u8::MAX).filter_map(JobState::from_number).count(), "a state has no row");
        for (state, number, reason, message) in at_the_viewer {
            let at_printer = if state == Stopped { "other-report" } else { "none" };
            assert_eq!(told_of(&job(Some(state), JobReason::None)), [number, reason, message, at_printer], "{state:?}");
        }
        let on_its_way = job(None, JobReason::None);
        assert_eq!(told_of(&on_its_way), ["5", "job-transferring", "transferring, 1000 of 4000 bytes", "none"]);
        let away = JobView { present: false, ..on_its_way.clone() };
        assert_eq!(told_of(&away), ["4", "printer-stopped", "waits for its device", "none"]);
        let mut coming = on_its_way;
        (coming.offer.size, coming.confirmed) = (0, 0);
        assert_eq!(told_of(&coming), ["5", "job-incoming", "transferring, 0 of 0 bytes", "none"]);
    }

    #[test]
    fn every_reason_is_told_to_programs_and_people() {
        use JobReason::*;
        // Behind the state, the keyword of a job that failed for it, and of a printer that stopped for it.
        let reasons = [
            (None, "", "aborted-by-system", "other-report"),
            (MediaEmpty, ": no paper", "aborted-by-system", "media-empty-error"),
            (MediaJam, ": paper is stuck", "aborted-by-system", "media-jam-error"),
            (CoverOpen, ": a cover is open", "aborted-by-system", "cover-open-error"),
            (MarkerEmpty, ": no toner or ink", "aborted-by-system", "marker-supply-empty-error"),
            (Offline, ": the printer does not answer", "aborted-by-system", "offline-report"),
            (Other, ": see the printer", "aborted-by-system", "other-report"),
            (Refused, ": the print system refused it", "aborted-by-system", "other-report"),
            (Damaged, ": the document arrived damaged", "document-format-error", "other-report"),
            (NoPrinter, ": the printer is no longer there", "aborted-by-system", "other-report"),
            (NoRoom, ": no room at the viewer", "aborted-by-system", "other-report"),
            (NoPrintSystem, ": the viewer's print system does not answer", "aborted-by-system", "offline-report"),
            (User, ": as the user said", "aborted-by-system", "other-report"),
            (NoJournal, ": the viewer cannot write its journal", "aborted-by-system", "other-report"),
        ];
        assert_eq!(reasons.len(), (0..=u8::MAX).filter_map(JobReason::from_number).count(), "a reason has no row");
        for (reason, words, keyword, at_printer) in reasons {
            let message = format!("not printed{words}");
            assert_eq!(told_of(&job(Some(JobState::Failed), reason)), ["8", keyword, &message, "none"], "{reason:?}");
            let (stopped, message) = (job(Some(JobState::Stopped), reason), format!("stopped{words}"));
            assert_eq!(told_of(&stopped), ["5", "printer-stopped", &message, at_printer], "{reason:?}");
            assert_eq!(told_of_printer(&printer(), vec![stopped]), ["5", at_printer, &message], "{reason:?}");
        }
    }

    #[test]
    fn a_printer_is_idle_busy_or_away_as_its_open_jobs_and_its_device_are() {
        let (ready, away) = (printer(), Printer { ready: false, ..printer() });
        let of = |state| vec![job(state, JobReason::None)];
        assert_eq!(told_of_printer(&ready, Vec::new()), ["3", "none", ""]);
        assert_eq!(told_of_printer(&ready, of(Some(JobState::Done))), ["3", "none", ""]);
        assert_eq!(told_of_printer(&ready, of(None)), ["4", "none", ""]);
        assert_eq!(told_of_printer(&ready, of(Some(JobState::Printing))), ["4", "none", ""]);
        assert_eq!(told_of_printer(&away, of(None)), ["5", "offline-report", "waits for its device"]);
        // Another printer's job is not its business.
        let other = Printer { key: PrinterKey([3; 16]), ..printer() };
        assert_eq!(told_of_printer(&other, of(Some(JobState::Stopped))), ["3", "none", ""]);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let of = |clock| {
            let d = date(clock);
            (d.year, d.month, d.day, d.hour, d.minutes, d.seconds)
        };
        assert_eq!(of(0), (1970, 1, 1, 0, 0, 0));
        assert_eq!(of(951_782_400), (2000, 2, 29, 0, 0, 0));
        assert_eq!(of(1_795_561_199), (2026, 11, 24, 22, 59, 59));
    }
}
