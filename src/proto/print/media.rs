//! Paper sizes: what IPP, PPD files and points call the same sheet.
//!
//! Data only. Names: PWG 5101.1 and the PPD specification 4.3.

/// A paper size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paper {
    /// IPP's name.
    pub name: String,
    /// A PPD's name.
    pub ppd: String,
    /// In hundredths of a millimetre, as IPP counts.
    pub width: u32,
    /// Likewise.
    pub height: u32,
}

/// Sizes that programs know by a name of their own.
const KNOWN: [(&str, &str); 12] = [
    ("iso_a3_297x420mm", "A3"),
    ("iso_a4_210x297mm", "A4"),
    ("iso_a5_148x210mm", "A5"),
    ("iso_a6_105x148mm", "A6"),
    ("iso_b5_176x250mm", "ISOB5"),
    ("iso_c5_162x229mm", "EnvC5"),
    ("iso_c6_114x162mm", "EnvC6"),
    ("iso_dl_110x220mm", "EnvDL"),
    ("na_letter_8.5x11in", "Letter"),
    ("na_legal_8.5x14in", "Legal"),
    ("na_ledger_11x17in", "Tabloid"),
    ("na_executive_7.25x10.5in", "Executive"),
];

/// Longest side that is believed, in hundredths of a millimetre: ten metres of banner.
const SIDE_MAX: u32 = 1_000_000;

impl Paper {
    /// Reads a size out of IPP's name, `class_name_WIDTHxHEIGHTunit`; `None` if it says none.
    pub fn parse(name: &str) -> Option<Paper> {
        let size = name.rsplit('_').next()?;
        let (numbers, unit) = match (size.strip_suffix("mm"), size.strip_suffix("in")) {
            (Some(numbers), _) => (numbers, 100.0),
            (None, Some(numbers)) => (numbers, 2540.0),
            (None, None) => return None,
        };
        let (width, height) = numbers.split_once('x')?;
        let side = |text: &str| {
            let plain = text.bytes().all(|c| c.is_ascii_digit() || c == b'.');
            let side = text.parse::<f64>().ok().filter(|_| plain)? * unit;
            (1.0..=f64::from(SIDE_MAX)).contains(&side).then_some(side.round() as u32)
        };
        let (width, height) = (side(width)?, side(height)?);
        let known = KNOWN.iter().find(|(ipp, _)| *ipp == name).map(|(_, ppd)| (*ppd).to_owned());
        let points = |side: u32| (f64::from(side) * 72.0 / 2540.0).round() as u32;
        let ppd = known.unwrap_or_else(|| format!("w{}h{}", points(width), points(height)));
        Some(Paper { name: name.to_owned(), ppd, width, height })
    }

    /// IPP's name of a size that programs know, in hundredths of a millimetre; what differs by less than a millimetre is
    /// the same sheet.
    pub fn known(width: u32, height: u32) -> Option<String> {
        let is_near = |a: u32, b: u32| a.abs_diff(b) < 100;
        let papers = KNOWN.iter().filter_map(|(name, _)| Paper::parse(name));
        papers.filter(|p| is_near(p.width, width) && is_near(p.height, height)).map(|p| p.name).next()
    }

    /// Width and height in PostScript points.
    pub fn points(&self) -> (u32, u32) {
        let points = |side: u32| (f64::from(side) * 72.0 / 2540.0).round() as u32;
        (points(self.width), points(self.height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_their_size_or_nothing() {
        let size = |name| Paper::parse(name).map(|p| (p.ppd.clone(), p.width, p.height, p.points()));
        assert_eq!(size("iso_a4_210x297mm"), Some(("A4".into(), 21_000, 29_700, (595, 842))));
        assert_eq!(size("na_letter_8.5x11in"), Some(("Letter".into(), 21_590, 27_940, (612, 792))));
        assert_eq!(size("custom_x_100x200mm"), Some(("w283h567".into(), 10_000, 20_000, (283, 567))));
        for bad in
            ["", "a4", "iso_a4_x297mm", "iso_a4_210x297", "x_1e9x1mm", "x_-1x1mm", "x_infxinfmm", "x_99999999x1mm"]
        {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_that_programs_know_have_a_name() {
        for (width, height, name) in [
            (21_000, 29_700, Some("iso_a4_210x297mm")),
            (20_990, 29_707, Some("iso_a4_210x297mm")),
            (21_590, 27_940, Some("na_letter_8.5x11in")),
            (29_700, 21_000, None),
            (21_100, 29_700, None),
        ] {
            assert_eq!(Paper::known(width, height).as_deref(), name, "{width}x{height}");
        }
    }
}
