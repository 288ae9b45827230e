//! What stands around printing: the judge of IPP printers, many and large jobs, a print system between viewer and printer,
//! printers that refuse, vanish or do not answer, and what is left on disk.

use std::collections::HashSet;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicU64;

use kachel::io::linux::cups::Cups;
use rustix::process::Signal;

use crate::print::{Office, PATIENCE, PROGRAMS, Way};
use crate::seat::has;
use crate::support::printer::{IppPrinter, Sheet, pdf};
use crate::support::process::{Processes, forget_peak, peak_memory};
use crate::support::wait::wait_until;

/// The test files that CUPS brings.
const TESTS: &str = "/usr/share/cups/ipptool";

/// What IPP Everywhere asks for and the session's printer does not have, each with its reason.
const NOT_EVERYWHERE: &[(&str, &str)] = &[
    ("document-format-supported WITH-VALUE \"image/jpeg\"", RASTER),
    ("document-format-supported WITH-VALUE \"image/pwg-raster\"", RASTER),
    ("printer-supply", SUPPLIES),
    ("printer-supply-description", SUPPLIES),
    ("pwg-raster-document-resolution-supported", RASTER),
    ("pwg-raster-document-sheet-back", RASTER),
    ("pwg-raster-document-type-supported", RASTER),
];
const RASTER: &str =
    "only PDF is taken: the session's CUPS makes PDF of everything else, and a picture of a page is its largest form";
const SUPPLIES: &str = "how much toner is left stays at the desk";

#[test]
fn the_sessions_printer_passes_the_tests_that_cups_brings() {
    if !has(PROGRAMS) {
        return;
    }
    let mut office = Office::new(&[]);
    office.queue();
    let key = office.printing().expect("status")["printers"][0]["key"].as_str().expect("a key").to_owned();
    let devices = office.run("lpstat", &["-v"]);
    let uri = devices.split_whitespace().find(|word| word.contains(&key)).expect("a device").to_owned();
    let path = office.document("a.pdf", pdf(10_000, "Kachel-Marke-5"));
    let judge = |version: &str, test: &str| -> Vec<String> {
        let mut command = Command::new("ipptool");
        command.args(["-tI", "-V", version, "-f", &path, &uri]).arg(Path::new(TESTS).join(test));
        let output = command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).output().expect("ipptool runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let passed = said.lines().filter(|line| line.ends_with("[PASS]")).count();
        assert!(passed > 0, "{test} tested nothing: {said}\n{}", String::from_utf8_lossy(&output.stderr));
        eprintln!("{test}: {passed} passed");
        let is_fault = |line: &&str| line.ends_with("[FAIL]") || line.trim_start().starts_with("EXPECTED:");
        said.lines().filter(is_fault).map(|line| line.trim().to_owned()).collect()
    };
    assert_eq!(judge("1.1", "ipp-1.1.test"), Vec::<String>::new());
    assert_eq!(judge("2.0", "ipp-2.0.test"), Vec::<String>::new());
    let faults = judge("2.0", "ipp-everywhere.test");
    eprintln!("{faults:#?}");
    let missing: Vec<&String> = faults.iter().filter(|line| line.starts_with("EXPECTED:")).collect();
    assert_eq!(missing.len(), NOT_EVERYWHERE.len(), "{faults:#?}");
    for (fault, (attribute, reason)) in missing.iter().zip(NOT_EVERYWHERE) {
        assert!(fault.contains(attribute), "{fault} instead of {attribute} ({reason})");
    }
}

