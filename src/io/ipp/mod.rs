//! IPP (RFC 8011) over HTTP/1.1, on Unix sockets and TCP: the session's printer, and the viewer's way to a print system.
//!
//! Attributes become `proto::wire::print`'s types here, whitelisted and within their bounds; nothing else passes.

#[cfg(feature = "viewer")]
pub mod client;
#[cfg(all(unix, feature = "host"))]
pub mod printer;

use crate::limits::NAME_BYTES_MAX;
use ipp::attribute::{IppAttribute, IppAttributes};
use ipp::model::{DelimiterTag, IppVersion, ValueTag};
use ipp::parser::{IppParseError, IppParser};
use ipp::reader::IppReader;
use ipp::value::{IppName, IppValue};
use ipp::{IppHeader, model};
use std::io::Cursor;
use thiserror::Error;

/// Longest head (everything before the document) of a request or answer: CUPS' answers about a printer take 60 KiB.
pub const HEAD_BYTES_MAX: usize = 1 << 20;
/// Deepest collection in a collection that is read: media sizes need three.
const DEPTH_MAX: usize = 8;

const BEGIN_COLLECTION: u8 = ValueTag::BegCollection as u8;
const END_COLLECTION: u8 = ValueTag::EndCollection as u8;
const MEMBER_NAME: u8 = ValueTag::MemberAttrName as u8;

/// Why bytes are not an IPP message.
#[derive(Debug, Error)]
pub enum HeadError {
    /// It is longer than it may be.
    #[error("the message's head is longer than {HEAD_BYTES_MAX} bytes")]
    Long,
    /// It is malformed.
    #[error("the message is malformed")]
    Malformed(#[source] IppParseError),
    /// Collections are nested too deeply.
    #[error("collections are nested more than {DEPTH_MAX} deep")]
    Deep,
    /// A value's bytes do not fit its tag (RFC 8010, section 3.9).
    #[error("{length} bytes are no value with tag {tag:#04x}")]
    Value {
        /// The tag.
        tag: u8,
        /// The value's bytes.
        length: usize,
    },
    /// A value stands where no attribute has begun.
    #[error("a value belongs to no attribute")]
    Nameless,
    /// A collection does not end, ends twice, or has something else in it than members.
    #[error("a collection is not closed as it was opened")]
    Collection,
}

/// The head of a message: version, operation or status, request id, attributes.
#[derive(Debug)]
pub struct Head {
    /// Its first eight bytes.
    pub header: IppHeader,
    /// Its attributes.
    pub attributes: IppAttributes,
    /// Bytes that it took; the document follows.
    pub length: usize,
}

/// Reads the head of a message from its beginning; `None` until all of it is there.
///
/// # Errors
/// [`HeadError`].
pub fn head(bytes: &[u8]) -> Result<Option<Head>, HeadError> {
    HeadReader::default().read(bytes)
}

/// Reads the head of a message that comes in pieces, however small: no byte is looked at twice.
///
/// It is stricter than the IPP crate, which panics at texts that end beyond their value, and of other malformed attributes
/// makes something that nobody said.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// Bytes up to here are in order.
    at: usize,
    /// Collections that are open.
    depth: usize,
    /// The place of what comes next.
    place: Place,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// No group of attributes has begun.
    #[default]
    Outside,
    /// A group has begun.
    Group,
    /// An attribute has begun, and may have further values.
    Attribute,
}

