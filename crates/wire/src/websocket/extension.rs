//! What `Sec-WebSocket-Extensions` says, RFC 6455 section 9.1.
//!
//! ```text
//! extension-list  = 1#extension
//! extension       = token *( ";" extension-param )
//! extension-param = token [ "=" ( token | quoted-string ) ]
//! ```
//!
//! A quoted value must be a token once its quotes and backslashes are gone, so quoting changes
//! nothing and is not kept. Empty elements of the list are skipped (RFC 9110 section 5.6.1).

use std::fmt;

use super::profile::Profile;
use crate::http::is_token;
use vespiary_trace::requires;

/// One extension that a client offers or a server grants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extension {
    /// The registered name, for instance `permessage-deflate`.
    pub name: String,
    /// Parameters in order, each with its value if it has one. Names may repeat: whether they may
    /// is the extension's own matter.
    pub parameters: Vec<(String, Option<String>)>,
}

/// The value does not follow the grammar: the handshake must fail.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the Sec-WebSocket-Extensions header is malformed (RFC 6455 9.1)")
    }
}

impl std::error::Error for Malformed {}

/// Reads the value of one header line. The lists of several lines are one list.
///
/// HyBi-09 has no quoted strings.
pub fn parse(profile: &Profile, value: &str) -> Result<Vec<Extension>, Malformed> {
    let mut rest = value;
    let mut extensions = Vec::new();
    loop {
        rest = skip_space(rest);
        if !rest.is_empty() && !rest.starts_with(',') {
            let (extension, behind) = read_extension(profile, rest)?;
            extensions.push(extension);
            rest = behind;
        }
        match rest.strip_prefix(',') {
            Some(behind) => rest = behind,
            None if rest.is_empty() => break,
            None => return Err(Malformed),
        }
    }
    if extensions.is_empty() {
        Err(Malformed)
    } else {
        Ok(extensions)
    }
}

/// One extension and what is behind it and its space: a comma or nothing.
fn read_extension<'a>(profile: &Profile, text: &'a str) -> Result<(Extension, &'a str), Malformed> {
    let (name, mut rest) = read_token(text)?;
    let mut parameters = Vec::new();
    while let Some(behind) = rest.strip_prefix(';') {
        let (name, behind) = read_token(skip_space(behind))?;
        let (value, behind) = match behind.strip_prefix('=') {
            None => (None, behind),
            Some(behind) => {
                let (value, behind) = read_value(profile, skip_space(behind))?;
                (Some(value), behind)
            }
        };
        parameters.push((name.to_owned(), value));
        rest = behind;
    }
    Ok((
        Extension {
            name: name.to_owned(),
            parameters,
        },
        rest,
    ))
}

/// A token, and what is behind it and its space.
fn read_token(text: &str) -> Result<(&str, &str), Malformed> {
    let end = text.find([',', ';', '=', ' ', '\t']).unwrap_or(text.len());
    let (token, rest) = text.split_at(end);
    if requires!("rfc6455/9.1/h1" => !is_token(token)) {
        return Err(Malformed);
    }
    Ok((token, skip_space(rest)))
}

fn read_value<'a>(profile: &Profile, text: &'a str) -> Result<(String, &'a str), Malformed> {
    let quoted = text.strip_prefix('"').filter(|_| {
        let is_barred = requires!("hybi09/9.1/h1" => !profile.extension_values_are_quoted);
        !is_barred
    });
    let Some(quoted) = quoted else {
        let (token, rest) = read_token(text)?;
        return Ok((token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next().ok_or(Malformed)? {
            '"' => break,
            '\\' => value.push(characters.next().ok_or(Malformed)?),
            character => value.push(character),
        }
    }
    if requires!("rfc6455/4.3/1", "rfc6455/9.1/2" => !is_token(&value)) {
        return Err(Malformed);
    }
    Ok((value, skip_space(characters.as_str())))
}

fn skip_space(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}
