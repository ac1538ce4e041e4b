//! A peer that sends whatever a test says, over a channel, as a real one would over a socket.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

pub use frames::{Connection, Frame, Limits, Reply};

pub struct Peer {
    sent: Sender<Frame>,
    replies: Receiver<Reply>,
    client: JoinHandle<()>,
}

/// Starts a client that answers each frame it gets.
pub fn connect(limits: Limits) -> Peer {
    let (sent, frames) = channel::<Frame>();
    let (tell, replies) = channel();
    let client = std::thread::spawn(move || {
        let mut connection = Connection::new(limits);
        connection.request();
        for frame in frames {
            if tell.send(connection.receive(&frame)).is_err() {
                return;
            }
        }
    });
    Peer {
        sent,
        replies,
        client,
    }
}

impl Peer {
    pub fn send(&self, frame: Frame) {
        self.sent.send(frame).expect("the client is there");
    }

    /// All replies, once the client has got every frame.
    pub fn end(self) -> Vec<Reply> {
        drop(self.sent);
        self.client.join().expect("the client does not panic");
        self.replies.into_iter().collect()
    }
}