impl HeadReader {
    /// Goes on with all bytes from the message's beginning on, more than the last time; `None` until the head is whole.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<Head>, HeadError> {
        // The first eight bytes can be anything.
        self.at = self.at.max(8);
        loop {
            let at = self.at;
            let short = if bytes.len() >= HEAD_BYTES_MAX { Err(HeadError::Long) } else { Ok(None) };
            let Some(&tag) = bytes.get(at) else { return short };
            if tag < 0x10 {
                if self.depth > 0 {
                    return Err(HeadError::Collection);
                }
                (self.at, self.place) = (at + 1, Place::Group);
                if tag == DelimiterTag::EndOfAttributes as u8 {
                    break;
                }
                continue;
            }
            let Some(name) = field(bytes, at + 1) else { return short };
            let Some(value) = field(bytes, at + 3 + name.len()) else { return short };
            self.check(tag, name, value)?;
            self.at = at + 5 + name.len() + value.len();
        }
        if self.at > HEAD_BYTES_MAX {
            return Err(HeadError::Long);
        }
        let parser = IppParser::new(IppReader::new(Cursor::new(bytes[..self.at].to_vec())));
        let (header, attributes, _) = parser.parse_parts().map_err(HeadError::Malformed)?;
        Ok(Some(Head { header, attributes, length: self.at }))
    }

    /// Checks a value: whether it may stand here, and whether its bytes fit its tag.
    fn check(&mut self, tag: u8, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        let is_member = matches!(tag, END_COLLECTION | MEMBER_NAME);
        if (is_member && self.depth == 0) || (self.depth > 0 && !name.is_empty()) {
            return Err(HeadError::Collection);
        }
        match (self.place, name.is_empty()) {
            (Place::Outside, _) | (Place::Group, true) => return Err(HeadError::Nameless),
            (Place::Group | Place::Attribute, _) => self.place = Place::Attribute,
        }
        if !fits(tag, value) {
            return Err(HeadError::Value { tag, length: value.len() });
        }
        match tag {
            // What the parser gives is dropped and written by recursion.
            BEGIN_COLLECTION if self.depth == DEPTH_MAX => return Err(HeadError::Deep),
            BEGIN_COLLECTION => self.depth += 1,
            END_COLLECTION => self.depth -= 1,
            _ => {}
        }
        Ok(())
    }
}

/// The first eight bytes of a message whose head may be malformed behind them; none if there are fewer.
pub fn header(bytes: &[u8]) -> Option<IppHeader> {
    let &[a, b, c, d, e, f, g, h] = bytes.first_chunk()?;
    let (version, code) = (IppVersion(u16::from_be_bytes([a, b])), i16::from_be_bytes([c, d]));
    Some(IppHeader::new(version, code, i32::from_be_bytes([e, f, g, h])))
}

/// A field behind its length in two bytes; none if it is not all there.
fn field(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let (length, rest) = bytes.get(at..)?.split_first_chunk()?;
    rest.get(..u16::from_be_bytes(*length).into())
}

/// Whether bytes can be a value with this tag (RFC 8010, section 3.9).
fn fits(tag: u8, value: &[u8]) -> bool {
    #[allow(clippy::wildcard_imports, reason = "the crate gives the trait no name")]
    use ipp::prelude::*;
    match ValueTag::from_u8(tag) {
        Some(ValueTag::Integer | ValueTag::Enum) => value.len() == 4,
        Some(ValueTag::Boolean) => value.len() == 1,
        Some(ValueTag::DateTime) => value.len() == 11,
        Some(ValueTag::Resolution) => value.len() == 9,
        Some(ValueTag::RangeOfInteger) => value.len() == 8,
        Some(ValueTag::BegCollection | ValueTag::EndCollection) => value.is_empty(),
        Some(ValueTag::TextWithLanguage | ValueTag::NameWithLanguage) => {
            let text_at = field(value, 0).map(|language| 2 + language.len());
            text_at.is_some_and(|at| field(value, at).is_some_and(|text| at + 2 + text.len() == value.len()))
        }
        _ => true,
    }
}

impl Head {
    /// The operation that a request asks for.
    pub fn operation(&self) -> Option<model::Operation> {
        #[allow(clippy::wildcard_imports, reason = "the crate gives the trait no name")]
        use ipp::prelude::*;
        model::Operation::from_i16(self.header.operation_or_status)
    }

