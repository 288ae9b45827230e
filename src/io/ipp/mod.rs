//! IPP (RFC 8011) over HTTP/1.1, on Unix sockets and TCP: the session's printer, and the viewer's way to a print system.
//!
//! Attributes become `proto::wire::print`'s types here, whitelisted and within their bounds; nothing else passes.

#[cfg(feature = "viewer")]
pub mod client;
#[cfg(all(unix, feature = "host"))]
pub mod printer;

use crate::limits::NAME_BYTES_MAX;
use ipp::attribute::{IppAttribute, IppAttributes};
use ipp::model::DelimiterTag;
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
    // The parser recurses nowhere, but what it gives is dropped and written by recursion: depth is checked before.
    let (mut depth, mut at) = (0usize, 8);
    loop {
        let Some(&tag) = bytes.get(at) else { return short(bytes) };
        at += 1;
        if tag == DelimiterTag::EndOfAttributes as u8 {
            break;
        }
        if tag < 0x10 {
            continue;
        }
        match tag {
            0x34 => depth += 1,
            0x37 => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(HeadError::Deep);
        }
        for _ in 0..2 {
            let Some(length) = bytes.get(at..at + 2) else { return short(bytes) };
            at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
        }
    }
    if at > HEAD_BYTES_MAX {
        return Err(HeadError::Long);
    }
    let parser = IppParser::new(IppReader::new(Cursor::new(bytes[..at].to_vec())));
    let (header, attributes, _) = parser.parse_parts().map_err(HeadError::Malformed)?;
    Ok(Some(Head { header, attributes, length: at }))
}

fn short(bytes: &[u8]) -> Result<Option<Head>, HeadError> {
    if bytes.len() >= HEAD_BYTES_MAX { Err(HeadError::Long) } else { Ok(None) }
}

impl Head {
    /// The operation that a request asks for.
    pub fn operation(&self) -> Option<model::Operation> {
        #[allow(clippy::wildcard_imports, reason = "the crate gives the trait no name")]
        use ipp::prelude::*;
        model::Operation::from_i16(self.header.operation_or_status)
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
