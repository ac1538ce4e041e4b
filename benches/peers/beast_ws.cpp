// WebSocket echo with Boost.Beast: one thread, asynchronous, one message read and written at a
// time, as in the library's own example of a fast server; compression is off unless asked for.
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using asio::ip::tcp;

class Session : public std::enable_shared_from_this<Session> {
 public:
  explicit Session(tcp::socket socket) : stream_(std::move(socket)) {
    stream_.read_message_max(64 * 1024 * 1024);
    stream_.auto_fragment(false);
  }

  void open() {
    stream_.async_accept([self = shared_from_this()](beast::error_code error) {
      if (!error) self->read();
    });
  }

 private:
  void read() {
    stream_.async_read(buffer_, [self = shared_from_this()](beast::error_code error, std::size_t) {
      if (!error) self->write();
    });
  }

  void write() {
    stream_.binary(stream_.got_binary());
    auto done = [self = shared_from_this()](beast::error_code error, std::size_t) {
      if (error) return;
      self->buffer_.clear();
      self->read();
    };
    stream_.async_write(buffer_.data(), std::move(done));
  }

  websocket::stream<tcp::socket> stream_;
  beast::flat_buffer buffer_;
};

void accept(tcp::acceptor& acceptor) {
  acceptor.async_accept([&acceptor](boost::system::error_code error, tcp::socket socket) {
    if (!error) {
      socket.set_option(tcp::no_delay(true));
      std::make_shared<Session>(std::move(socket))->open();
    }
    accept(acceptor);
  });
}

int main(int, char** arguments) {
  const auto port = static_cast<unsigned short>(std::atoi(arguments[1]));
  asio::io_context context{1};
  tcp::acceptor acceptor{context};
  const tcp::endpoint endpoint{asio::ip::make_address("127.0.0.1"), port};
  acceptor.open(endpoint.protocol());
  acceptor.set_option(asio::socket_base::reuse_address(true));
  acceptor.bind(endpoint);
  acceptor.listen(4096);
  accept(acceptor);
  std::printf("READY %d\n", port);
  std::fflush(stdout);
  context.run();
}
