//! The words of the viewer in German and English, and how numbers are written in both.
//! The texts are Fluent files in `assets/locales`, built into the program. Who shows them: `viewer::ui`.

use std::time::Duration;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use unic_langid::LanguageIdentifier;

/// A language the viewer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// German.
    German,
    /// English, also for everybody whose language is not here.
    English,
}

/// Texts and number forms of one language.
pub struct Locale {
    language: Language,
    bundle: FluentBundle<FluentResource>,
}

/// Arguments of a text: name and value; build values with `"text".into()` or `3.into()`.
pub type TextArgs<'a> = &'a [(&'static str, FluentValue<'a>)];

impl Language {
    /// Takes the language of a tag such as `de-AT`, `de_CH.UTF-8` or `en`; `None` for one that is not here.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_', '.', '@']).next().unwrap_or_default();
        match primary.to_ascii_lowercase().as_str() {
            "de" => Some(Self::German),
            "en" => Some(Self::English),
            _ => None,
        }
    }

    fn tag(self) -> &'static str {
        match self {
            Self::German => "de",
            Self::English => "en",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::German => include_str!("../../assets/locales/de/kachel.ftl"),
            Self::English => include_str!("../../assets/locales/en/kachel.ftl"),
        }
    }
}

impl Locale {
    /// The first of the user's languages that is here, else English.
    pub fn from_system() -> Self {
        let language = sys_locale::get_locales().find_map(|tag| Language::from_tag(&tag));
        Self::of(language.unwrap_or(Language::English))
    }

    /// The language of a tag such as `de`; English if it is not here.
    pub fn new(tag: &str) -> Self {
        Self::of(Language::from_tag(tag).unwrap_or(Language::English))
    }

    fn of(language: Language) -> Self {
        let id: LanguageIdentifier = language.tag().parse().expect("both tags are well formed");
        let mut bundle = FluentBundle::new_concurrent(vec![id]);
        // The isolating marks would be drawn as boxes: none of our fonts has them.
        bundle.set_use_isolating(false);
        // What parses is kept; that everything does is tested.
        let resource = FluentResource::try_new(language.source().to_owned()).unwrap_or_else(|(partial, _)| partial);
        bundle.add_resource_overriding(resource);
        Self { language, bundle }
    }

    /// Which language this is.
    pub fn language(&self) -> Language {
        self.language
    }

    /// The text of `id` without arguments.
    pub fn plain(&self, id: &str) -> String {
        self.text(id, &[])
    }

    /// The text of `id` with its arguments filled in.
    ///
    /// A missing text or argument shows as `{id}` and is logged; the pages' tests fail on it.
    pub fn text(&self, id: &str, args: TextArgs<'_>) -> String {
        let Some(pattern) = self.bundle.get_message(id).and_then(|m| m.value()) else {
            tracing::warn!(id, "Text is missing");
            return format!("{{{id}}}");
        };
        let args: FluentArgs<'_> = args.iter().map(|(k, v)| (*k, v.clone())).collect();
        let mut errors = Vec::new();
        let text = self.bundle.format_pattern(pattern, Some(&args), &mut errors).into_owned();
        if !errors.is_empty() {
            tracing::warn!(id, ?errors, "Text is incomplete");
        }
        text
    }