#[test]
fn ten_programs_that_print_at_once_get_ten_different_sheets() {
    if !has(PROGRAMS) {
        return;
    }
    let office = Office::new(&[]);
    let queue = office.queue();
    let documents: Vec<Vec<u8>> = (0..10).map(|n| pdf(50_000 + 10_000 * n, &format!("Kachel-Marke-{n}"))).collect();
    let programs: Vec<_> = documents
        .iter()
        .enumerate()
        .map(|(n, document)| {
            let path = office.document(&format!("{n}.pdf"), document);
            let mut command = Command::new("lp");
            command.args(["-d", &queue, &path]).env("CUPS_SERVER", office.cups()).stdout(Stdio::null());
            command.spawn().expect("lp runs")
        })
        .collect();
    for mut program in programs {
        assert!(program.wait().expect("it ends").success());
    }
    office.wait_states("ten jobs", &["done"; 10]);
    let mut printed: Vec<Vec<u8>> = office.printer.sheets().into_iter().map(|sheet| sheet.document).collect();
    printed.sort_unstable_by_key(Vec::len);
    assert!(printed == documents, "not each once: {:?}", printed.iter().map(Vec::len).collect::<Vec<_>>());
}

/// A print system at the viewer's side, as a desk has one.
pub(crate) struct PrintSystem {
    pub(crate) cups: Cups,
    programs: Processes,
}

impl PrintSystem {
    pub(crate) fn start(printer: &IppPrinter) -> PrintSystem {
        let mut programs = Processes::new("cups");
        let cups = Cups::adopt_or_start(programs.folder(), &AtomicU64::default()).expect("a print server");
        let socket = Cups::socket(programs.folder());
        write_late(&cups, &socket, &mut programs);
        let mut command = Command::new("lpadmin");
        command.args(["-p", "Buero", "-E", "-m", "everywhere", "-v", &printer.uri()]).env("CUPS_SERVER", &socket);
        programs.run("lpadmin", &mut command);
        PrintSystem { cups, programs }
    }

    pub(crate) fn way(&self) -> Way {
        let server = Cups::socket(self.programs.folder()).display().to_string();
        Way { arguments: Some(Vec::new()), environment: vec![("CUPS_SERVER".into(), server)] }
    }

    fn run(&mut self, program: &str, arguments: &[&str]) -> String {
        let socket = Cups::socket(self.programs.folder());
        let mut command = Command::new(program);
        command.args(arguments).env("CUPS_SERVER", socket).env("LC_ALL", "C.UTF-8");
        self.programs.run(program, &mut command)
    }
}

/// Starts a print server anew that writes its files half a minute late, as a desk's does. Where it writes at once, cupsd 2.4
/// crashes now and then beside its own thread that asks a printer without a driver; a session's queues have none of that kind.
fn write_late(cups: &Cups, socket: &Path, programs: &mut Processes) {
    let process = cups.process().expect("it runs");
    let line = fs::read_to_string(format!("/proc/{}/cmdline", process.pid)).expect("it runs");
    let words: Vec<&str> = line.split_terminator('\0').collect();
    let file = words.iter().skip_while(|word| **word != "-c").nth(1).expect("its configuration");
    let text = fs::read_to_string(file).expect("a configuration");
    let late = text.replace("DirtyCleanInterval 0\n", "");
    assert_ne!(text, late);
    fs::write(file, late).expect("ours");
    process.stop(PATIENCE);
    let _ = fs::remove_file(socket);
    programs.spawn("cupsd", Command::new(words[0]).args(&words[1..]).env_remove("CUPS_SERVER"));
    wait_until(PATIENCE, "it listens", || UnixStream::connect(socket).is_ok().then_some(()));
}

impl Drop for PrintSystem {
    fn drop(&mut self) {
        self.cups.stop();
    }
}

