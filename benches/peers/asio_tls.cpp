// TLS echo with Boost.Asio and OpenSSL: `asio_tls PORT CERTIFICATE KEY`. One thread, asynchronous
// reads of up to 64 KiB into the connection's own buffer.
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

namespace asio = boost::asio;
using asio::ip::tcp;
using Stream = asio::ssl::stream<tcp::socket>;

class Session : public std::enable_shared_from_this<Session> {
 public:
  explicit Session(Stream stream) : stream_(std::move(stream)) {}

  void begin() {
    auto done = [self = shared_from_this()](boost::system::error_code error) {
      if (!error) self->read();
    };
    stream_.async_handshake(asio::ssl::stream_base::server, std::move(done));
  }

 private:
  void read() {
    auto done = [self = shared_from_this()](boost::system::error_code error, std::size_t bytes) {
      if (!error) {
        self->write(bytes);
      } else if (error == asio::error::eof) {
        self->end();
      }
    };
    stream_.async_read_some(asio::buffer(buffer_), std::move(done));
  }

  void write(std::size_t bytes) {
    auto done = [self = shared_from_this()](boost::system::error_code error, std::size_t) {
      if (!error) self->read();
    };
    asio::async_write(stream_, asio::buffer(buffer_.data(), bytes), std::move(done));
  }

  void end() {
    stream_.async_shutdown([self = shared_from_this()](boost::system::error_code) {});
  }

  Stream stream_;
  std::array<char, 64 * 1024> buffer_;
};

void accept(tcp::acceptor& acceptor, asio::ssl::context& tls) {
  acceptor.async_accept([&](boost::system::error_code error, tcp::socket socket) {
    if (!error) {
      socket.set_option(tcp::no_delay(true));
      std::make_shared<Session>(Stream{std::move(socket), tls})->begin();
    }
    accept(acceptor, tls);
  });
}

int main(int, char** arguments) {
  const auto port = static_cast<unsigned short>(std::atoi(arguments[1]));
  asio::io_context context{1};
  asio::ssl::context tls{asio::ssl::context::tls_server};
  tls.use_certificate_chain_file(arguments[2]);
  tls.use_private_key_file(arguments[3], asio::ssl::context::pem);
  tcp::acceptor acceptor{context};
  const tcp::endpoint endpoint{asio::ip::make_address("127.0.0.1"), port};
  acceptor.open(endpoint.protocol());
  acceptor.set_option(asio::socket_base::reuse_address(true));
  acceptor.bind(endpoint);
  acceptor.listen(4096);
  accept(acceptor, tls);
  std::printf("READY %d\n", port);
  std::fflush(stdout);
  context.run();
}
