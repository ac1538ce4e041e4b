//! What goes wrong in a simulation, and how often.

/// Chances in a thousand, each taken again at every occasion, and sizes.
#[derive(Clone, Debug)]
pub struct Faults {
    /// A receive brings less than there is.
    pub short_read_permille: u16,
    /// A send completes with less than asked though there may be room for more.
    pub short_write_permille: u16,
    /// A completion comes late, and so perhaps after those of other tokens that happened later.
    pub delay_permille: u16,
    /// How late at most.
    pub delay_microseconds_max: u32,
    /// A connection is reset while bytes go over it.
    pub reset_permille: u16,
    /// Accepting fails with `EMFILE`, `ENFILE`, `ENOBUFS` or `ENOMEM`.
    pub accept_error_permille: u16,
    /// A receive ends because no buffer is free, though one is.
    pub no_buffer_permille: u16,
    /// A cancel takes effect late; until then the operation continues.
    pub late_cancel_permille: u16,
    /// An operation is carried out, or a cancel takes effect, at once; its completion is in the
    /// same batch, as with the kernel's drivers if this is possible.
    pub at_once_permille: u16,
    /// A peer stops reading for a while after it was sent bytes.
    pub stall_permille: u16,
    /// The same for a socket of the port itself: for tests in which it is client and server.
    pub own_stall_permille: u16,
    /// For how long at most.
    pub stall_microseconds_max: u32,
    /// The process itself stops for a while instead of waiting in a turn.
    pub stop_permille: u16,
    /// For how long at most.
    pub stop_microseconds_max: u32,
    /// A datagram is lost on its way.
    pub datagram_loss_permille: u16,
    /// A datagram arrives twice.
    pub datagram_double_permille: u16,
    /// Bytes that are in flight or unread in one direction before a sender must wait.
    pub window_bytes: usize,
    /// Receive buffers of the port.
    pub buffers: u16,
    /// Bytes of one receive buffer.
    pub buffer_bytes: u32,
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self {
            short_read_permille: 0,
            short_write_permille: 0,
            delay_permille: 0,
            delay_microseconds_max: 0,
            reset_permille: 0,
            accept_error_permille: 0,
            no_buffer_permille: 0,
            late_cancel_permille: 0,
            at_once_permille: 0,
            stall_permille: 0,
            own_stall_permille: 0,
            stall_microseconds_max: 0,
            stop_permille: 0,
            stop_microseconds_max: 0,
            datagram_loss_permille: 0,
            datagram_double_permille: 0,
            window_bytes: 65_536,
            buffers: 64,
            buffer_bytes: 16_384,
        }
    }

    /// Everything that loses no byte goes wrong often: what was sent still arrives, in order.
    pub fn lossless() -> Self {
        Self {
            short_read_permille: 300,
            short_write_permille: 300,
            delay_permille: 300,
            delay_microseconds_max: 2_000,
            accept_error_permille: 100,
            no_buffer_permille: 50,
            late_cancel_permille: 500,
            at_once_permille: 300,
            stall_permille: 100,
            stall_microseconds_max: 5_000,
            window_bytes: 4_096,
            ..Self::none()
        }
    }

    /// All of that, and connections are reset, and datagrams lost or doubled.
    pub fn harsh() -> Self {
        Self {
            reset_permille: 20,
            datagram_loss_permille: 100,
            datagram_double_permille: 50,
            ..Self::lossless()
        }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}