#[test]
fn a_print_system_between_prints_the_same_page_and_what_it_refuses_or_loses_is_told() {
    if !has(PROGRAMS) || !has(&["pdftotext", "pdftoppm"]) {
        return;
    }
    let mut system = None;
    let mut office = Office::with(&[], |printer| system.insert(PrintSystem::start(printer)).way());
    let mut system = system.expect("it was started");
    let queue = office.queue();
    let path = office.document("a.pdf", pdf(10_000, "Kachel-Marke-6"));
    office.run("lp", &["-d", &queue, "-n", "2", "-o", "media=A4", "-o", "sides=two-sided-long-edge", &path]);
    office.wait_states("through a print system", &["done"]);
    let sheets = office.printer.sheets();
    assert_eq!(sheets.len(), 1, "{}", office.printer.log());
    assert_eq!(sheets[0].option("sides"), Some("two-sided-long-edge"), "{:?}", sheets[0].options);
    let printed = office.programs.folder().join("printed.pdf");
    fs::write(&printed, &sheets[0].document).expect("ours");
    let text = office.run("pdftotext", &[&printed.display().to_string(), "-"]);
    assert!(text.contains("Kachel-Marke-6"), "{text}");
    // The file is another one, the page is the same.
    let mut page = |pdf: &str| {
        let to = office.programs.folder().join("page").display().to_string();
        office.run("pdftoppm", &["-r", "72", "-gray", "-singlefile", pdf, &to]);
        fs::read(format!("{to}.pgm")).expect("a page")
    };
    let (asked, came) = (page(&path), page(&printed.display().to_string()));
    let ((size, asked), (size_that_came, came)) = (pgm(&asked), pgm(&came));
    // A4 is no whole number of points: what rounds a size moves the page by less than a pixel.
    assert!(size.0.abs_diff(size_that_came.0) <= 1 && size.1.abs_diff(size_that_came.1) <= 1, "{size_that_came:?}");
    let (asked, came) = (ink(size.0, asked), ink(size_that_came.0, came));
    assert!(asked.len() > 1_000, "a page with text");
    for (from, to) in [(&asked, &came), (&came, &asked)] {
        let is_near = |(x, y): &(usize, usize)| (x - 1..=x + 1).any(|x| (y - 1..=y + 1).any(|y| to.contains(&(x, y))));
        let alone = from.iter().filter(|at| !is_near(at)).count();
        assert_eq!(alone, 0, "pixels of {} with no ink beside them on the other page", from.len());
    }

    // It refuses.
    system.run("cupsreject", &["Buero"]);
    office.run("lp", &["-d", &queue, &path]);
    office.wait_states("refused", &["done", "failed"]);
    assert_eq!(office.printing().expect("status")["jobs"][1]["reason"], "refused");
    system.run("cupsaccept", &["Buero"]);

    // Its printer does not answer.
    office.printer.switch_off();
    office.run("lp", &["-d", &queue, &path]);
    office.wait_states("the printer is off", &["done", "failed", "stopped"]);
    assert_eq!(office.printing().expect("status")["jobs"][2]["reason"], "offline");
    wait_until(PATIENCE, "the session's queue says so", || {
        office.run("lpstat", &["-l", "-p", &queue]).contains("offline").then_some(())
    });

    // Its queue is deleted, and the job in it: CUPS says itself that it is not printed.
    system.run("lpadmin", &["-x", "Buero"]);
    office.wait_states("deleted", &["done", "failed", "canceled"]);
    wait_until(PATIENCE, "a printer without a job is no longer offered", || {
        let printers = office.printing()?["printers"].as_array().cloned()?;
        printers.iter().all(|printer| printer["present"] == false).then_some(())
    });
}

#[test]
fn a_printer_that_is_off_gets_its_job_once_it_is_on_again() {
    if !has(PROGRAMS) {
        return;
    }
    let mut office = Office::new(&[]);
    let queue = office.queue();
    let document = pdf(10_000, "Kachel-Marke-8");
    let path = office.document("a.pdf", &document);
    office.printer.switch_off();
    office.run("lp", &["-d", &queue, &path]);
    office.wait_states("off", &["stopped"]);
    assert_eq!(office.printing().expect("status")["jobs"][0]["reason"], "noprintsystem");
    office.printer.switch_on();
    office.wait_states("on again", &["done"]);
    let sheets = office.printer.sheets();
    assert!(sheets.len() == 1 && sheets[0].document == document, "{}", office.printer.log());
}

