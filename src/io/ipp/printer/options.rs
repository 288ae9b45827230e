//! What a request asks for, as `proto`'s types: job options from IPP's words and from a PPD's, both bounded.

use super::super::{Head, each, member, number_of, text_of};
use super::Answer;
use crate::limits::{COPIES_OF_JOB_MAX, PAGE_RANGES_MAX};
use crate::proto::print::media::Paper;
use crate::proto::wire::print::{ColorMode, JobId, JobOptions, Printer, Sides, is_keyword};
use ipp::model::{DelimiterTag, StatusCode};
use ipp::value::IppValue;

/// The document formats that are taken; the second says "look yourself".
pub(super) fn is_format(kind: &str) -> bool {
    matches!(kind, "application/pdf" | "application/octet-stream")
}

/// Checks what every request must have (RFC 8011, section 4.1).
pub(super) fn check_head(head: &Head) -> Result<(), StatusCode> {
    if !matches!(head.header.version.0 >> 8, 1 | 2) {
        return Err(StatusCode::ServerErrorVersionNotSupported);
    }
    let operation = head.attributes.groups().first().filter(|g| g.tag() == DelimiterTag::OperationAttributes);
    let names: Vec<&str> =
        operation.iter().flat_map(|group| group.attributes()).take(2).map(|a| a.name().as_str()).collect();
    if names != ["attributes-charset", "attributes-natural-language"] || head.header.request_id < 1 {
        return Err(StatusCode::ClientErrorBadRequest);
    }
    match head.get("attributes-charset") {
        Some(IppValue::Charset(charset)) if matches!(charset.as_str(), "utf-8" | "us-ascii") => {}
        Some(IppValue::Charset(_)) => return Err(StatusCode::ClientErrorCharsetNotSupported),
        _ => return Err(StatusCode::ClientErrorBadRequest),
    }
    if head.get("printer-uri").is_none() && head.get("job-uri").is_none() {
        return Err(StatusCode::ClientErrorBadRequest);
    }
    Ok(())
}

/// Checks what a job asks for, as far as it must be refused.
pub(super) fn check(head: &Head, printer: &Printer) -> Result<(), Answer> {
    if head.text("document-format").is_some_and(|kind| !is_format(&kind)) {
        return Err(StatusCode::ClientErrorDocumentFormatNotSupported.into());
    }
    if head.text("compression").is_some_and(|kind| kind != "none") {
        return Err(StatusCode::ClientErrorCompressionNotSupported.into());
    }
    if head.flag("ipp-attribute-fidelity") != Some(true) {
        return Ok(());
    }
    let wrong = head
        .text("media")
        .filter(|m| !printer.media.contains(m))
        .or_else(|| head.text("sides").filter(|s| s != "one-sided" && !printer.duplex));
    match wrong {
        Some(_) => Err(StatusCode::ClientErrorAttributesOrValuesNotSupported.into()),
        None => Ok(()),
    }
}

/// The job's id, if CUPS gave it one: the same however often it sends the job.
pub(super) fn job_id(head: &Head) -> Option<JobId> {
    let text = head.text("job-uuid")?;
    let hex: String = text.strip_prefix("urn:uuid:")?.chars().filter(|c| *c != '-').collect();
    bytes16(&hex).map(JobId)
}

/// Sixteen bytes out of thirty-two hexadecimal digits.
pub(super) fn bytes16(hex: &str) -> Option<[u8; 16]> {
    if hex.len() != 32 || !hex.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(hex, 16).ok().map(u128::to_be_bytes)
}

/// The number of the job that a request is about.
pub(super) fn job_number(head: &Head) -> Option<u32> {
    let by_uri = || head.text("job-uri")?.rsplit('/').next()?.parse::<u32>().ok();
    head.number("job-id").and_then(|n| u32::try_from(n).ok()).or_else(by_uri)
}

