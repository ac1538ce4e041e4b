use super::*;

const ROOM: usize = 2;
const STRICT: Config = Config {
    several_spaces: false,
    space_after_name: false,
};
const LENIENT: Config = Config {
    several_spaces: true,
    space_after_name: true,
};

/// A test of a request: its name, its bytes, the result, and a check.
macro_rules! request {
    ($name:ident, $bytes:expr, |$request:ident, $fields:ident| $check:expr) => {
        request! {
            $name, STRICT, $bytes, Ok(Status::Complete($bytes.len())), |$request, $fields| $check
        }
    };
    (
        $name:ident, $config:expr, $bytes:expr, $wanted:expr,
        |$request:ident, $fields:ident| $check:expr
    ) => {
        #[test]
        fn $name() {
            let mut $fields = [EMPTY; ROOM];
            let mut $request = Request::default();
            let status = $request.parse($config, $bytes, &mut $fields);
            assert_eq!(status, $wanted);
            $check
        }
    };
}

request! { test_request_simple, b"GET / HTTP/1.1\r\n\r\n", |request, _fields| {
    assert_eq!((request.method, request.path), (&b"GET"[..], &b"/"[..]));
} }

request! { test_request_field, b"GET / HTTP/1.1\nHost: a\n\n", |request, fields| {
    assert_eq!(request.fields, 1);
    assert_eq!(fields[0], Field { name: b"Host", value: b"a" });
} }

request! { test_request_partial, STRICT, b"GET / HTT",
    Ok(Status::Partial), |_request, _fields| {} }

request! { test_request_empty_lines, b"\r\n\nGET / HTTP/1.1\r\n\r\n", |request, _fields| {
    assert_eq!(request.method, b"GET");
} }

request! { test_request_bare_return, STRICT, b"GET / HTTP/1.1\rHost: a",
    Err(Error::NewLine), |_request, _fields| {} }

request! { test_request_version, STRICT, b"GET / HTTP/2.0\r\n\r\n",
    Err(Error::Version), |_request, _fields| {} }

request! { test_request_spaces, LENIENT, b"GET   / HTTP/1.1\r\n\r\n",
    Ok(Status::Complete(20)), |request, _fields| {
    assert_eq!(request.path, b"/");
} }

request! { test_request_space_after_name, LENIENT, b"GET / HTTP/1.1\r\na : b\r\n\r\n",
    Err(Error::FieldName), |_request, _fields| {} }

request! { test_request_no_name, STRICT, b"GET / HTTP/1.1\r\n: b\r\n\r\n",
    Err(Error::FieldName), |_request, _fields| {} }

request! { test_request_no_room, STRICT, b"GET / HTTP/1.1\na:\nb:\nc:\n\n",
    Err(Error::Room), |_request, _fields| {} }

fn response(config: Config, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut fields = [EMPTY; ROOM];
    let mut response = Response::default();
    let status = response.parse(config, bytes, &mut fields);
    assert_eq!(status, Ok(Status::Complete(bytes.len())));
    (response.reason.to_vec(), fields[0].name.to_vec())
}

#[test]
fn test_response_reason_above_127() {
    let (reason, _) = response(STRICT, b"HTTP/1.1 200 X\xFFZ\r\n\r\n");
    assert_eq!(reason, b"X\xFFZ");
}

#[test]
fn test_response_space_after_name() {
    let (_, name) = response(LENIENT, b"HTTP/1.1 200 OK\r\na : b\r\n\r\n");
    assert_eq!(name, b"a");
}

#[test]
fn test_chunk_size() {
    assert_eq!(chunk_size(b"0\r\n"), Ok(Status::Complete((3, 0))));
    assert_eq!(chunk_size(b"12\r\n"), Ok(Status::Complete((4, 0x12))));
    assert_eq!(chunk_size(b"3086d"), Ok(Status::Partial));
    assert_eq!(chunk_size(b"3;ext=1\r\n"), Ok(Status::Complete((9, 3))));
    assert_eq!(chunk_size(b"Ff\r\n"), Ok(Status::Complete((4, 255))));
    assert_eq!(chunk_size(b"x\r\n"), Err(Error::Token));
    assert_eq!(chunk_size(b"7\rx"), Err(Error::NewLine));
    assert_eq!(chunk_size(b"fffffffffffffffff\r\n"), Err(Error::Token));
}
