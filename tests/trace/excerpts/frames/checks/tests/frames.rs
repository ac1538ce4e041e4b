use support::{Frame, Limits, Reply, connect};

fn headers(stream: u32, name: &str, value: &str) -> Frame {
    Frame::Headers {
        stream,
        fields: vec![(name.into(), value.into())],
    }
}

#[test]
fn data_on_stream_zero() {
    let peer = connect(Limits::default());
    peer.send(Frame::Data {
        stream: 0,
        length: 5,
    });
    peer.send(Frame::Data {
        stream: 1,
        length: 5,
    });
    assert_eq!(peer.end(), [Reply::Gone, Reply::Accepted]);
}

#[test]
fn frame_too_big() {
    let peer = connect(Limits::default());
    peer.send(Frame::Data {
        stream: 1,
        length: 100,
    });
    peer.send(Frame::Data {
        stream: 1,
        length: 101,
    });
    assert_eq!(peer.end(), [Reply::Accepted, Reply::Gone]);
}

#[test]
fn rogue_server_odd_headers() {
    let peer = connect(Limits::default());
    peer.send(headers(3, "server", "a"));
    peer.send(headers(1, "server", "a"));
    assert_eq!(peer.end(), [Reply::Gone, Reply::Accepted]);
}

#[test]
fn connection_fields() {
    let peer = connect(Limits::default());
    for name in ["connection", "upgrade", "keep-alive", "server"] {
        peer.send(headers(1, name, "a"));
    }
    let reset = Reply::Reset(1);
    assert_eq!(peer.end(), [reset, reset, reset, Reply::Accepted]);
}

#[test]
fn too_much_content() {
    let peer = connect(Limits::default());
    peer.send(headers(1, "content-length", "4"));
    peer.send(Frame::Data {
        stream: 1,
        length: 5,
    });
    assert_eq!(peer.end(), [Reply::Accepted, Reply::Reset(1)]);
}

#[test]
fn end_with_a_higher_last_stream() {
    let peer = connect(Limits::default());
    peer.send(Frame::End { last: 3 });
    peer.send(Frame::End { last: 1 });
    peer.send(Frame::End { last: 3 });
    assert_eq!(peer.end(), [Reply::Accepted, Reply::Accepted, Reply::Gone]);
}