#[test]
fn several_documents_of_one_job_all_come_out() {
    if !has(PROGRAMS) {
        return;
    }
    let mut office = Office::new(&[]);
    let queue = office.queue();
    let documents: Vec<Vec<u8>> = (0..3).map(|n| pdf(10_000 + 5_000 * n, &format!("Kachel-Marke-9-{n}"))).collect();
    let named = |(n, document): (usize, &Vec<u8>)| office.document(&format!("{n}.pdf"), document);
    let files: Vec<String> = documents.iter().enumerate().map(named).collect();
    // One of them twice.
    office.run("lp", &["-d", &queue, "-t", "all", &files[0], &files[1], &files[0], &files[2]]);
    office.wait_states("four documents", &["done"; 4]);
    let mut printed: Vec<Vec<u8>> = office.printer.sheets().into_iter().map(|sheet| sheet.document).collect();
    printed.sort_unstable_by_key(Vec::len);
    let expected = [&documents[0], &documents[0], &documents[1], &documents[2]];
    assert!(
        printed.iter().eq(expected),
        "not each as often as it was named: {:?}",
        printed.iter().map(Vec::len).collect::<Vec<_>>()
    );
}

const A4: &str = "iso_a4_210x297mm";
const LEGAL: &str = "na_legal_8.5x14in";

/// A paper as `media-size` has it.
fn size_of(paper: &str) -> &str {
    match paper {
        A4 => "x-dimension=21000 y-dimension=29700",
        LEGAL => "x-dimension=21590 y-dimension=35560",
        other => panic!("{other} is none of this test's"),
    }
}

/// How this printer was told to take a sheet of paper out of which tray.
fn paper_of(sheet: &Sheet) -> (&str, &str) {
    (sheet.option("media").unwrap_or_default(), sheet.option("media-col").unwrap_or_default())
}

#[test]
fn paper_and_tray_arrive_at_the_printer_also_through_a_print_system() {
    if !has(PROGRAMS) {
        return;
    }
    for is_between in [false, true] {
        let mut system = None;
        let mut office = Office::with(&[], |printer| {
            if is_between { system.insert(PrintSystem::start(printer)).way() } else { Way::default() }
        });
        let queue = office.queue();
        let path = office.document("a.pdf", pdf(10_000, "Kachel-Marke-12"));
        let choices: [(&[&str], &str, &str); 3] = [
            (&["PageSize=A4"], A4, ""),
            (&["PageSize=A4", "InputSlot=manual"], A4, "manual"),
            (&["media=legal,by-pass-tray"], LEGAL, "by-pass-tray"),
        ];
        let mut before = 0;
        for (options, paper, tray) in choices {
            let mut arguments = vec!["-d", queue.as_str()];
            arguments.extend(options.iter().flat_map(|option| ["-o", option]));
            arguments.push(&path);
            office.run("lp", &arguments);
            before += 1;
            office.wait_states("paper", &vec!["done"; before]);
            let sheets = office.printer.sheets();
            assert_eq!(sheets.len(), before, "{}", office.printer.log());
            // The newest is the one with the highest number.
            let newest = sheets.iter().max_by_key(|sheet| sheet.option("job-id").and_then(|id| id.parse::<u32>().ok()));
            let (name, collection) = paper_of(newest.expect("there is one"));
            assert!(
                name == paper || collection.contains(&format!("media-size={{{}}}", size_of(paper))),
                "{options:?}: {name} {collection}"
            );
            assert!(
                tray.is_empty() || collection.contains(&format!("media-source={tray}")),
                "{options:?}: {collection}"
            );
        }
    }
}

