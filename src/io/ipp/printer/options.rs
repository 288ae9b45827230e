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
    let first = |name: &str| words(head, name).into_iter().find_map(offered);
    first("media").or_else(by_size).or_else(|| first("PageSize")).unwrap_or_default()
}

/// The words of an attribute: `lp -o media=A4,tray-1` names both at once, as two values or as one.
fn words(head: &Head, name: &str) -> Vec<String> {
    head.texts(name).iter().flat_map(|text| text.split(',')).map(|word| word.trim().to_owned()).collect()
}

fn source(head: &Head, printer: &Printer) -> String {
    let in_collection = head.get("media-col").and_then(|c| member(c, "media-source")).and_then(text_of);
    let in_media = || words(head, "media").into_iter().find(|word| printer.sources.contains(word));
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

#[cfg(test)]
mod tests {
    use super::super::super::{head, write};
    use super::*;
    use crate::proto::wire::print::PrinterKey;
    use ipp::model::{IppVersion, Operation};
    use ipp::request::IppRequestResponse;

    /// What a printer with everything makes of a job with these attributes.
    fn read(attributes: &[(&str, IppValue)]) -> JobOptions {
        let mut request = IppRequestResponse::new(IppVersion::v2_0(), Operation::CreateJob, None).expect("ours");
        for (name, value) in attributes {
            request.attributes_mut().add(DelimiterTag::JobAttributes, write::attribute(name, value.clone()));
        }
        let printer = Printer {
            color: true,
            duplex: true,
            media: ["iso_a4_210x297mm", "iso_a5_148x210mm", "na_legal_8.5x14in"].map(str::to_owned).to_vec(),
            sources: ["tray-1", "tray-2"].map(str::to_owned).to_vec(),
            ..Printer::plain(PrinterKey([1; 16]), "one")
        };
        let head = head(&request.to_bytes()).expect("our own words").expect("all of it");
        options(&head, &printer)
    }

    #[test]
    fn paper_and_tray_are_read_in_whichever_words_a_program_uses() {
        let (keyword, name) = (write::keyword, write::name);
        let side = IppValue::Integer;
        let size = |x, y| write::collection(vec![("x-dimension", side(x)), ("y-dimension", side(y))]);
        let (a4, a5) = ("iso_a4_210x297mm", "iso_a5_148x210mm");
        for (attributes, media, source) in [
            (vec![], "", ""),
            (vec![("media", keyword(a5))], a5, ""),
            (vec![("PageSize", name("A5"))], a5, ""),
            (vec![("media", keyword("A4"))], a4, ""),
            (vec![("media", write::keywords(["A4", "tray-2"]))], a4, "tray-2"),
            (vec![("media", keyword("tray-2,A4"))], a4, "tray-2"),
            (vec![("media", keyword("legal")), ("PageSize", name("Legal"))], "na_legal_8.5x14in", ""),
            (vec![("PageSize", name("A4")), ("InputSlot", name("tray-1"))], a4, "tray-1"),
            (vec![("media-col", write::collection(vec![("media-size", size(14_800, 21_000))]))], a5, ""),
            (vec![("media-col", write::collection(vec![("media-source", keyword("tray-1"))]))], "", "tray-1"),
            // What the printer does not have is left to it.
            (vec![("media", keyword("iso_a0_841x1189mm")), ("InputSlot", name("tray-9"))], "", ""),
            (vec![("media-col", write::collection(vec![("media-size", size(-1, 21_000))]))], "", ""),
        ] {
            let found = read(&attributes);
            assert_eq!((found.media.as_str(), found.source.as_str()), (media, source), "{attributes:?}");
        }
    }

    #[test]
    fn sides_colour_copies_and_pages_are_read_within_their_bounds() {
        let (keyword, name) = (write::keyword, write::name);
        for (attribute, value, sides) in [
            ("sides", keyword("two-sided-short-edge"), Sides::ShortEdge),
            ("sides", keyword("one-sided"), Sides::One),
            ("sides", keyword("inside-out"), Sides::Default),
            ("Duplex", name("DuplexNoTumble"), Sides::LongEdge),
            ("Duplex", name("DuplexTumble"), Sides::ShortEdge),
            ("Duplex", name("None"), Sides::One),
        ] {
            assert_eq!(read(&[(attribute, value)]).sides, sides);
        }
        for (attribute, value, color) in [
            ("print-color-mode", keyword("monochrome"), ColorMode::Monochrome),
            ("print-color-mode", keyword("color"), ColorMode::Color),
            ("ColorModel", name("Gray"), ColorMode::Monochrome),
            ("ColorModel", name("RGB"), ColorMode::Color),
            ("ColorModel", name("CMYK"), ColorMode::Default),
        ] {
            assert_eq!(read(&[(attribute, value)]).color, color);
        }
        for (copies, expected) in [(3, 3), (0, 1), (-5, 1), (i32::MAX, COPIES_OF_JOB_MAX)] {
            assert_eq!(read(&[("copies", IppValue::Integer(copies))]).copies, expected);
        }
        for (number_up, expected) in [(4, 4), (3, 1), (-1, 1)] {
            assert_eq!(read(&[("number-up", IppValue::Integer(number_up))]).number_up, expected);
        }
        let range = |(min, max)| IppValue::RangeOfInteger { min, max };
        let pages = |ranges: &[(i32, i32)]| {
            read(&[("page-ranges", write::several(ranges.iter().copied().map(range).collect()))]).pages
        };
        assert_eq!(pages(&[(1, 2), (5, 5)]), [(1, 2), (5, 5)]);
        // Backwards, overlapping or from nowhere: not asked for.
        assert_eq!(pages(&[(3, 1), (2, 4), (4, 6), (-2, 9), (0, 3)]), [(2, 4)]);
        let many: Vec<(i32, i32)> = (1..1_000).map(|n| (2 * n, 2 * n)).collect();
        assert_eq!(pages(&many).len(), PAGE_RANGES_MAX);
    }
}
