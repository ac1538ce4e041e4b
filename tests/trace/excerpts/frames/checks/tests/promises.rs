use support::{Connection, Frame, Limits, Reply, connect};

fn promise(stream: u32) -> Frame {
    Frame::Promise {
        stream,
        method: "GET",
    }
}

#[test]
fn disabled_promises() {
    let peer = connect(Limits {
        promises: false,
        ..Limits::default()
    });
    peer.send(promise(3));
    assert_eq!(peer.end(), [Reply::Gone]);
}

#[test]
fn odd_promises() {
    let peer = connect(Limits::default());
    peer.send(promise(3));
    peer.send(promise(2));
    assert_eq!(peer.end(), [Reply::Gone, Reply::Accepted]);
}

#[test]
fn promises_twice() {
    let peer = connect(Limits {
        streams: 9,
        ..Limits::default()
    });
    peer.send(promise(4));
    peer.send(promise(4));
    peer.send(promise(2));
    peer.send(promise(6));
    assert_eq!(
        peer.end(),
        [Reply::Accepted, Reply::Gone, Reply::Gone, Reply::Accepted]
    );
}

#[test]
fn too_many_streams() {
    let peer = connect(Limits::default());
    peer.send(promise(2));
    peer.send(promise(4));
    assert_eq!(peer.end(), [Reply::Accepted, Reply::Reset(4)]);
}

#[test]
fn unsafe_promises() {
    let mut connection = Connection::new(Limits::default());
    let post = Frame::Promise {
        stream: 2,
        method: "POST",
    };
    assert_eq!(connection.receive(&post), Reply::Reset(2));
    assert!(!connection.is_open(2));
    assert_eq!(connection.receive(&promise(4)), Reply::Accepted);
    assert!(connection.is_open(4));
}