#[test]
fn the_desks_default_printer_is_the_sessions_and_changes_with_it() {
    if !has(PROGRAMS) {
        return;
    }
    let mut system = None;
    let mut office = Office::with(&[], |printer| {
        let system = system.insert(PrintSystem::start(printer));
        system.run("lpadmin", &["-p", "Zweiter", "-E", "-m", "everywhere", "-v", &printer.uri()]);
        system.run("lpadmin", &["-d", "Zweiter"]);
        system.way()
    });
    let mut system = system.expect("it was started");
    let wait_default = |office: &mut Office, name: &str| {
        wait_until(PATIENCE, "the default follows", || {
            // Whoever wants to print moves the mouse: printers are looked for only while somebody does something.
            office.nudge();
            office.run("lpstat", &["-d"]).trim_end().ends_with(&format!(": {name}")).then_some(())
        });
    };
    wait_default(&mut office, "Zweiter");
    assert_eq!(office.printing().expect("status")["printers"].as_array().map(Vec::len), Some(2));
    system.run("lpadmin", &["-d", "Buero"]);
    wait_default(&mut office, "Buero");
    // One that is plugged in appears, one that is taken away goes.
    system.run("lpadmin", &["-p", "Dritter", "-E", "-m", "everywhere", "-v", &office.printer.uri()]);
    system.run("lpadmin", &["-x", "Zweiter"]);
    wait_until(PATIENCE, "the printers follow", || {
        office.nudge();
        let mut queues: Vec<String> = office.run("lpstat", &["-e"]).lines().map(str::to_owned).collect();
        queues.sort_unstable();
        (queues == ["Buero", "Dritter"]).then_some(())
    });
}

#[test]
fn an_office_program_prints_its_letter() {
    if !has(PROGRAMS) || !has(&["soffice", "pdftotext"]) {
        return;
    }
    let mut office = Office::new(&[]);
    let queue = office.queue();
    let folder = office.programs.folder().to_owned();
    let path = office.document("letter.txt", "Größe, Übermaß, Öl: 12 €\n");
    let profile = format!("-env:UserInstallation=file://{}", folder.join("profile").display());
    office.run("soffice", &[&profile, "--headless", "--pt", &queue, &path]);
    office.wait_states("a letter", &["done"]);
    let sheets = office.printer.sheets();
    assert_eq!(sheets.len(), 1, "{}", office.printer.log());
    let printed = folder.join("printed.pdf");
    fs::write(&printed, &sheets[0].document).expect("ours");
    let text = office.run("pdftotext", &[&printed.display().to_string(), "-"]);
    assert!(text.contains("Größe, Übermaß, Öl: 12 €"), "the printer printed {text:?}");
}

/// A page of A4 in grey at 72 dpi, as its rows: white, with a black bar across the third hundred of them.
fn bar_code() -> (usize, Vec<u8>) {
    let (width, height) = (595, 842);
    (width, (0..height).map(|row| if (200..300).contains(&row) { 0 } else { 255 }).collect())
}

/// Rows of one grey each, in the run lengths that PWG 5102.4 and URF share.
fn packed(width: usize, rows: &[u8]) -> Vec<u8> {
    let row = |gray: u8| {
        let runs = (0..width).step_by(128).map(move |from| [(128.min(width - from) - 1) as u8, gray]);
        // The row is there once.
        std::iter::once(0).chain(runs.flatten())
    };
    rows.iter().flat_map(|gray| row(*gray)).collect()
}

/// The page as PWG raster (PWG 5102.4).
fn pwg_raster() -> Vec<u8> {
    let (width, rows) = bar_code();
    let mut head = [0; 1796];
    head[..9].copy_from_slice(b"PwgRaster");
    let mut number = |at: usize, value: usize| head[at..at + 4].copy_from_slice(&(value as u32).to_be_bytes());
    // Resolution, copies, page size in points, width, height, bits of a colour and of a pixel, bytes of a row, grey.
    for (at, value) in [(276, 72), (280, 72), (340, 1), (352, 595), (356, 842), (372, width), (376, rows.len())]
        .into_iter()
        .chain([(384, 8), (388, 8), (392, width), (400, 18), (420, 1), (452, 1)])
    {
        number(at, value);
    }
    [b"RaS2", &head[..], &packed(width, &rows)].concat()
}

