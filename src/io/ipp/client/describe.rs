//! What print systems say of printers and jobs, as `proto`'s types. Everything is whitelisted and bounded.

use super::super::{Head, each, number_of, text_of};
use super::{Address, LocalPrinter, printer_key};
use crate::limits::{MEDIA_MAX, PRINTERS_MAX, SOURCES_MAX};
use crate::proto::print::media::Paper;
use crate::proto::wire::print::{JobReason, JobState, Printer, is_keyword};
use ipp::attribute::IppAttributeGroup;
use ipp::model::DelimiterTag;
use ipp::value::IppValue;

/// What is asked about a printer.
pub(super) const WANTED: [&str; 14] = [
    "printer-name",
    "printer-info",
    "printer-type",
    "printer-state",
    "printer-state-reasons",
    "printer-is-accepting-jobs",
    "color-supported",
    "print-color-mode-supported",
    "sides-supported",
    "media-default",
    "media-ready",
    "media-supported",
    "media-source-supported",
    "document-format-supported",
];

/// CUPS' bit for the default among `printer-type`.
const TYPE_DEFAULT: i32 = 0x20000;

/// What CUPS says only in words when a printer does not answer: in English, as our requests are.
const UNREACHED: [&str; 3] = ["may not exist or is unavailable", "is unreachable", "is not responding"];

/// The printers in an answer; `reach` says for a queue's name how it is reached: address, URI, path.
pub(super) fn printers_of(
    answer: &Head,
    place: &[u8; 16],
    reach: impl Fn(&str) -> Option<(Address, String, String)>,
) -> Vec<LocalPrinter> {
    let groups = answer.attributes.groups_of(DelimiterTag::PrinterAttributes);
    groups.take(PRINTERS_MAX).filter_map(|group| printer_of(group, place, &reach)).collect()
}

fn printer_of(
    group: &IppAttributeGroup,
    place: &[u8; 16],
    reach: impl Fn(&str) -> Option<(Address, String, String)>,
) -> Option<LocalPrinter> {
    let get = |name: &str| group.get(name).map(|a| a.value());
    let texts = |name: &str| -> Vec<String> { get(name).map(each).into_iter().flatten().filter_map(text_of).collect() };
    let name = get("printer-name").and_then(text_of)?;
    let (address, uri, path) = reach(&name)?;
    let info = get("printer-info").and_then(text_of).filter(|info| !info.trim().is_empty());
    let mut media: Vec<String> = texts("media-default");
    for word in texts("media-ready").into_iter().chain(texts("media-supported")) {
        if !media.contains(&word) {
            media.push(word);
        }
    }
    media.retain(|word| is_keyword(word) && Paper::parse(word).is_some());
    media.truncate(MEDIA_MAX);
    let mut sources: Vec<String> = texts("media-source-supported");
    sources.retain(|word| is_keyword(word));
    sources.truncate(SOURCES_MAX);
    let is = |name: &str| matches!(get(name), Some(IppValue::Boolean(true)));
    let kind = get("printer-type").and_then(number_of).unwrap_or(0);
    Some(LocalPrinter {
        printer: Printer {
            key: printer_key(place, &uri),
            name: info.unwrap_or(name),
            is_default: kind & TYPE_DEFAULT != 0,
            color: is("color-supported") || texts("print-color-mode-supported").iter().any(|word| word == "color"),
            duplex: texts("sides-supported").iter().any(|word| word == "two-sided-long-edge"),
            ready: is("printer-is-accepting-jobs"),
            media,
            sources,
        },
        address,
        uri,
        path,
    })
}

/// A job's state out of what its print system says of it and of its printer.
pub(super) fn answered_state(job: &Head, printer_reasons: &[String]) -> (JobState, JobReason) {
    let trouble = printer_reasons.iter().map(|word| reason_of(word)).find(|reason| *reason != JobReason::None);
    let trouble = trouble.or_else(|| {
        let said = job.text("job-printer-state-message")?;
        (job.number("job-state") == Some(5) && UNREACHED.iter().any(|words| said.contains(words)))
            .then_some(JobReason::Offline)
    });
    let waiting = |state| match trouble {
        Some(reason) => (JobState::Stopped, reason),
        None => (state, JobReason::None),
    };
    match job.number("job-state") {
        Some(3 | 4) => waiting(JobState::Queued),
        Some(5) => waiting(JobState::Printing),
        Some(6) => (JobState::Stopped, trouble.unwrap_or(JobReason::Other)),
        Some(7) => (JobState::Canceled, JobReason::User),
        Some(8) => (JobState::Failed, trouble.unwrap_or(JobReason::Other)),
        Some(9) => (JobState::Done, JobReason::None),
        _ => (JobState::Stopped, JobReason::NoPrintSystem),
    }
}

/// What keeps a printer from printing; warnings and reports do not.
fn reason_of(word: &str) -> JobReason {
    let (what, how) = match word.rsplit_once('-') {
        Some((what, how @ ("error" | "warning" | "report"))) => (what, how),
        _ => (word, "error"),
    };
    let stops = how == "error";
    match what {
        "media-empty" | "media-needed" if how != "report" => JobReason::MediaEmpty,
        "media-jam" if stops => JobReason::MediaJam,
        "cover-open" | "door-open" | "interlock-open" if stops => JobReason::CoverOpen,
        "marker-supply-empty" | "toner-empty" if stops => JobReason::MarkerEmpty,
        "offline" | "shutdown" | "timed-out" | "connecting-to-device" => JobReason::Offline,
        "paused" | "stopped-partly" | "moving-to-paused" if stops => JobReason::Other,
        _ => JobReason::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_keeps_a_printer_from_printing_counts() {
        for (word, reason) in [
            ("none", JobReason::None),
            ("media-empty-warning", JobReason::MediaEmpty),
            ("media-empty", JobReason::MediaEmpty),
            ("media-low-warning", JobReason::None),
            ("toner-low", JobReason::None),
            ("media-jam-error", JobReason::MediaJam),
            ("door-open", JobReason::CoverOpen),
            ("marker-supply-empty-error", JobReason::MarkerEmpty),
            ("cups-waiting-for-job-completed", JobReason::None),
            ("offline-report", JobReason::Offline),
            ("paused", JobReason::Other),
        ] {
            assert_eq!(reason_of(word), reason, "{word}");
        }
    }
}
