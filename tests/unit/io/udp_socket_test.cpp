#include "agent/io/udp_socket.h"

#include <algorithm>
#include <string>

#include <netinet/in.h>
#include <netinet/ip.h>

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::io;

namespace {
UdpSocket bound(const char* address, Bytes buffer = kib(256)) {
  auto socket = UdpSocket::bind(*Endpoint::parse(address, 0), buffer);
  INFO((socket ? "" : socket.error()));
  REQUIRE(socket);
  return std::move(*socket);
}
}  // namespace

TEST_CASE("RFC 9715 s3.1: nothing is sent in fragments, and no ICMP message changes that", "[udp_socket]") {
  const auto option = [](const UdpSocket& socket, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    REQUIRE(::getsockopt(socket.fd(), level, name, &value, &size) == 0);
    return value;
  };
  CHECK(option(bound("127.0.0.1"), IPPROTO_IP, IP_MTU_DISCOVER) == IP_PMTUDISC_INTERFACE);
  CHECK(option(bound("::1"), IPPROTO_IPV6, IPV6_MTU_DISCOVER) == IPV6_PMTUDISC_INTERFACE);
}

TEST_CASE("a batch goes out and comes in, and is answered to its senders", "[udp_socket]") {
  const char* address = GENERATE("127.0.0.1", "::1");
  const UdpSocket a = bound(address);
  const UdpSocket b = bound(address);
  UdpSender sender;
  for (std::size_t i = 0; i < UdpSender::kBatch; ++i) {
    REQUIRE_FALSE(sender.full());
    std::fill_n(sender.slot().begin(), i + 1, static_cast<std::uint8_t>(i));
    sender.queue(i + 1, b.local());
  }
  CHECK(sender.full());
  const auto sent = sender.flush(a.fd());
  CHECK(sent.sent == 64);
  CHECK(sent.unsent == 0);
  UdpReceiver receiver;
  const auto count = receiver.receive(b.fd());
  REQUIRE(count);
  REQUIRE(*count == 64);
  for (std::size_t i = 0; i < 64; ++i) {
    CHECK(receiver.datagram(i).size() == i + 1);
    CHECK(receiver.datagram(i).back() == i);
    CHECK(receiver.peer(i) == a.local());
    CHECK_FALSE(receiver.truncated(i));
  }
  CHECK(receiver.receive(b.fd()) == std::size_t{0});
}

TEST_CASE("a datagram longer than a slot is reported", "[udp_socket]") {
  const UdpSocket a = bound("127.0.0.1");
  const UdpSocket b = bound("127.0.0.1");
  const ByteBuffer big(UdpReceiver::kSlot + 1, 7);
  sockaddr_storage to{};
  const socklen_t length = b.local().to_sockaddr(to);
  REQUIRE(::sendto(a.fd(), big.data(), big.size(), 0, reinterpret_cast<sockaddr*>(&to), length) == 4097);
  UdpReceiver receiver;
  REQUIRE(receiver.receive(b.fd()) == std::size_t{1});
  CHECK(receiver.truncated(0));
}

TEST_CASE("one datagram the kernel refuses does not take the others with it", "[udp_socket]") {
  const UdpSocket a = bound("127.0.0.1");
  const UdpSocket b = bound("127.0.0.1");
  UdpSender sender;
  sender.queue(1, b.local());
  sender.queue(1, *Endpoint::parse("192.0.2.1:0", 0));  // port 0 is EINVAL
  sender.queue(1, b.local());
  const auto sent = sender.flush(a.fd());
  CHECK(sent.sent == 2);
  CHECK(sent.unsent == 1);
  CHECK(sender.empty());
}

TEST_CASE("an address not on this node may be bound; one in use is named in the error", "[udp_socket]") {
  CHECK(UdpSocket::bind(*Endpoint::parse("192.0.2.77", 0), kib(64)));
  const UdpSocket a = bound("127.0.0.1");
  CHECK(a.receive_buffer().count > 0);
  const auto again = UdpSocket::bind(a.local(), kib(64));
  REQUIRE_FALSE(again);
  CHECK(again.error().find(a.local().to_string()) != std::string::npos);
}