/// The page as Apple raster.
fn urf() -> Vec<u8> {
    let (width, rows) = bar_code();
    let mut head = [0; 32];
    // Bits of a pixel, grey, one side.
    head[..3].copy_from_slice(&[8, 0, 1]);
    for (at, value) in [(12, width), (16, rows.len()), (20, 72)] {
        head[at..at + 4].copy_from_slice(&(value as u32).to_be_bytes());
    }
    [b"UNIRAST\0\0\0\0\x01", &head[..], &packed(width, &rows)].concat()
}

#[test]
fn a_program_that_insists_on_raster_prints_the_same_page() {
    if !has(PROGRAMS) || !has(&["pdftoppm"]) {
        return;
    }
    let mut office = Office::new(&[]);
    let queue = office.queue();
    let (_, rows) = bar_code();
    for (index, (kind, raster)) in [("image/pwg-raster", pwg_raster()), ("image/urf", urf())].into_iter().enumerate() {
        let path = office.document("page", raster);
        office.run("lp", &["-d", &queue, "-o", &format!("document-format={kind}"), &path]);
        office.wait_states(kind, &vec!["done"; index + 1]);
        let sheets = office.printer.sheets();
        assert_eq!(sheets.len(), index + 1, "{}", office.printer.log());
        // In no order, but they all show the same.
        for sheet in sheets {
            let printed = office.programs.folder().join("printed.pdf");
            fs::write(&printed, &sheet.document).expect("ours");
            let page = office.programs.folder().join("printed").display().to_string();
            office.run("pdftoppm", &["-r", "72", "-gray", "-singlefile", &printed.display().to_string(), &page]);
            let gray = fs::read(printed.with_extension("pgm")).expect("a page");
            let (size, pixels) = pgm(&gray);
            assert!(size.1.abs_diff(rows.len()) <= 1, "{kind}: {size:?}");
            // The middle of each row that is looked at; none of them is at an edge, where whoever converts may round.
            for row in [10, 190, 210, 250, 290, 310, 800] {
                let shown = pixels[row * size.0 + size.0 / 2];
                assert!(shown.abs_diff(rows[row]) < 8, "{kind}: row {row} is {shown} instead of {}", rows[row]);
            }
        }
    }
}

/// Width and height, and the rows of a binary PGM.
fn pgm(bytes: &[u8]) -> ((usize, usize), &[u8]) {
    let words: Vec<&str> =
        bytes.splitn(4, |byte| byte.is_ascii_whitespace()).take(3).flat_map(std::str::from_utf8).collect();
    let number = |index: usize| words.get(index).and_then(|word| word.parse::<usize>().ok()).expect("a PGM");
    let size = (number(1), number(2));
    (size, &bytes[bytes.len() - size.0 * size.1..])
}

/// The dark pixels of a grey picture, but for its edge.
fn ink(width: usize, gray: &[u8]) -> HashSet<(usize, usize)> {
    let at = |index: usize| (index % width, index / width);
    gray.iter()
        .enumerate()
        .filter(|(_, gray)| **gray < 128)
        .map(|(index, _)| at(index))
        .filter(|at| at.0 > 0 && at.1 > 0)
        .collect()
}

/// Files below a folder that hold these bytes.
fn holding(folder: &Path, marker: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("it has one"));
        if kind.is_dir() {
            found.extend(holding(&path, marker));
        } else if kind.is_file()
            && fs::read(&path).is_ok_and(|bytes| bytes.windows(marker.len()).any(|window| window == marker))
        {
            found.push(path);
        }
    }
    found
}

