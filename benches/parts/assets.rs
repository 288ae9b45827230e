//! The documents that the programs open, made from a seed: photos, a letter, a report as PDF, a table, a web page.
//! The photos are rendered landscapes with fine texture in every pixel, harder to pack than most real ones.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kachel::geom::Size;

use crate::support::picture::Picture;
use crate::support::process::Processes;

/// The folder with everything that the scenarios open.
pub struct Assets {
    folder: PathBuf,
}

impl Assets {
    /// Makes what is not in `folder` yet; `progress` is told each step.
    ///
    /// # Panics
    /// When ImageMagick or LibreOffice is missing or fails.
    pub fn make(folder: &Path, progress: impl Fn(&str)) -> Self {
        fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut processes = Processes::new("assets");
        let mut random = Random::new(7);
        for index in 0..PHOTOS {
            let jpeg = folder.join(format!("photo{index}.jpg"));
            if !jpeg.exists() {
                progress(&format!("rendering photo {} of {PHOTOS}", index + 1));
                let size = if index == 0 { Size { w: 1920, h: 1080 } } else { Size { w: 960, h: 640 } };
                let ppm = folder.join("photo.ppm");
                landscape(size, u64::from(index) + 1).save_ppm(&ppm).expect("the folder of the assets is ours");
                // Written beside and renamed, so that an interrupted run leaves no half photo.
                let half = folder.join("half.jpg");
                processes.run("convert", Command::new("convert").arg(&ppm).args(["-quality", "90"]).arg(&half));
                fs::rename(&half, &jpeg).expect("the folder of the assets is ours");
            }
        }
        let write =
            |name: &str, text: String| fs::write(folder.join(name), text).expect("the folder of the assets is ours");
        write("letter.fodt", letter(&mut random));
        write("page.html", web_page(&mut random));
        write("budget.fods", table(&mut random));
        write("book.fodt", book(&mut random));
        write("article.html", article(&mut random));
        let report = folder.join("report.pdf");
        if !report.exists() {
            progress("printing the report to PDF with LibreOffice");
            write("report.fodt", report_text(&mut random));
            let profile = format!("-env:UserInstallation=file://{}", processes.folder().join("office").display());
            let mut soffice = Command::new("soffice");
            soffice.arg(profile).args(["--headless", "--convert-to", "pdf", "--outdir"]).arg(folder);
            soffice.arg(folder.join("report.fodt")).env("HOME", processes.folder());
            processes.run("soffice", &mut soffice);
        }
        Self { folder: folder.to_owned() }
    }

    /// The path of one of them.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Photo 0 is as large as the screen, the others are for pages.
const PHOTOS: u32 = 6;

/// A stretch of hills under a sky, from a seed; no pixel has exactly its neighbour's colour for long.
pub fn landscape(size: Size, seed: u64) -> Picture {
    let mut random = Random::new(seed);
    let octaves: Vec<Lattice> = (0..6).map(|_| Lattice::new(&mut random)).collect();
    let field = |x: f32, y: f32, from: usize| -> f32 {
        let layers = octaves[from..].iter().enumerate();
        layers
            .map(|(index, lattice)| lattice.at(x * (1 << index) as f32, y * (1 << index) as f32) / (1 << index) as f32)
            .sum()
    };
    let (sky, ground) = (palette(random.next()), palette(random.next()));
    let mut pixels = Vec::with_capacity(size.area() as usize);
    let ridge: Vec<f32> = (0..size.w).map(|x| 0.35 + 0.22 * field(x as f32 / 420.0, 3.7, 0)).collect();
    for y in 0..size.h {
        let v = y as f32 / size.h as f32;
        for x in 0..size.w {
            let grain = random.next() as u8 as f32 / 255.0 - 0.5;
            let below = v - ridge[x as usize];
            let (base, light) = if below < 0.0 {
                (sky, 0.75 - 0.35 * v + 0.12 * field(x as f32 / 300.0, y as f32 / 90.0, 0))
            } else {
                let texture = field(x as f32 / 70.0, y as f32 / (20.0 + 90.0 * below), 1);
                (ground, 0.42 + 0.3 * texture - 0.15 * below + 0.05 * field(x as f32 / 3.0, y as f32 / 3.0, 4))
            };
            let channel = |value: f32| ((value * light * 255.0 + grain * 7.0).clamp(0.0, 255.0)) as u32;
            pixels.push(channel(base[0]) << 16 | channel(base[1]) << 8 | channel(base[2]));
        }
    }
    Picture::new(size, pixels)
}

fn palette(value: u64) -> [f32; 3] {
    [0, 16, 32].map(|shift| 0.7 + 0.6 * ((value >> shift & 0xffff) as f32 / 65535.0))
}

/// Smooth noise on a lattice of 256 x 256 random values, -0.5 to 0.5.
struct Lattice(Vec<f32>);

impl Lattice {
    fn new(random: &mut Random) -> Self {
        Self((0..256 * 256).map(|_| (random.next() & 0xffff) as f32 / 65535.0 - 0.5).collect())
    }