    /// Whether an answer says that what was asked for was done (RFC 8011, appendix B). The crate reads codes as signed
    /// numbers: those of vendors' own errors, from 0x8000 on, are negative.
    pub fn is_success(&self) -> bool {
        (0..=0xff).contains(&self.header.operation_or_status)
    }

    /// A value by its name, in any group.
    pub fn get(&self, name: &str) -> Option<&IppValue> {
        self.attributes.groups().iter().find_map(|group| group.get(name)).map(IppAttribute::value)
    }

    /// A text, name, keyword or URI by its attribute's name, cut to what the wire takes and without control characters.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(text_of)
    }

    /// A number by its attribute's name.
    pub fn number(&self, name: &str) -> Option<i32> {
        self.get(name).and_then(number_of)
    }

    /// A yes or no by its attribute's name.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Some(IppValue::Boolean(value)) => Some(*value),
            _ => None,
        }
    }

    /// All texts of an attribute.
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.get(name).map(each).into_iter().flatten().filter_map(text_of).collect()
    }
}

/// The values of an attribute that has one or several.
pub fn each(value: &IppValue) -> &[IppValue] {
    match value {
        IppValue::Array(values) => values,
        one => std::slice::from_ref(one),
    }
}

/// A text of whatever kind, within the wire's bounds; the first of several.
pub fn text_of(value: &IppValue) -> Option<String> {
    let text = match each(value).first()? {
        IppValue::TextWithoutLanguage(text) | IppValue::TextWithLanguage { text, .. } => text.as_ref(),
        IppValue::NameWithoutLanguage(name) | IppValue::NameWithLanguage { name, .. } => name.as_str(),
        IppValue::Keyword(word) => word.as_str(),
        IppValue::Uri(uri) => uri.as_str(),
        IppValue::MimeMediaType(kind) => kind.as_str(),
        _ => return None,
    };
    let mut plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    while plain.len() > NAME_BYTES_MAX {
        plain.pop();
    }
    Some(plain)
}

/// A number or enumerated value; the first of several.
pub fn number_of(value: &IppValue) -> Option<i32> {
    match each(value).first()? {
        IppValue::Integer(number) | IppValue::Enum(number) => Some(*number),
        _ => None,
    }
}

/// A member of a collection.
pub fn member<'a>(collection: &'a IppValue, name: &str) -> Option<&'a IppValue> {
    match each(collection).first()? {
        IppValue::Collection(members) => members.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value),
        _ => None,
    }
}

/// Attributes as they are written; names and words longer than IPP takes are cut.
pub mod write {
    use super::{IppAttribute, IppName, IppValue};
    use ipp::value::{IppKeyword, IppMimeMediaType, IppString, IppTextValue};

    /// Names an attribute.
    pub fn attribute(name: &str, value: IppValue) -> IppAttribute {
        IppAttribute::new(IppName::new_truncated(name), value)
    }

    /// A keyword.
    pub fn keyword(word: &str) -> IppValue {
        IppValue::Keyword(IppKeyword::new_truncated(word))
    }

    /// A name.
    pub fn name(text: &str) -> IppValue {
        IppValue::NameWithoutLanguage(IppName::new_truncated(text))
    }

    /// A text.
    pub fn text(text: &str) -> IppValue {
        IppValue::TextWithoutLanguage(IppTextValue::from(IppString::new_truncated(text)))
    }

    /// A URI.
    pub fn uri(uri: &str) -> IppValue {
        IppValue::Uri(IppString::new_truncated(uri))
    }

    /// A kind of document.
    pub fn mime(kind: &str) -> IppValue {
        IppValue::MimeMediaType(IppMimeMediaType::new_truncated(kind))
    }