/// The attributes that a request wants; none named means all.
pub(super) fn requested(head: &Head) -> Vec<String> {
    head.texts("requested-attributes")
}

/// How to print. What the printer does not offer is left to its own settings.
pub(super) fn options(head: &Head, printer: &Printer) -> JobOptions {
    let word = |name: &str| head.text(name).unwrap_or_default();
    // CUPS passes on what it sets by itself too (`print-color-mode` from the queue) beside what the user chose in the
    // PPD's words: grey from either counts, as colour is the default of both.
    let grey = ["monochrome", "auto-monochrome", "process-monochrome"].contains(&word("print-color-mode").as_str())
        || word("ColorModel") == "Gray";
    let color = match () {
        () if grey => ColorMode::Monochrome,
        () if word("print-color-mode") == "color" || word("ColorModel") == "RGB" => ColorMode::Color,
        () => ColorMode::Default,
    };
    let sides = match (word("sides").as_str(), word("Duplex").as_str()) {
        _ if !printer.duplex => Sides::Default,
        ("two-sided-long-edge", _) | ("", "DuplexNoTumble") => Sides::LongEdge,
        ("two-sided-short-edge", _) | ("", "DuplexTumble") => Sides::ShortEdge,
        ("one-sided", _) | ("", "None") => Sides::One,
        _ => Sides::Default,
    };
    let copies = head.number("copies").and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
    let number_up = head.number("number-up").and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
    JobOptions {
        copies: copies.clamp(1, COPIES_OF_JOB_MAX),
        sides,
        color: if printer.color || color != ColorMode::Color { color } else { ColorMode::Default },
        number_up: if [1, 2, 4, 6, 9, 16].contains(&number_up) { number_up } else { 1 },
        media: media(head, printer),
        source: source(head, printer),
        pages: pages(head),
    }
}

fn media(head: &Head, printer: &Printer) -> String {
    let by_size = || {
        let size = member(head.get("media-col")?, "media-size")?;
        let side = |name| member(size, name).and_then(number_of).and_then(|n| u32::try_from(n).ok());
        let (width, height) = (side("x-dimension")?, side("y-dimension")?);
        let near = |a: u32, b: u32| a.abs_diff(b) <= 100;
        printer
            .media
            .iter()
            .find(|name| Paper::parse(name).is_some_and(|p| near(p.width, width) && near(p.height, height)))
            .cloned()
    };
    let by_ppd = |word: String| {
        let is_it = |name: &&String| Paper::parse(name).is_some_and(|p| p.ppd == word);
        printer.media.iter().find(is_it).cloned()
    };
    let offered = |word: String| if printer.media.contains(&word) { Some(word) } else { by_ppd(word) };
    // `lp -o media=A4,tray-1` names both at once.
    let first = |name: &str| head.text(name)?.split(',').find_map(|word| offered(word.trim().to_owned()));
    first("media").or_else(by_size).or_else(|| first("PageSize")).unwrap_or_default()
}

fn source(head: &Head, printer: &Printer) -> String {
    let in_collection = head.get("media-col").and_then(|c| member(c, "media-source")).and_then(text_of);
    let in_media = || head.text("media")?.split(',').map(|w| w.trim().to_owned()).find(|w| printer.sources.contains(w));
    in_collection
        .or_else(in_media)
        .or_else(|| head.text("InputSlot"))
        .filter(|word| printer.sources.contains(word) && is_keyword(word))
        .unwrap_or_default()
}

fn pages(head: &Head) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for value in head.get("page-ranges").map(each).into_iter().flatten().take(PAGE_RANGES_MAX) {
        let IppValue::RangeOfInteger { min, max } = value else { continue };
        let (Ok(from), Ok(to)) = (u32::try_from(*min), u32::try_from(*max)) else { continue };
        if from > ranges.last().map_or(0, |last| last.1) && to >= from {
            ranges.push((from, to));
        }
    }
    ranges
}
