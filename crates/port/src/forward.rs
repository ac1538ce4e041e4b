//! Ports in front of other ports.

/// Write the methods of [`Port`](crate::Port) that hand a call on to the port in a field.
#[macro_export]
macro_rules! forward_to_port {
    ($field:ident: $($method:ident)*) => {
        $($crate::forward_to_port!(@$method $field);)*
    };
    (@name $field:ident) => {
        fn name(&self) -> &'static str {
            self.$field.name()
        }
    };
    (@now $field:ident) => {
        fn now(&self) -> u64 {
            self.$field.now()
        }
    };
    (@accept $field:ident) => {
        fn accept(&mut self, listener: $crate::Descriptor, token: $crate::Token) {
            self.$field.accept(listener, token);
        }
    };
    (@cancel_accept $field:ident) => {
        fn cancel_accept(&mut self, token: $crate::Token) {
            self.$field.cancel_accept(token);
        }
    };
    (@receive $field:ident) => {
        fn receive(&mut self, socket: $crate::Descriptor, token: $crate::Token) {
            self.$field.receive(socket, token);
        }
    };
    (@cancel_receive $field:ident) => {
        fn cancel_receive(&mut self, token: $crate::Token) {
            self.$field.cancel_receive(token);
        }
    };
    (@send $field:ident) => {
        fn send(
            &mut self,
            socket: $crate::Descriptor,
            token: $crate::Token,
            outgoing: $crate::Outgoing,
        ) {
            self.$field.send(socket, token, outgoing);
        }
    };
    (@cancel_send $field:ident) => {
        fn cancel_send(&mut self, token: $crate::Token) {
            self.$field.cancel_send(token);
        }
    };
    (@connect $field:ident) => {
        fn connect(
            &mut self,
            socket: $crate::Descriptor,
            token: $crate::Token,
            address: &$crate::Address,
        ) {
            self.$field.connect(socket, token, address);
        }
    };
    (@cancel_connect $field:ident) => {
        fn cancel_connect(&mut self, token: $crate::Token) {
            self.$field.cancel_connect(token);
        }
    };
    (@open $field:ident) => {
        fn open(
            &mut self,
            address: &$crate::Address,
            source: Option<&$crate::Address>,
        ) -> ::std::io::Result<$crate::Descriptor> {
            self.$field.open(address, source)
        }
    };
    (@listen $field:ident) => {
        fn listen(
            &mut self,
            address: &$crate::Address,
            backlog: u32,
            reuse_port: bool,
        ) -> ::std::io::Result<$crate::Descriptor> {
            self.$field.listen(address, backlog, reuse_port)
        }
    };
    (@adopt $field:ident) => {
        fn adopt(&mut self, listener: $crate::Descriptor) -> ::std::io::Result<()> {
            self.$field.adopt(listener)
        }
    };
    (@bind $field:ident) => {
        fn bind(
            &mut self,
            address: &$crate::Address,
            options: &$crate::DatagramOptions,
        ) -> ::std::io::Result<$crate::Descriptor> {
            self.$field.bind(address, options)
        }
    };
    (@adopt_datagrams $field:ident) => {
        fn adopt_datagrams(
            &mut self,
            socket: $crate::Descriptor,
            options: &$crate::DatagramOptions,
        ) -> ::std::io::Result<()> {
            self.$field.adopt_datagrams(socket, options)
        }
    };
    (@watch_datagrams $field:ident) => {
        fn watch_datagrams(
            &mut self,
            socket: $crate::Descriptor,
            token: $crate::Token,
        ) -> ::std::io::Result<()> {
            self.$field.watch_datagrams(socket, token)
        }
    };
    (@unwatch_datagrams $field:ident) => {
        fn unwatch_datagrams(&mut self, socket: $crate::Descriptor, token: $crate::Token) {
            self.$field.unwatch_datagrams(socket, token);
        }
    };
    (@receive_datagrams $field:ident) => {
        fn receive_datagrams(
            &mut self,
            socket: $crate::Descriptor,
            arrivals: &mut $crate::Arrivals,
            datagram_bytes_max: usize,
        ) -> Result<(), $crate::Errno> {
            self.$field.receive_datagrams(socket, arrivals, datagram_bytes_max)
        }
    };
    (@send_datagrams $field:ident) => {
        fn send_datagrams(
            &mut self,
            socket: $crate::Descriptor,
            departures: &mut $crate::Departures,
        ) -> $crate::Departed {
            self.$field.send_datagrams(socket, departures)
        }
    };
    (@keep_alive $field:ident) => {
        fn keep_alive(&mut self, socket: $crate::Descriptor, silence: ::std::time::Duration) {
            self.$field.keep_alive(socket, silence);
        }
    };
    (@shutdown $field:ident) => {
        fn shutdown(&mut self, socket: $crate::Descriptor) {
            self.$field.shutdown(socket);
        }
    };
    (@close $field:ident) => {
        fn close(&mut self, socket: $crate::Descriptor, reset: bool) {
            self.$field.close(socket, reset);
        }
    };
    (@local_address $field:ident) => {
        fn local_address(&self, socket: $crate::Descriptor) -> ::std::io::Result<$crate::Address> {
            self.$field.local_address(socket)
        }
    };
    (@peer_address $field:ident) => {
        fn peer_address(&self, socket: $crate::Descriptor) -> ::std::io::Result<$crate::Address> {
            self.$field.peer_address(socket)
        }
    };
    (@delivery $field:ident) => {
        fn delivery(&self, socket: $crate::Descriptor) -> $crate::Delivery {
            self.$field.delivery(socket)
        }
    };
    (@unread $field:ident) => {
        fn unread(&self, socket: $crate::Descriptor) -> $crate::Unread {
            self.$field.unread(socket)
        }
    };
    (@descriptor $field:ident) => {
        fn descriptor(&self) -> ::std::io::Result<$crate::Descriptor> {
            self.$field.descriptor()
        }
    };
    (@rest $field:ident) => {
        fn rest(&mut self) -> Option<::std::time::Duration> {
            self.$field.rest()
        }
    };
    (@counters $field:ident) => {
        fn counters(&self) -> $crate::Counters {
            self.$field.counters()
        }
    };
    (@poll $field:ident) => {
        fn poll(
            &mut self,
            descriptor: $crate::Descriptor,
            token: $crate::Token,
            interest: $crate::Interest,
        ) -> ::std::io::Result<()> {
            self.$field.poll(descriptor, token, interest)
        }
    };
    (@unpoll $field:ident) => {
        fn unpoll(&mut self, descriptor: $crate::Descriptor, token: $crate::Token) {
            self.$field.unpoll(descriptor, token);
        }
    };
    (@turn $field:ident) => {
        fn turn(&mut self, timeout: Option<::std::time::Duration>) -> ::std::io::Result<()> {
            self.$field.turn(timeout)
        }
    };
    (@waker $field:ident) => {
        fn waker(&self) -> ::std::sync::Arc<dyn $crate::Wake> {
            self.$field.waker()
        }
    };
}
