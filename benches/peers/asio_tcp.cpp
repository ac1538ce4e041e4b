// TCP echo with Boost.Asio: one thread, asynchronous reads of up to 64 KiB into the connection's
// own buffer.
#include <boost/asio.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

namespace asio = boost::asio;
using asio::ip::tcp;

class Session : public std::enable_shared_from_this<Session> {
 public:
  explicit Session(tcp::socket socket) : socket_(std::move(socket)) {}

  void read() {
    auto done = [self = shared_from_this()](boost::system::error_code error, std::size_t bytes) {
      if (!error) self->write(bytes);
    };
    socket_.async_read_some(asio::buffer(buffer_), std::move(done));
  }

 private:
  void write(std::size_t bytes) {
    auto done = [self = shared_from_this()](boost::system::error_code error, std::size_t) {
      if (!error) self->read();
    };
    asio::async_write(socket_, asio::buffer(buffer_.data(), bytes), std::move(done));
  }

  tcp::socket socket_;
  std::array<char, 64 * 1024> buffer_;
};

void accept(tcp::acceptor& acceptor) {
  acceptor.async_accept([&acceptor](boost::system::error_code error, tcp::socket socket) {
    if (!error) {
      socket.set_option(tcp::no_delay(true));
      std::make_shared<Session>(std::move(socket))->read();
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