    /// A number with `decimals` places: `12.345,6` in German, `12,345.6` in English; a dash if it is not finite.
    pub fn number(&self, value: f64, decimals: usize) -> String {
        if !value.is_finite() {
            return "–".to_owned();
        }
        let (group, point) = match self.language {
            Language::German => ('.', ','),
            Language::English => (',', '.'),
        };
        let plain = format!("{value:.decimals$}");
        let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
        let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |d| ("−", d));
        let mut out = sign.to_owned();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                out.push(group);
            }
            out.push(digit);
        }
        if !fraction.is_empty() {
            out.push(point);
            out.push_str(fraction);
        }
        out
    }

    /// Bytes with a decimal unit and three significant places: `1,23 MB`.
    pub fn bytes(&self, bytes: u64) -> String {
        let units = ["B", "kB", "MB", "GB", "TB"];
        let mut value = bytes as f64;
        let mut unit = 0;
        while value >= 999.5 && unit + 1 < units.len() {
            value /= 1000.0;
            unit += 1;
        }
        let decimals = match value {
            _ if unit == 0 => 0,
            v if v < 9.995 => 2,
            v if v < 99.95 => 1,
            _ => 0,
        };
        format!("{} {}", self.number(value, decimals), units[unit])
    }

    /// Milliseconds with three significant places: `2,41 ms`.
    pub fn milliseconds(&self, time: Duration) -> String {
        let ms = time.as_secs_f64() * 1000.0;
        let decimals = if ms < 9.995 { 2 } else { usize::from(ms < 99.95) };
        format!("{} ms", self.number(ms, decimals))
    }

    /// Hours, minutes and seconds: `1:02:03`, or `2:03` below an hour.
    pub fn clock(&self, time: Duration) -> String {
        let s = time.as_secs();
        match s / 3600 {
            0 => format!("{}:{:02}", s / 60, s % 60),
            h => format!("{h}:{:02}:{:02}", s / 60 % 60, s % 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Message ids of a file with the variables each uses.
    fn catalogue(language: Language) -> BTreeMap<String, BTreeSet<String>> {
        let source = language.source();
        assert!(FluentResource::try_new(source.to_owned()).is_ok(), "{language:?} does not parse");
        let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut current = String::new();
        for line in source.lines().filter(|l| !l.starts_with('#')) {
            if let Some((id, _)) = line.split_once(" =")
                && !line.starts_with(' ')
            {
                current = id.to_owned();
                assert!(out.insert(current.clone(), BTreeSet::new()).is_none(), "{id} is there twice in {language:?}");
            }
            for part in line.split('$').skip(1) {
                let name: String = part.chars().take_while(|c| c.is_alphanumeric()).collect();
                out.get_mut(&current).expect("a variable stands in a message").insert(name);
            }
        }
        out
    }

    /// Ids that the pages' sources name: every literal of lower-case words joined by hyphens.
    fn named_in_code() -> BTreeSet<String> {
        let sources = [
            include_str!("ui/mod.rs"),
            include_str!("ui/pages.rs"),
            include_str!("ui/page.rs"),
            include_str!("ui/bar.rs"),
            include_str!("ui/notice.rs"),
            include_str!("ui/stats.rs"),
            include_str!("ui/sound.rs"),
            include_str!("ui/signs.rs"),
            include_str!("ui/printing.rs"),
        ];
        let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase());
        let literals = sources.iter().flat_map(|s| s.split('"').skip(1).step_by(2));
        literals.filter(|l| l.contains('-') && l.split('-').all(word)).map(str::to_owned).collect()
    }

    #[test]
    fn both_languages_hold_the_same_texts_with_the_same_variables() {
        assert_eq!(catalogue(Language::German), catalogue(Language::English));
    }

    #[test]
    fn every_text_named_in_the_code_exists_and_no_other() {
        let there: BTreeSet<String> = catalogue(Language::English).into_keys().collect();
        let named = named_in_code();
        assert!(named.len() > 50, "the sources were read");
        assert_eq!(named, there);
    }

    #[test]
    fn missing_text_is_visible_and_harmless() {
        let l = Locale::new("de");
        assert_eq!(l.plain("no-such-text"), "{no-such-text}");
        assert!(l.plain("connecting-title").contains('{'), "an argument left out can be seen");
    }

    #[test]
    fn language_is_taken_from_the_tag() {
        for (tag, expected) in [
            ("de-AT", Some(Language::German)),
            ("de_CH.UTF-8", Some(Language::German)),
            ("EN-us", Some(Language::English)),
            ("C", None),
            ("", None),
            ("fr-CH", None),
        ] {
            assert_eq!(Language::from_tag(tag), expected, "{tag}");
        }
        assert_eq!(Locale::new("fr").language(), Language::English);
    }

    #[test]
    fn numbers_are_written_as_the_language_does() {
        let (de, en) = (Locale::new("de"), Locale::new("en"));
        for (value, decimals, german, english) in [
            (0.0, 0, "0", "0"),
            (1234.5, 1, "1.234,5", "1,234.5"),
            (-1_234_567.0, 0, "−1.234.567", "−1,234,567"),
            (f64::NAN, 2, "–", "–"),
        ] {
            assert_eq!(de.number(value, decimals), german);
            assert_eq!(en.number(value, decimals), english);
        }
        for (bytes, expected) in
            [(0, "0 B"), (999, "999 B"), (1000, "1,00 kB"), (999_600, "1,00 MB"), (12_340_000, "12,3 MB")]
        {
            assert_eq!(de.bytes(bytes), expected);
        }
        assert_eq!(de.milliseconds(Duration::from_micros(2412)), "2,41 ms");
        assert_eq!(en.milliseconds(Duration::from_millis(123)), "123 ms");
        assert_eq!(de.clock(Duration::from_secs(3723)), "1:02:03");
        assert_eq!(de.clock(Duration::from_secs(63)), "1:03");
    }
}
