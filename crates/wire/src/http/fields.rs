//! The header lines of a response, in the form in which they are sent.
//!
//! An application's fields are copied once, from its own objects to where they leave from. What a
//! server must know of them is noted on the way.

use super::headers::{is_token, is_token_byte, is_value_byte};
use super::write::InvalidHeader;
use vespiary_trace::requires;

/// Bytes for the header lines of an ordinary response.
const USUAL_BYTES: usize = 256;

/// What header lines say about their response.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and any of them may be true together"
)]
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The length that they announce.
    length: Option<u64>,
    /// What is wrong with what they say about the body.
    fault: Option<Box<InvalidHeader>>,
    /// There is a `Date`.
    pub is_dated: bool,
    /// There is an `Upgrade`.
    pub has_upgrade: bool,
    /// `Upgrade` lists `websocket`.
    pub offers_websocket: bool,
    /// `Connection` lists `upgrade`.
    pub lists_upgrade: bool,
    /// `Connection` lists `close`.
    pub lists_close: bool,
}

impl Facts {
    /// What these lines say.
    pub fn of(lines: &[(String, String)]) -> Self {
        let mut facts = Self::default();
        for (name, value) in lines {
            facts.note(name.as_bytes(), value.as_bytes());
        }
        facts
    }

    /// The length of the body that they announce.
    ///
    /// # Errors
    /// A line about the body is wrong.
    pub fn length(&self) -> Result<Option<u64>, InvalidHeader> {
        match &self.fault {
            Some(fault) => Err((**fault).clone()),
            None => Ok(self.length),
        }
    }

    /// Whether they announce the body's length.
    pub fn has_length(&self) -> bool {
        self.length.is_some() || self.fault.is_some()
    }

    /// Note what a line says.
    fn note(&mut self, name: &[u8], value: &[u8]) {
        // Few names have one of these lengths.
        match name.len() {
            4 => self.is_dated |= name.eq_ignore_ascii_case(b"date"),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.has_upgrade = true;
                self.offers_websocket |= lists(value, b"websocket");
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.lists_upgrade |= lists(value, b"upgrade");
                self.lists_close |= lists(value, b"close");
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.note_length(name, value),
            17 => {
                let is_coding = name.eq_ignore_ascii_case(b"transfer-encoding");
                if requires!("rfc9112/6.1/2", "rfc9112/6.2/1" => is_coding) {
                    self.note_fault(name, "is added where it is needed, and cannot be given");
                }
            }
            _ => {}
        }
    }

    fn note_length(&mut self, name: &[u8], value: &[u8]) {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let digits = str::from_utf8(value).unwrap_or_default();
        let number = is_number.then(|| digits.parse().ok()).flatten();
        if number.is_none() || self.length.is_some() {
            self.note_fault(name, "is not one number of bytes");
        }
        self.length = number;
    }

    #[cold]
    fn note_fault(&mut self, name: &[u8], text: &'static str) {
        let name = String::from_utf8_lossy(name);
        (self.fault).get_or_insert_with(|| Box::new(InvalidHeader::new(&name, text)));
    }
}

fn lists(value: &[u8], token: &[u8]) -> bool {
    let mut present = value.split(|byte| *byte == b',');
    present.any(|present| present.trim_ascii().eq_ignore_ascii_case(token))
}

/// Header lines, ready to be sent.
#[derive(Clone, Debug)]
pub struct Fields {
    lines: Vec<u8>,
    facts: Facts,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            lines: Vec::with_capacity(USUAL_BYTES),
            facts: Facts::default(),
        }
    }
}

impl Fields {
    /// These lines.
    ///
    /// # Errors
    /// One cannot be sent.
    pub fn of(lines: &[(String, String)]) -> Result<Self, InvalidHeader> {
        let mut fields = Self::default();
        for (name, value) in lines {
            fields.add_text(name, value)?;
        }
        Ok(fields)
    }

    /// Add a line of bytes.
    ///
    /// # Errors
    /// The name is not a token, or the value has a control character (CR, LF and NUL above all).
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), InvalidHeader> {
        if name.is_empty() || !name.iter().copied().all(is_token_byte) {
            return Err(fault(name, "has a name that is not a token"));
        }
        if !value
            .iter()
            .fold(true, |all, byte| all & is_value_byte(*byte))
        {
            return Err(fault(name, "has a control character in its value"));
        }
        self.push(name, value);
        Ok(())
    }

    /// Add a line of text, which is sent as Latin-1.
    ///
    /// # Errors
    /// As [`Fields::add`], or the value has a character that Latin-1 lacks.
    pub fn add_text(&mut self, name: &str, value: &str) -> Result<(), InvalidHeader> {
        if value.is_ascii() {
            return self.add(name.as_bytes(), value.as_bytes());
        }
        if !is_token(name) {
            return Err(InvalidHeader::new(name, "has a name that is not a token"));
        }
        let bytes: Option<Vec<u8>> = value.chars().map(|it| u8::try_from(it).ok()).collect();
        match bytes {
            Some(bytes) => self.add(name.as_bytes(), &bytes),
            None => Err(InvalidHeader::new(name, "has a character outside Latin-1")),
        }
    }

    /// Add a line that is known to be clean.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.facts.note(name, value);
        self.lines.reserve(name.len() + value.len() + 4);
        self.lines.extend_from_slice(name);
        self.lines.extend_from_slice(b": ");
        self.lines.extend_from_slice(value);
        self.lines.extend_from_slice(b"\r\n");
    }

    /// What the lines say.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The lines as they are sent.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }
}

#[cold]
fn fault(name: &[u8], text: &'static str) -> InvalidHeader {
    let name: String = name.iter().copied().map(char::from).collect();
    InvalidHeader::new(&name, text)
}
