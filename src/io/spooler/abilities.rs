//! What Windows says of printers, papers, trays and jobs, as `proto`'s types; and a job's options as Windows wants them.
//!
//! Numbers and texts in, numbers and texts out: drivers wrote them, so everything is whitelisted and bounded.

use crate::limits::{KEYWORD_BYTES_MAX, MEDIA_MAX, NAME_BYTES_MAX, SOURCES_MAX};
use crate::proto::print::media::Paper;
use crate::proto::wire::print::{ColorMode, JobId, JobOptions, JobReason, JobState, Sides, is_keyword};

/// Attributes of a printer (`PRINTER_INFO_2`): what it is given goes to it at once, past the queue.
const ATTRIBUTE_DIRECT: u32 = 0x2;
/// The user has taken it off line.
const ATTRIBUTE_WORK_OFFLINE: u32 = 0x400;
/// A fax machine.
const ATTRIBUTE_FAX: u32 = 0x4000;

/// States of a printer: somebody removes it.
const PRINTER_PENDING_DELETION: u32 = 0x4;
/// What keeps it from printing, the most telling first.
const PRINTER_TROUBLE: [(u32, JobReason); 7] = [
    (0x8, JobReason::MediaJam),
    (0x40_0000, JobReason::CoverOpen),
    (0x4_0000, JobReason::MarkerEmpty),
    (0x10 | 0x40, JobReason::MediaEmpty),
    (0x80 | 0x1000, JobReason::Offline),
    (0x20, JobReason::MediaEmpty),
    // Paused, error, output full, out of memory, somebody is needed.
    (0x1 | 0x2 | 0x800 | 0x20_0000 | 0x10_0000, JobReason::Other),
];

/// States of a job (`JOB_INFO_1`).
pub(super) const JOB_PAUSED: u32 = 0x1;
const JOB_ERROR: u32 = 0x2;
/// It is being removed, or was.
pub(super) const JOB_REMOVED: u32 = 0x4 | 0x100;
/// It is being printed, or was begun again, or all of it is at the printer.
const JOB_BEGUN: u32 = 0x10 | 0x800 | 0x1000;
const JOB_OFFLINE: u32 = 0x20;
const JOB_PAPER_OUT: u32 = 0x40;
/// It is printed.
const JOB_PRINTED: u32 = 0x80;
/// It is kept in the queue after it was printed. Whether it is printed this alone does not say.
const JOB_KEPT: u32 = 0x2000;
const JOB_BLOCKED: u32 = 0x200 | 0x400;

/// Windows' numbers of paper sizes from which on they are a driver's own; it is also "as wide and high as I say".
const PAPER_USER: u16 = 256;
/// Windows' numbers of trays from which on they are a driver's own.
const TRAY_USER: u16 = 256;
/// Windows' trays with a name in IPP (PWG 5101.1, chapter 5); what is no tray, or depends on the page, is left out.
const TRAYS: [(u16, &str); 9] = [
    (1, "top"),
    (2, "bottom"),
    (3, "middle"),
    (4, "manual"),
    (5, "envelope"),
    (6, "by-pass-tray"),
    (7, "auto"),
    (11, "large-capacity"),
    (14, "main"),
];

/// Letters of a job's title that are shown in the queue.
const TITLE_MAX: usize = 80;

/// A word of IPP and Windows' number for the same.
pub(super) type Choice = (String, u16);

/// What of a printer is set for one job (`DEVMODE`); what is not given stays as the printer is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// Windows' number of the paper.
    pub(super) paper: Option<u16>,
    /// For a paper without a number: width and height in tenths of a millimetre.
    pub(super) paper_size: Option<(u16, u16)>,
    /// Windows' number of the tray.
    pub(super) tray: Option<u16>,
    /// Windows' number: 1 one side, 2 the long edge, 3 the short edge.
    pub(super) duplex: Option<u16>,
    /// Windows' number: 1 grey, 2 colour.
    pub(super) color: Option<u16>,
    /// What the printer does itself; what is more it is given again.
    pub(super) copies: u16,
}

impl Wishes {
    /// What these options set at a printer with these papers and trays that makes up to `copies_max` sorted copies.
    pub(super) fn new(options: &JobOptions, papers: &[Choice], trays: &[Choice], copies_max: u32) -> Wishes {
        let number =
            |choices: &[Choice], word: &str| choices.iter().find(|(w, _)| w == word).map(|(_, number)| *number);
        let paper = number(papers, &options.media);
        let own = Paper::parse(&options.media).filter(|_| paper.is_none());
        let tenths = |side: u32| u16::try_from(side.div_ceil(10)).ok().filter(|side| *side <= i16::MAX as u16);
        let paper_size = own.and_then(|paper| Some((tenths(paper.width)?, tenths(paper.height)?)));
        Wishes {
            paper: paper.or(paper_size.map(|_| PAPER_USER)),
            paper_size,
            tray: number(trays, &options.source),
            duplex: match options.sides {
                Sides::Default => None,
                Sides::One => Some(1),
                Sides::LongEdge => Some(2),
                Sides::ShortEdge => Some(3),
            },
            color: match options.color {
                ColorMode::Default => None,
                ColorMode::Monochrome => Some(1),
                ColorMode::Color => Some(2),
            },
            copies: if options.copies <= copies_max { options.copies as u16 } else { 1 },
        }
    }
}