    /// Several keywords; one is written as one.
    pub fn keywords<'a>(words: impl IntoIterator<Item = &'a str>) -> IppValue {
        several(words.into_iter().map(keyword).collect())
    }

    /// Several values; one is written as one.
    pub fn several(mut values: Vec<IppValue>) -> IppValue {
        if values.len() == 1 { values.remove(0) } else { IppValue::Array(values) }
    }

    /// A collection.
    pub fn collection(members: Vec<(&str, IppValue)>) -> IppValue {
        IppValue::Collection(members.into_iter().map(|(key, value)| (IppName::new_truncated(key), value)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(tag: u8, name: &str, value: &[u8]) -> Vec<u8> {
        let length = |bytes: &[u8]| (bytes.len() as u16).to_be_bytes();
        [&[tag][..], &length(name.as_bytes()), name.as_bytes(), &length(value), value].concat()
    }

    fn message(values: &[Vec<u8>]) -> Vec<u8> {
        [&[2, 0, 0, 0x0b, 0, 0, 0, 1][..], &values.concat(), &[3]].concat()
    }

    #[test]
    fn an_error_of_a_vendor_is_an_error() {
        for (status, is_success) in
            [(0, true), (0x00ff, true), (0x0100, false), (0x0400, false), (0x8000, false), (0xffff, false)]
        {
            let [high, low] = u16::to_be_bytes(status);
            let answer = head(&[2, 0, high, low, 0, 0, 0, 1, 3]).expect("no attribute is wrong").expect("all of it");
            assert_eq!(answer.is_success(), is_success, "{status:#06x}");
        }
    }

    #[test]
    fn attributes_that_are_not_as_the_rfc_says_are_refused() {
        let group = || vec![1];
        let begin = |name| value(0x34, name, b"");
        let (end, member) = (|| value(0x37, "", b""), || value(0x4a, "", b"x-dimension"));
        let check = |values: &[Vec<u8>], expected: &str| {
            let found = head(&message(values)).map(|head| head.is_some()).map_err(|error| error.to_string());
            assert_eq!(found, if expected.is_empty() { Ok(true) } else { Err(expected.to_owned()) });
        };
        check(&[group(), begin("media"), member(), value(0x21, "", &[0; 4]), end()], "");
        check(&[group(), value(0x36, "job", b"\0\x02de\0\x01x"), value(0x42, "", b"y")], "");
        check(&[group(), value(0x36, "job", b"\0\x02de\0\x02x")], "7 bytes are no value with tag 0x36");
        check(&[group(), value(0x35, "job", b"\0\x02de\0\x01xy")], "8 bytes are no value with tag 0x35");
        for (tag, right) in [(0x21, 4), (0x22, 1), (0x23, 4), (0x31, 11), (0x32, 9), (0x33, 8)] {
            check(&[group(), value(tag, "a", &vec![0; right])], "");
            for wrong in [right - 1, right + 1] {
                let expected = format!("{wrong} bytes are no value with tag {tag:#04x}");
                check(&[group(), value(tag, "a", &vec![0; wrong])], &expected);
            }
        }
        let nameless = "a value belongs to no attribute";
        check(&[value(0x21, "copies", &[0; 4])], nameless);
        check(&[group(), value(0x21, "", &[0; 4])], nameless);
        check(&[group(), value(0x21, "copies", &[0; 4]), vec![2], value(0x21, "", &[0; 4])], nameless);
        let collection = "a collection is not closed as it was opened";
        check(&[group(), begin("media"), member(), value(0x21, "", &[0; 4])], collection);
        check(&[group(), begin("media"), end(), end()], collection);
        check(&[group(), begin("media"), value(0x21, "copies", &[0; 4]), end()], collection);
        check(&[group(), value(0x21, "copies", &[0; 4]), member()], collection);
        let deep: Vec<Vec<u8>> = (0..=DEPTH_MAX).flat_map(|_| [begin(""), member()]).collect();
        let deep = [vec![group(), begin("media"), member()], deep].concat();
        check(&deep, "collections are nested more than 8 deep");
    }
}
