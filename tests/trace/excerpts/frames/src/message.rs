/// The length that a message declares, if any; none at all if the message is malformed.
pub(crate) fn check(fields: &[(String, String)]) -> Option<Option<usize>> {
    let mut length = None;
    for (name, value) in fields {
        match name.as_str() {
            "connection" | "upgrade" | "keep-alive" => return None,
            "content-length" => length = Some(value.parse().ok()?),
            _ => {}
        }
    }
    Some(length)
}