/// Paper sizes as IPP names them: `papers` are Windows' numbers, names, widths and heights in tenths of a millimetre, the
/// default is the one with the number `default`.
pub(super) fn papers(papers: &[(u16, String, u32, u32)], default: Option<u16>) -> Vec<Choice> {
    let mut found: Vec<Choice> = Vec::new();
    for (number, name, width, height) in papers {
        // "User defined size" has none until somebody says it.
        let is_size = (100..=100_000).contains(width) && (100..=100_000).contains(height) && *number != PAPER_USER;
        if !is_size {
            continue;
        }
        let word = Paper::known(10 * width, 10 * height).unwrap_or_else(|| own_paper(name, *width, *height));
        if is_keyword(&word) && Paper::parse(&word).is_some() && found.iter().all(|(w, _)| *w != word) {
            found.push((word, *number));
        }
    }
    if let Some(at) = found.iter().position(|(_, number)| Some(*number) == default) {
        found[..=at].rotate_right(1);
    }
    found.truncate(MEDIA_MAX);
    found
}

/// A name for a size that has none (PWG 5101.1, chapter 5.1.5).
fn own_paper(name: &str, width: u32, height: u32) -> String {
    let tenths = |side: u32| {
        if side.is_multiple_of(10) { format!("{}", side / 10) } else { format!("{}.{}", side / 10, side % 10) }
    };
    let size = format!("_{}x{}mm", tenths(width), tenths(height));
    let mut name = word_of(name);
    name.truncate(KEYWORD_BYTES_MAX - "custom_".len() - size.len());
    let name = if name.is_empty() { "size" } else { name.trim_end_matches('-') };
    format!("custom_{name}{size}")
}

/// Trays as IPP names them: `trays` are Windows' numbers and names.
pub(super) fn trays(trays: &[(u16, String)]) -> Vec<Choice> {
    let mut found: Vec<Choice> = Vec::new();
    for (number, name) in trays {
        let known = TRAYS.iter().find(|(tray, _)| tray == number).map(|(_, word)| (*word).to_owned());
        let word = match known {
            Some(word) => word,
            None if *number >= TRAY_USER => own_tray(name),
            None => continue,
        };
        if is_keyword(&word) && found.iter().all(|(w, _)| *w != word) {
            found.push((word, *number));
        }
    }
    found.truncate(SOURCES_MAX);
    found
}

/// "Tray 2", "Fach 2" and "Kassette 2" are `tray-2`; other names stay.
fn own_tray(name: &str) -> String {
    let word = word_of(name);
    match word.split('-').collect::<Vec<_>>()[..] {
        [what, number] if number.parse::<u8>().is_ok() && what.bytes().all(|c| c.is_ascii_alphabetic()) => {
            format!("tray-{number}")
        }
        _ => word[..word.len().min(KEYWORD_BYTES_MAX)].to_owned(),
    }
}