#[test]
fn nothing_of_a_document_is_left_on_the_desks_disk_not_even_by_a_kill() {
    if !has(PROGRAMS) {
        return;
    }
    // All that the viewer may write lies below one folder.
    let disk = Processes::new("disk");
    let at = |name: &str| disk.folder().join(name).display().to_string();
    for name in ["tmp", "home"] {
        fs::create_dir(disk.folder().join(name)).expect("ours");
    }
    let environment = [("TMPDIR", "tmp"), ("HOME", "home"), ("XDG_CACHE_HOME", "home"), ("XDG_RUNTIME_DIR", "tmp")];
    let environment = environment.map(|(name, place)| (name.to_owned(), at(place))).to_vec();
    let mut office = Office::with(&[], |_| Way { arguments: None, environment });
    let queue = office.queue();
    let marker = format!("Kachel-Marke-{}", std::process::id());
    // So large that it is not kept in memory.
    let path = office.document("secret.pdf", pdf(40 << 20, &marker));
    let marker = marker.as_bytes();
    office.printer.set_paper(false);
    office.run("lp", &["-d", &queue, "-t", "a title", &path]);
    let confirmed = |office: &Office| office.printing()?["jobs"][0]["confirmed"].as_u64();
    wait_until(PATIENCE, "more than memory holds has come", || (confirmed(&office)? > 8 << 20).then_some(()));
    let desk = |office: &Office| {
        let state = office.programs.folder().join("viewer-state");
        [holding(disk.folder(), marker), holding(&state, marker)].concat()
    };
    assert_eq!(desk(&office), Vec::<PathBuf>::new(), "while it comes");
    let mut viewer = office.viewer.take().expect("it runs");
    viewer.processes().end("kachel", Signal::KILL);
    drop(viewer);
    assert_eq!(desk(&office), Vec::<PathBuf>::new(), "after a kill");
    office.start_viewer();
    office.nudge();
    wait_until(2 * PATIENCE, "it is handed over", || {
        office.nudge();
        (office.states().last()? == "stopped").then_some(())
    });
    assert_eq!(desk(&office), Vec::<PathBuf>::new(), "after the hand-over");
    office.printer.set_paper(true);
    office.wait_states("printed", &["done"]);
    assert_eq!(desk(&office), Vec::<PathBuf>::new(), "in the end");
    // The printer has it, so the search finds what there is; the session has nothing of it either.
    assert!(office.printer.sheets()[0].document.windows(marker.len()).any(|window| window == marker));
    let state = office.host.state().to_owned();
    wait_until(PATIENCE, "the session has nothing of it, its print server included", || {
        let cups = fs::read_dir("/run").into_iter().flatten().flatten().map(|entry| entry.path());
        let cups = cups.filter(|path| path.to_string_lossy().contains("/kachel-cups-"));
        cups.chain([state.clone()]).all(|folder| holding(&folder, marker).is_empty()).then_some(())
    });
}

#[test]
fn a_large_job_takes_no_memory_to_speak_of_anywhere() {
    if !has(PROGRAMS) {
        return;
    }
    let mut office = Office::new(&[]);
    let queue = office.queue();
    // `./dev bench print` takes 300 MB.
    let document = pdf(64 << 20, "Kachel-Marke-7");
    let path = office.document("large.pdf", &document);
    let mut pids = office.viewer.as_mut().expect("it runs").processes().pids();
    pids.extend(office.host.processes().pids());
    let name = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
    pids.retain(|pid| name(*pid).starts_with("kachel"));
    assert!(pids.len() >= 3, "viewer, front and session");
    // What they needed to start is no measure.
    pids.iter().for_each(|pid| forget_peak(*pid));
    let before: Vec<u64> = pids.iter().map(|pid| peak_memory(*pid)).collect();
    office.run("lp", &["-d", &queue, &path]);
    office.wait_states("a large job", &["done"]);
    assert!(office.printer.sheets()[0].document == document);
    for (pid, before) in pids.iter().zip(before) {
        let more = peak_memory(*pid).saturating_sub(before);
        eprintln!("{}: {} kB more than the {} kB before", name(*pid), more >> 10, before >> 10);
        // The viewer keeps 4 MiB of a document in memory before it takes a file.
        assert!(more < 12 << 20, "{} took {more} bytes more", name(*pid));
    }
}