    fn at(&self, x: f32, y: f32) -> f32 {
        let (column, row) = (x.floor(), y.floor());
        let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
        let (u, v) = (smooth(x - column), smooth(y - row));
        let value = |dx: usize, dy: usize| self.0[((row as usize + dy) & 255) * 256 + ((column as usize + dx) & 255)];
        let top = value(0, 0) + (value(1, 0) - value(0, 0)) * u;
        let bottom = value(0, 1) + (value(1, 1) - value(0, 1)) * u;
        top + (bottom - top) * v
    }
}

/// xorshift64*: the same documents on every machine.
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next value.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }
}

const SUBJECTS: &[&str] = &[
    "Der Ausschuss",
    "Das Schulamt",
    "Die Bücherei",
    "Der Bauhof",
    "Die Kämmerei",
    "Das Gartenamt",
    "Die Verwaltung",
    "Der Wasserverband",
    "Die Leitstelle",
    "Das Bürgerbüro",
];
const VERBS: &[&str] =
    &["prüft", "beschließt", "verschiebt", "begrüßt", "erörtert", "veröffentlicht", "fördert", "ergänzt"];
const OBJECTS: &[&str] = &[
    "den Entwurf",
    "die Öffnungszeiten",
    "das Gutachten",
    "die Straßenführung",
    "den Spielplatz",
    "die Gebühren",
    "das Verzeichnis",
    "die Fähre",
    "den Wochenmarkt",
    "die Beleuchtung",
];
const ENDINGS: &[&str] = &[
    "bis zum Herbst",
    "ohne Gegenstimme",
    "nach längerer Aussprache",
    "im nächsten Quartal",
    "für alle Ortsteile",
    "zum dritten Mal",
    "auf Wunsch der Anlieger",
    "wegen der Kälte",
];

fn sentence(random: &mut Random) -> String {
    let parts = [SUBJECTS, VERBS, OBJECTS, ENDINGS].map(|words| random.pick(words));
    parts.join(" ") + ". "
}

fn paragraph(random: &mut Random, sentences: u32) -> String {
    (0..sentences).map(|_| sentence(random)).collect()
}

fn text_document(body: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
  xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"
  xmlns:fo="urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0"
  xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0" xmlns:svg="urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0"
  xmlns:xlink="http://www.w3.org/1999/xlink" office:version="1.2" office:mimetype="application/vnd.oasis.opendocument.text">
<office:styles>
<style:default-style style:family="paragraph"><style:text-properties style:font-name="DejaVu Serif" fo:font-size="11pt"/></style:default-style>
<style:style style:name="Standard" style:family="paragraph"><style:paragraph-properties fo:margin-bottom="0.3cm"/></style:style>
<style:style style:name="Head" style:family="paragraph"><style:text-properties fo:font-size="17pt" fo:font-weight="bold"/></style:style>
</office:styles>
<office:body><office:text>{body}</office:text></office:body></office:document>
"#
    )
}

fn line(style: &str, text: &str) -> String {
    format!("<text:p text:style-name=\"{style}\">{text}</text:p>\n")
}

fn letter(random: &mut Random) -> String {
    let mut body = line("Head", "Gemeinde Ährenfeld") + &line("Standard", "Mühlenweg 8, 54321 Ährenfeld");
    for sentences in [3, 5, 4] {
        body += &line("Standard", &paragraph(random, sentences));
    }
    text_document(&(body + &line("Standard", "")))
}

fn report_text(random: &mut Random) -> String {
    let mut body = String::new();
    for chapter in 1..=12 {
        body += &line("Head", &format!("{chapter}. {}", sentence(random)));
        for _ in 0..5 {
            body += &line("Standard", &paragraph(random, 6));
        }
        if chapter % 2 == 1 {
            let _ = write!(
                body,
                "<text:p text:style-name=\"Standard\"><draw:frame draw:name=\"p{chapter}\" text:anchor-type=\"as-char\" \
                 svg:width=\"15cm\" svg:height=\"10cm\"><draw:image xlink:href=\"photo{}.jpg\" xlink:type=\"simple\"/>\
                 </draw:frame></text:p>",
                1 + chapter % (PHOTOS - 1)
            );
        }
        body += &line("Standard", &paragraph(random, 9));
    }
    text_document(&body)
}

/// Pages of nothing but text.
fn book(random: &mut Random) -> String {
    let mut body = String::new();
    for chapter in 1..=20 {
        body += &line("Head", &format!("{chapter}. {}", sentence(random)));
        for _ in 0..9 {
            let sentences = 3 + random.below(7) as u32;
            body += &line("Standard", &paragraph(random, sentences));
        }
    }
    text_document(&body)
}