/// A driver's words in letters and digits that a keyword may have.
fn word_of(name: &str) -> String {
    let plain = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let dashed: String = plain.collect();
    dashed.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

/// A printer's name as it is offered: without control characters, no longer than the wire takes.
pub(super) fn shown_name(name: &str) -> String {
    let mut name: String = name.chars().filter(|c| !c.is_control()).collect();
    while name.len() > NAME_BYTES_MAX {
        name.pop();
    }
    name
}

/// What a job is called in the queue: its title, and its id to be found by. Short, since drivers cut names off.
pub(super) fn document_name(title: &str, job: JobId) -> String {
    let title: String = title.chars().filter(|c| !c.is_control()).take(TITLE_MAX).collect();
    format!("{title} ({job})")
}

/// Whether it puts something on paper: what writes files or sends faxes would leave a session's document at the desk, or
/// ask questions in a window that nobody expects. `port` is where Windows has it connected.
pub(super) fn is_printer(attributes: u32, port: &str) -> bool {
    let port = port.trim_end_matches('\0').to_ascii_lowercase();
    let is_file = ["portprompt:", "file:", "nul:", "shrfax:", "xpsport:", "microsoft.office.onenote"];
    attributes & ATTRIBUTE_FAX == 0 && !is_file.iter().any(|begin| port.starts_with(begin))
}

/// Whether a printer takes jobs; they may wait there.
pub(super) fn is_ready(status: u32) -> bool {
    status & PRINTER_PENDING_DELETION == 0
}

/// Whether a printer is given its jobs past the queue.
pub(super) fn is_direct(attributes: u32) -> bool {
    attributes & ATTRIBUTE_DIRECT != 0
}

/// Whether a job stays in the queue although it is printed, because somebody asked for that.
pub(super) fn is_kept(job: u32) -> bool {
    job & JOB_KEPT != 0
}

/// A job's state out of its own, and its printer's state and attributes.
pub(super) fn job_state(job: u32, printer: u32, attributes: u32) -> (JobState, JobReason) {
    if job & JOB_PRINTED != 0 {
        return (JobState::Done, JobReason::None);
    }
    if job & JOB_REMOVED != 0 {
        return (JobState::Canceled, JobReason::User);
    }
    let of_printer = PRINTER_TROUBLE.iter().find(|(bits, _)| printer & bits != 0).map(|(_, reason)| *reason);
    let offline = attributes & ATTRIBUTE_WORK_OFFLINE != 0 || job & JOB_OFFLINE != 0;
    let reason = if job & JOB_PAPER_OUT != 0 {
        Some(JobReason::MediaEmpty)
    } else {
        of_printer.or(offline.then_some(JobReason::Offline))
    };
    let is_stopped = job & (JOB_PAUSED | JOB_ERROR | JOB_BLOCKED) != 0;
    match reason {
        Some(reason) => (JobState::Stopped, reason),
        None if is_stopped => (JobState::Stopped, JobReason::Other),
        None if job & JOB_BEGUN != 0 => (JobState::Printing, JobReason::None),
        None => (JobState::Queued, JobReason::None),
    }
}

/// Whether a job with this state, and so many pages printed, has certainly put nothing on paper and will not by itself.
pub(super) fn is_untouched(job: u32, pages_printed: u32) -> bool {
    job & JOB_PAUSED != 0 && job & (JOB_BEGUN | JOB_PRINTED) == 0 && pages_printed == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(choices: &[Choice]) -> Vec<(&str, u16)> {
        choices.iter().map(|(word, number)| (word.as_str(), *number)).collect()
    }

    #[test]
    fn papers_are_named_by_their_size_the_default_first() {
        let paper = |number, name: &str, width, height| (number, name.to_owned(), width, height);
        let all = [
            paper(1, "Letter", 2159, 2794),
            paper(9, "A4", 2100, 2970),
            paper(10, "A4 klein", 2100, 2970),
            paper(256, "Benutzerdefiniert", 2000, 2000),
            paper(300, "Visitenkarte Büro \u{7}", 850, 555),
            paper(301, "", 1000, 2000),
            paper(302, "kaputt", 0, 2000),
        ];
        let expected = [
            ("iso_a4_210x297mm", 9),
            ("na_letter_8.5x11in", 1),
            ("custom_visitenkarte-b-ro_85x55.5mm", 300),
            ("custom_size_100x200mm", 301),
        ];
        assert_eq!(words(&papers(&all, Some(9))), expected);
        assert_eq!(words(&papers(&all, None))[0], ("na_letter_8.5x11in", 1));
        assert_eq!(words(&papers(&all, Some(77)))[0], ("na_letter_8.5x11in", 1));
        let many: Vec<_> =
            (0..500u16).map(|n| paper(1000 + n, &"ä x".repeat(40), 1000 + 10 * u32::from(n), 700)).collect();
        let many = papers(&many, None);
        assert!(many.len() == MEDIA_MAX && many.iter().all(|(word, _)| is_keyword(word)), "{many:?}");
    }

    #[test]
    fn trays_have_ipps_names_or_their_own() {
        let tray = |number, name: &str| (number, name.to_owned());
        let all = [
            tray(15, "Automatisch auswählen"),
            tray(7, "Auto"),
            tray(1, "Oben"),
            tray(257, "Fach 2"),
            tray(258, "Kassette 2"),
            tray(259, "Großraum; rm -rf"),
            tray(260, "\u{1}"),
        ];
        let expected = [("auto", 7), ("top", 1), ("tray-2", 257), ("gro-raum-rm-rf", 259)];
        assert_eq!(words(&trays(&all)), expected);
    }

    #[test]
    fn options_become_what_windows_is_to_set() {
        let papers = [("iso_a4_210x297mm".to_owned(), 9)];
        let trays = [("tray-2".to_owned(), 257)];
        let plain = JobOptions::default();
        let wishes = |options: &JobOptions| Wishes::new(options, &papers, &trays, 99);
        assert_eq!(wishes(&plain), Wishes { copies: 1, ..Wishes::default() });
        let all = JobOptions {
            copies: 3,
            sides: Sides::ShortEdge,
            color: ColorMode::Monochrome,
            media: "iso_a4_210x297mm".into(),
            source: "tray-2".into(),
            ..JobOptions::default()
        };
        let (paper, tray, duplex, color) = (Some(9), Some(257), Some(3), Some(1));
        assert_eq!(wishes(&all), Wishes { paper, paper_size: None, tray, duplex, color, copies: 3 });
        let own = wishes(&JobOptions { media: "custom_x_100.5x200mm".into(), copies: 100, ..plain.clone() });
        assert_eq!((own.paper, own.paper_size, own.copies), (Some(256), Some((1005, 2000)), 1));
        let unknown = wishes(&JobOptions { media: "x_9999x9999mm".into(), source: "tray-9".into(), ..plain });
        assert_eq!(unknown, Wishes { copies: 1, ..Wishes::default() });
    }

    #[test]
    fn a_job_is_done_only_where_windows_says_that_it_is_printed() {
        for (job, printer, attributes, expected) in [
            (0, 0, 0, (JobState::Queued, JobReason::None)),
            (0x8, 0, 0, (JobState::Queued, JobReason::None)),
            (0x10, 0, 0, (JobState::Printing, JobReason::None)),
            (0x1000, 0, 0, (JobState::Printing, JobReason::None)),
            (0x80, 0, 0, (JobState::Done, JobReason::None)),
            (0x80 | 0x4, 0x10, 0, (JobState::Done, JobReason::None)),
            (0x80 | 0x2000, 0, 0, (JobState::Done, JobReason::None)),
            (0x2000, 0, 0, (JobState::Queued, JobReason::None)),
            (0x10 | 0x4, 0, 0, (JobState::Canceled, JobReason::User)),
            (0x100, 0, 0, (JobState::Canceled, JobReason::User)),
            (0x40 | 0x2, 0, 0, (JobState::Stopped, JobReason::MediaEmpty)),
            (0x10, 0x8, 0, (JobState::Stopped, JobReason::MediaJam)),
            (0x10, 0x40_0000, 0, (JobState::Stopped, JobReason::CoverOpen)),
            (0x10, 0x4_0000, 0, (JobState::Stopped, JobReason::MarkerEmpty)),
            // Toner is only low.
            (0x10, 0x2_0000, 0, (JobState::Printing, JobReason::None)),
            (0, 0x80, 0, (JobState::Stopped, JobReason::Offline)),
            (0, 0, 0x400, (JobState::Stopped, JobReason::Offline)),
            (0x20, 0, 0, (JobState::Stopped, JobReason::Offline)),
            (0x1, 0, 0, (JobState::Stopped, JobReason::Other)),
            (0x400, 0, 0, (JobState::Stopped, JobReason::Other)),
            (0, 0x1, 0, (JobState::Stopped, JobReason::Other)),
        ] {
            assert_eq!(job_state(job, printer, attributes), expected, "{job:x} {printer:x} {attributes:x}");
        }
    }

    #[test]
    fn only_a_paused_job_without_a_page_is_untouched() {
        for (job, pages, untouched) in [
            (0x1, 0, true),
            (0x1 | 0x8, 0, true),
            (0x8, 0, false),
            (0x1, 1, false),
            (0x1 | 0x10, 0, false),
            (0x1 | 0x80, 0, false),
        ] {
            assert_eq!(is_untouched(job, pages), untouched, "{job:x} {pages}");
        }
    }

    #[test]
    fn what_writes_files_is_no_printer() {
        for (attributes, port, expected) in [
            (0, "USB001", true),
            (0, "192.168.0.9", true),
            (0, "CUPS:buero", true),
            (0, "PORTPROMPT:", false),
            (0, "FILE:", false),
            (0, "nul:", false),
            (0x4000, "USB001", false),
            (0, "SHRFAX:", false),
        ] {
            assert_eq!(is_printer(attributes, port), expected, "{port}");
        }
    }

    #[test]
    fn single_bits_of_printers_and_jobs() {
        assert_eq!([0, 0x2, 0x40].map(is_direct), [false, true, false]);
        assert_eq!([0, 0x80, 0x2000, 0x2080].map(is_kept), [false, false, true, true]);
        // A printer that is off line, or paused, takes jobs.
        assert_eq!([0, 0x80, 0x1, 0x4].map(is_ready), [true, true, true, false]);
    }

    #[test]
    fn names_are_bounded_and_without_control_characters() {
        assert_eq!(shown_name("Kyocera\u{1b}[31m Büro 2\n"), "Kyocera[31m Büro 2");
        assert!(shown_name(&"ä".repeat(900)).len() <= NAME_BYTES_MAX);
        let name = document_name(&"ä\n".repeat(900), JobId([0xab; 16]));
        assert!(name.chars().count() < 120 && name.contains(&JobId([0xab; 16]).to_string()), "{name}");
    }
}
