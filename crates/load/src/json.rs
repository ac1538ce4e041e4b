//! Just enough JSON (RFC 8259) to write a report.

use std::fmt::Write as _;

/// An object or array under construction.
#[derive(Debug, Default)]
pub struct Object {
    text: String,
}

impl Object {
    /// Without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Add a member whose value is JSON already.
    pub fn raw(&mut self, name: &str, value: &str) -> &mut Self {
        if !self.text.is_empty() {
            self.text.push(',');
        }
        string(&mut self.text, name);
        self.text.push(':');
        self.text.push_str(value);
        self
    }

    /// Add a number. Numbers that JSON cannot say become null.
    pub fn number(&mut self, name: &str, value: f64) -> &mut Self {
        let text = if value.is_finite() {
            format!("{value}")
        } else {
            "null".to_owned()
        };
        self.raw(name, &text)
    }

    /// Add a whole number.
    pub fn count(&mut self, name: &str, value: u64) -> &mut Self {
        self.raw(name, &value.to_string())
    }

    /// Add a whole number, or null.
    pub fn maybe(&mut self, name: &str, value: Option<u64>) -> &mut Self {
        self.raw(
            name,
            &value.map_or_else(|| "null".to_owned(), |value| value.to_string()),
        )
    }

    /// Add true or false.
    pub fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.raw(name, if value { "true" } else { "false" })
    }

    /// Add a string.
    pub fn string(&mut self, name: &str, value: &str) -> &mut Self {
        let mut text = String::new();
        string(&mut text, value);
        self.raw(name, &text)
    }

    /// The object as text.
    pub fn finish(&self) -> String {
        format!("{{{}}}", self.text)
    }
}

/// An array of values that are JSON already.
pub fn array(values: &[String]) -> String {
    format!("[{}]", values.join(","))
}

fn string(output: &mut String, value: &str) {
    output.push('"');
    for character in value.chars() {
        match character {
            '"' => output.push_str("\\\""),
            '\\' => output.push_str("\\\\"),
            '\0'..='\x1f' => {
                // Writing to a string cannot fail.
                let _ = write!(output, "\\u{:04x}", character as u32);
            }
            _ => output.push(character),
        }
    }
    output.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_written_in_order_and_strings_escaped() {
        let mut object = Object::new();
        object
            .count("a", 1)
            .number("b", 0.5)
            .flag("c", true)
            .string("d", "\"\\\n\u{7f}ü")
            .maybe("e", None);
        assert_eq!(
            object.finish(),
            "{\"a\":1,\"b\":0.5,\"c\":true,\"d\":\"\\\"\\\\\\u000a\u{7f}ü\",\"e\":null}"
        );
    }

    #[test]
    fn numbers_that_json_lacks_are_null() {
        assert_eq!(Object::new().number("x", f64::NAN).finish(), "{\"x\":null}");
        assert_eq!(Object::new().finish(), "{}");
        assert_eq!(array(&["1".into(), "2".into()]), "[1,2]");
    }
}