/// A long web page of text, lists and tables.
fn article(random: &mut Random) -> String {
    let mut page = String::from(
        "<!doctype html><html lang=de><meta charset=utf-8><title>Ährenfeld</title><style>\
         body{margin:0 auto;max-width:1500px;font:17px/1.5 'DejaVu Serif',serif;color:#222;background:#fff}\
         a{color:#1a5fb4}code{font:14px 'DejaVu Sans Mono';background:#eee}h2{font-family:'DejaVu Sans'}\
         td,th{border:1px solid #bbb;padding:3px 12px;font:15px 'DejaVu Sans'}th{background:#e6ecf2}</style><h1>Chronik</h1>",
    );
    for index in 0..24_u32 {
        let _ = write!(page, "<h2>{}</h2><p>{}", sentence(random), paragraph(random, 7));
        let _ = write!(page, "<p><a href=#>{}</a>{}", sentence(random), paragraph(random, 9));
        match index % 3 {
            0 => {
                page += "<ul>";
                for _ in 0..6 {
                    let _ = write!(page, "<li>{} <code>{}</code>", sentence(random), random.pick(OBJECTS));
                }
                page += "</ul>";
            }
            1 => {
                page += "<table><tr><th>Sache<th>Betrag<th>Sache<th>Betrag<th>Sache<th>Betrag";
                for _ in 0..8 {
                    page += "<tr>";
                    for _ in 0..3 {
                        let _ = write!(page, "<td>{}<td>{}", random.pick(OBJECTS), random.below(100_000));
                    }
                }
                page += "</table>";
            }
            _ => {}
        }
    }
    page
}

fn web_page(random: &mut Random) -> String {
    let mut page = String::from(
        "<!doctype html><html lang=de><meta charset=utf-8><title>Ährenfeld</title><style>\
         body{margin:0;font:17px/1.5 'DejaVu Sans',sans-serif;color:#233;background:#eef1f4}\
         header{padding:30px 80px;background:#25543f;color:#fff}section{max-width:1300px;margin:24px auto;padding:20px 36px;\
         background:#fff;border-radius:8px;box-shadow:0 2px 6px #0004}img{width:100%;display:block}\
         .pair{display:flex;gap:14px}.pair img{width:50%}td{border:1px solid #bbb;padding:4px 12px}</style>\
         <header><h1>Gemeinde Ährenfeld</h1>Rathaus · Leben · Wirtschaft · Gäste</header>",
    );
    for index in 0..12_u32 {
        let _ = write!(page, "<section><h2>{}</h2><p>{}</p>", sentence(random), paragraph(random, 5));
        let (one, two) = (1 + index % (PHOTOS - 1), 1 + (index + 2) % (PHOTOS - 1));
        match index % 3 {
            0 => _ = write!(page, "<img src=photo{one}.jpg>"),
            1 => _ = write!(page, "<div class=pair><img src=photo{one}.jpg><img src=photo{two}.jpg></div>"),
            _ => {
                page += "<table>";
                for _ in 0..9 {
                    page += "<tr>";
                    for _ in 0..5 {
                        let _ = write!(page, "<td>{}<td>{}", random.pick(OBJECTS), random.below(100_000));
                    }
                }
                page += "</table>";
            }
        }
        let _ = write!(page, "<p>{}</p></section>", paragraph(random, 8));
    }
    page
}

fn table(random: &mut Random) -> String {
    let number = |value: u64| format!("<table:table-cell office:value-type=\"float\" office:value=\"{value}\"/>");
    let words = |text: &str| {
        format!("<table:table-cell office:value-type=\"string\"><text:p>{text}</text:p></table:table-cell>")
    };
    let formula =
        |text: String| format!("<table:table-cell table:formula=\"of:={text}\" office:value-type=\"float\"/>");
    let mut rows = String::new();
    for row in 1..=300 {
        let _ = write!(
            rows,
            "<table:table-row>{}{}{}{}{}{}</table:table-row>",
            words(random.pick(OBJECTS)),
            number(random.below(90_000)),
            number(random.below(90_000)),
            number(random.below(900)),
            formula(format!("SUM([.B{row}:.D{row}])")),
            formula(format!("[.E{row}]/SUM([.E$1:.E$300])*100")),
        );
    }
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
  xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"
  xmlns:of="urn:oasis:names:tc:opendocument:xmlns:of:1.2" office:version="1.2"
  office:mimetype="application/vnd.oasis.opendocument.spreadsheet">
<office:body><office:spreadsheet><table:table table:name="Plan">{rows}</table:table></office:spreadsheet></office:body></office:document>
"#
    )
}
