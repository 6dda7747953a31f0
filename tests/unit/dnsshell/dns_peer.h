// A small DNS server on loopback for the tests of the transport: UDP and TCP on one port, answering as a script says.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

#include "agent/io/poll.h"
#include "agent/io/tcp.h"
#include "agent/io/timer.h"
#include "agent/io/udp_socket.h"
#include "dnscache/tcp_framing.h"

#include "tests/support/catch.h"

namespace lastlight::test {

using namespace std::chrono_literals;

// A question for `label`.test A IN, with ID 0.
inline ByteBuffer question(std::string_view label) {
  ByteBuffer m = {0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(label.size())};
  m.insert(m.end(), label.begin(), label.end());
  for (const int b : std::initializer_list<int>{4, 't', 'e', 's', 't', 0, 0, 1, 0, 1})
    m.push_back(static_cast<std::uint8_t>(b));
  return m;
}

// The question turned into a reply with one A record and `extra` TXT-like padding bytes.
inline ByteBuffer reply_to(ByteView query, std::uint8_t rcode = 0, bool truncated = false) {
  ByteBuffer m(query.begin(), query.end());
  m[2] = static_cast<std::uint8_t>(0x81 | (truncated ? 2 : 0));
  m[3] = static_cast<std::uint8_t>(0x80 | rcode);
  if (rcode != 0 || truncated) return m;
  m[7] = 1;
  for (const int b : {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 192, 0, 2, 9})
    m.push_back(static_cast<std::uint8_t>(b));
  return m;
}

template <class Done>
void turn_until(io::Loop& loop, Done done) {
  bool late = false;
  io::Timer watchdog(loop, [&] { late = true; });
  watchdog.start_in(10s);
  // A turn may run a due timer and then wait: the tick ends that wait.
  io::Timer* again = nullptr;
  io::Timer tick(loop, [&] { again->start_in(5ms); });
  again = &tick;
  tick.start_in(5ms);
  while (!done() && !late)
    loop.run_once();
  REQUIRE(done());
}

class DnsPeer {
 public:
  using Replies = std::vector<ByteBuffer>;  // none: silence
  struct Script {
    std::function<Replies(ByteView)> udp = [](ByteView q) { return Replies{reply_to(q)}; };
    std::function<Replies(ByteView)> tcp = [](ByteView q) { return Replies{reply_to(q)}; };
    bool reset_tcp = false;
  };

  explicit DnsPeer(io::Loop& loop, const char* address = "127.0.0.1") : loop_(loop) {
    for (int i = 0; i < 16 && !listener_; ++i) {
      udp_ = std::move(io::UdpSocket::bind(*Endpoint::parse(address, 0), kib(256)).value());
      auto listener = io::TcpListener::listen(
          loop, udp_.local(), [this](io::FileDescriptor fd, const Endpoint&) { accept(std::move(fd)); });
      if (listener) listener_ = std::move(*listener);
    }
    REQUIRE(listener_);
    poll_ = std::make_unique<io::Poll>(loop, udp_.fd(), [this](io::Poll::Ready) { read(); });
    poll_->watch(true, false);
  }
  Endpoint endpoint() const { return udp_.local(); }

  Script script;
  std::vector<std::uint16_t> udp_ports;  // the senders'
  std::vector<std::uint16_t> udp_ids;
  std::vector<ByteBuffer> tcp_queries;
  std::size_t tcp_accepted = 0;

 private:
  struct Stream {
    dns::TcpFraming framing;
    std::move_only_function<void(ByteView)> message;
    std::unique_ptr<io::TcpConnection> tcp;
  };

  void read() {
    const auto count = receiver_.receive(udp_.fd());
    for (std::size_t i = 0; i < count.value_or(0); ++i) {
      const ByteView query = receiver_.datagram(i);
      udp_ports.push_back(receiver_.peer(i)->port);
      udp_ids.push_back(static_cast<std::uint16_t>(query[0] << 8 | query[1]));
      for (const ByteBuffer& r : script.udp(query)) {
        std::copy(r.begin(), r.end(), sender_.slot().begin());
        sender_.queue(r.size(), *receiver_.peer(i));
        sender_.flush(udp_.fd());
      }
    }
  }

  void accept(io::FileDescriptor fd) {
    ++tcp_accepted;
    if (script.reset_tcp) {
      const linger at_once{.l_onoff = 1, .l_linger = 0};
      ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
      return;
    }
    auto owned = std::make_unique<Stream>();
    Stream* s = owned.get();
    s->message = [this, s](ByteView query) {
      tcp_queries.emplace_back(query.begin(), query.end());
      for (ByteBuffer r : script.tcp(query)) {
        const auto size = r.size();
        r.insert(r.begin(), {static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)});
        s->tcp->write(r);
      }
    };
    s->tcp = std::make_unique<io::TcpConnection>(
        loop_, std::move(fd),
        io::TcpConnection::Limits{.idle = 30s, .message = 30s, .write = 30s, .max_queued = 1 << 20},
        io::TcpConnection::Calls{.received = [s](ByteView b) { return s->framing.feed(b, s->message); },
                                 .half_closed = [s] { s->tcp->finish(); },
                                 .closed =
                                     [this, s](io::TcpConnection::Closed) {
                                       std::erase_if(streams_, [s](const auto& o) { return o.get() == s; });
                                     }});
    streams_.push_back(std::move(owned));
  }

  io::Loop& loop_;
  io::UdpSocket udp_;
  std::unique_ptr<io::TcpListener> listener_;
  std::unique_ptr<io::Poll> poll_;
  io::UdpReceiver receiver_;
  io::UdpSender sender_;
  std::vector<std::unique_ptr<Stream>> streams_;
};

}  // namespace lastlight::test
