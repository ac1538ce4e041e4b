//! RFC 6455 section 9.1: the grammar of `Sec-WebSocket-Extensions`.

use proptest::prelude::*;
use vespiary_trace::claims;
use vespiary_wire::websocket::extension::{self, Extension, Malformed};
use vespiary_wire::websocket::profile::Version;

fn parse(value: &str) -> Result<Vec<Extension>, Malformed> {
    extension::parse(Version::Rfc6455.profile(), value)
}

fn extension(name: &str, parameters: &[(&str, Option<&str>)]) -> Extension {
    let parameters = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)))
        .collect();
    Extension {
        name: name.to_owned(),
        parameters,
    }
}

#[test]
fn section_9_1_the_examples_are_read() {
    assert_eq!(
        parse("deflate-stream"),
        Ok(vec![extension("deflate-stream", &[])])
    );
    assert_eq!(
        parse("mux; max-channels=4; flow-control, deflate-stream"),
        Ok(vec![
            extension(
                "mux",
                &[("max-channels", Some("4")), ("flow-control", None)]
            ),
            extension("deflate-stream", &[]),
        ])
    );
    assert_eq!(
        parse("private-extension"),
        Ok(vec![extension("private-extension", &[])])
    );
}

#[test]
fn section_9_1_a_quoted_value_is_the_token_within_it() {
    claims!("rfc6455/4.3/1", "rfc6455/9.1/2");
    for value in ["a; b=\"10\"", "a;b = \"1\\0\"", "a ;\tb= \"10\" "] {
        let expected = vec![extension("a", &[("b", Some("10"))])];
        assert_eq!(parse(value), Ok(expected), "{value}");
    }
    for value in [
        "a; b=\"\"",
        "a; b=\"1 0\"",
        "a; b=\"1,0\"",
        "a; b=\"\\\"\"",
        "a; b=\"é\"",
    ] {
        assert_eq!(parse(value), Err(Malformed), "{value}");
    }
}

#[test]
fn section_9_1_what_does_not_follow_the_grammar_is_malformed() {
    claims!("rfc6455/9.1/h1");
    for value in [
        "",
        " ",
        ",",
        ", ,",
        ";",
        "=",
        "a b",
        "a;",
        "a; ;b",
        "a; b=",
        "a; =b",
        "a=b",
        "a; b=c=d",
        "a; b c",
        "a; b=c d",
        "\"a\"",
        "a; \"b\"",
        "a; b=\"c",
        "a; b=\"c\"d",
        "a; b=\"c\\",
        "é",
        "a; b=c\"",
        "a/b",
    ] {
        assert_eq!(parse(value), Err(Malformed), "{value:?}");
    }
}

#[test]
fn rfc_9110_5_6_1_empty_elements_of_the_list_are_skipped() {
    let expected = vec![extension("a", &[]), extension("b", &[("c", None)])];
    assert_eq!(parse(", a,,\t, b;c ,"), Ok(expected));
}

type Drawn = (String, Vec<(String, Option<String>)>);

fn any_extension() -> impl Strategy<Value = Drawn> {
    let parameter = ("[a-z_]{1,5}", proptest::option::of("[0-9]{1,3}"));
    ("[a-z-]{1,9}", proptest::collection::vec(parameter, 0..3))
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        extensions in proptest::collection::vec(any_extension(), 1..4),
        space in "[ \t]{0,2}",
    ) {
        let mut written = Vec::new();
        for (name, parameters) in &extensions {
            let mut parts = vec![name.clone()];
            for (name, value) in parameters {
                parts.extend([";".to_owned(), name.clone()]);
                if let Some(value) = value {
                    parts.extend(["=".to_owned(), value.clone()]);
                }
            }
            written.push(format!("{space}{}{space}", parts.join(&space)));
        }
        let expected: Vec<Extension> = extensions
            .into_iter()
            .map(|(name, parameters)| Extension { name, parameters })
            .collect();
        prop_assert_eq!(parse(&written.join(",")), Ok(expected));
    }

    #[test]
    fn any_text_is_read_or_refused_without_a_panic(value in "[a;,=\" \\\\\té]{0,20}") {
        if let Ok(extensions) = parse(&value) {
            prop_assert!(!extensions.is_empty());
        }
    }
}
