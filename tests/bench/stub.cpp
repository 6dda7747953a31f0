// An upstream that costs as little as one can: answers every question at once, over UDP in batches and over TCP out of
// order (what one read brought is answered last question first).
//   bench_stub IP:PORT
//   bench_stub IP:PORT MILLISECONDS            each answer so much later, give or take half of it: so out of order
//   bench_stub IP:PORT MILLISECONDS in-order   so much later, and over TCP one after the other, as CoreDNS does it
// In cluster.local there is NAME.NAMESPACE.svc.cluster.local and nothing else; everywhere else there is everything.
#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <string_view>
#include <vector>

#include <poll.h>
#include <unistd.h>

#include "agent/base/bytes.h"
#include "dnscache/wire.h"

#include "tests/bench/batch.h"

namespace lastlight::bench {

namespace {

constexpr std::uint32_t kTtl = 3600;
constexpr std::uint32_t kNegativeTtl = 30;

bool exists(const dns::Name& name) {
  std::vector<std::string_view> labels;
  for (std::size_t at = 0; at < name.size && name.octets[at] != 0; at += name.octets[at] + std::size_t{1})
    labels.emplace_back(reinterpret_cast<const char*>(&name.octets[at + 1]), name.octets[at]);
  const std::size_t count = labels.size();
  if (count < 2 || labels[count - 1] != "local" || labels[count - 2] != "cluster") return true;
  return count == 5 && labels[2] == "svc";
}

// A record of the question's name; where its RDATA begins.
std::size_t put_record(MutableByteView out, std::size_t at, std::uint16_t type, std::uint32_t ttl, std::size_t rdata) {
  dns::store16(out, at, 0xC000 | dns::kHeaderSize);
  dns::store16(out, at + 2, type);
  dns::store16(out, at + 4, dns::kClassIn);
  dns::store32(out, at + 6, ttl);
  dns::store16(out, at + 10, static_cast<std::uint16_t>(rdata));
  std::fill_n(out.begin() + static_cast<std::ptrdiff_t>(at) + 12, rdata, std::uint8_t{1});
  return at + 12;
}

// In its place; the new size, 0 for what is no query.
std::size_t answer(MutableByteView message, std::size_t size) {
  dns::Reader reader(ByteView(message).first(size));
  dns::Name name;
  if (size < dns::kHeaderSize || !reader.name(&name)) return 0;
  const std::uint16_t type = reader.u16();
  reader.skip(2);
  if (reader.failed()) return 0;
  const bool there = exists(name);
  const std::size_t rdata = !there ? 0 : type == dns::kTypeA ? 4 : type == dns::kTypeAaaa ? 16 : 0;
  dns::store16(message, 2, static_cast<std::uint16_t>(dns::kQr | dns::kAa | (there ? 0 : dns::kNxDomain)));
  dns::store16(message, 6, rdata > 0);
  dns::store16(message, 8, rdata == 0);
  dns::store16(message, 10, 0);
  if (rdata > 0) return put_record(message, reader.at(), type, kTtl, rdata) + rdata;
  const std::size_t soa =
      put_record(message, reader.at(), dns::kTypeSoa, kNegativeTtl, 24);  // two pointers, five numbers
  dns::store16(message, soa, 0xC000 | dns::kHeaderSize);
  dns::store16(message, soa + 2, 0xC000 | dns::kHeaderSize);
  dns::store32(message, soa + 20, kNegativeTtl);
  return soa + 24;
}

using Clock = std::chrono::steady_clock;

struct Later {
  int fd = -1;
  sockaddr_in peer{};  // of a datagram
  ByteBuffer octets;
};

struct Delays {
  std::chrono::milliseconds delay{};
  bool in_order = false;
  std::minstd_rand random;
  std::multimap<Clock::time_point, Later> answers;
  std::map<int, Clock::time_point> busy;  // connections, in order

  void put(int fd, const sockaddr_in& peer, ByteBuffer octets, bool stream) {
    auto due = Clock::now() + delay;
    if (!in_order) due += delay * (static_cast<int>(random() % 1001) - 500) / 1000;
    if (stream && in_order) due = busy[fd] = std::max(Clock::now(), busy[fd]) + delay;
    answers.emplace(due, Later{fd, peer, std::move(octets)});
  }
  void forget(int fd) {
    busy.erase(fd);
    std::erase_if(answers, [fd](const auto& each) { return each.second.fd == fd; });
  }
  void send_due() {
    while (!answers.empty() && answers.begin()->first <= Clock::now()) {
      const Later& each = answers.begin()->second;
      const bool datagram = each.peer.sin_family == AF_INET;
      // Whoever is gone needs no answer; what does not fit into a socket's buffer is lost.
      static_cast<void>(::sendto(each.fd, each.octets.data(), each.octets.size(), MSG_NOSIGNAL,
                                 datagram ? reinterpret_cast<const sockaddr*>(&each.peer) : nullptr,
                                 datagram ? sizeof each.peer : 0));
      answers.erase(answers.begin());
    }
  }
  int wait() const {
    if (answers.empty()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(answers.begin()->first - Clock::now());
    return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
  }
};

void serve_datagrams(int fd, Delays& delays) {
  static Batch batch(true);
  for (mmsghdr& header : batch.headers)
    header.msg_hdr.msg_iov->iov_len = Batch::kSlot;
  const int count = ::recvmmsg(fd, batch.headers.data(), Batch::kMost, MSG_DONTWAIT, nullptr);
  for (std::size_t i = 0; static_cast<int>(i) < count; ++i)
    batch.vectors[i].iov_len = answer(batch.octets[i], batch.headers[i].msg_len);
  if (delays.delay > Clock::duration::zero()) {
    for (std::size_t i = 0; static_cast<int>(i) < count; ++i) {
      const auto* octets = batch.octets[i].data();
      delays.put(fd, batch.peers[i], {octets, octets + batch.vectors[i].iov_len}, false);
    }
    return;
  }
  for (int sent = 0; sent < count;) {
    const int now = ::sendmmsg(fd, batch.headers.data() + sent, static_cast<unsigned>(count - sent), 0);
    sent += std::max(now, 1);  // whoever is gone needs no answer
  }
}

// False at the connection's end.
bool serve_stream(int fd, ByteBuffer& held, Delays& delays) {
  static std::array<std::uint8_t, 65536> chunk;
  const ssize_t got = ::read(fd, chunk.data(), chunk.size());
  if (got <= 0) return false;
  held.insert(held.end(), chunk.begin(), chunk.begin() + got);
  std::vector<ByteBuffer> answers;
  std::size_t at = 0;
  while (held.size() - at >= 2 && held.size() - at - 2 >= dns::load16(held, at)) {
    const std::size_t size = dns::load16(held, at);
    const auto* query = held.data() + at + 2;
    ByteBuffer& frame = answers.emplace_back(2 + size + 64);
    std::copy_n(query, size, frame.begin() + 2);
    const std::size_t written = answer(MutableByteView(frame).subspan(2), size);
    dns::store16(frame, 0, static_cast<std::uint16_t>(written));
    frame.resize(2 + written);
    at += 2 + size;
  }
  held.erase(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(at));
  if (delays.delay > Clock::duration::zero()) {
    for (ByteBuffer& each : answers)
      delays.put(fd, {}, std::move(each), true);
    return true;
  }
  ByteBuffer out;
  for (auto each = answers.rbegin(); each != answers.rend(); ++each)
    out.insert(out.end(), each->begin(), each->end());
  for (std::size_t sent = 0; sent < out.size();) {
    const ssize_t now = ::write(fd, out.data() + sent, out.size() - sent);
    if (now <= 0) return false;
    sent += static_cast<std::size_t>(now);
  }
  return true;
}

int run(const sockaddr_in& where, Delays delays) {
  const int udp = udp_socket(where);
  const int tcp = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(tcp, reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0 || ::listen(tcp, 64) != 0)
    give_up("bind");
  std::map<int, ByteBuffer> streams;
  std::vector<pollfd> watched;
  for (;;) {
    watched = {{.fd = udp, .events = POLLIN, .revents = 0}, {.fd = tcp, .events = POLLIN, .revents = 0}};
    for (const auto& [fd, held] : streams)
      watched.push_back({.fd = fd, .events = POLLIN, .revents = 0});
    if (::poll(watched.data(), watched.size(), delays.wait()) < 0) give_up("poll");
    delays.send_due();
    if (watched[0].revents != 0) serve_datagrams(udp, delays);
    for (std::size_t i = 2; i < watched.size(); ++i) {
      if (watched[i].revents == 0 || serve_stream(watched[i].fd, streams[watched[i].fd], delays)) continue;
      delays.forget(watched[i].fd);
      ::close(watched[i].fd);
      streams.erase(watched[i].fd);
    }
    if (watched[1].revents != 0) {
      if (const int fd = ::accept(tcp, nullptr, nullptr); fd >= 0) streams[fd];
    }
  }
}

}  // namespace

}  // namespace lastlight::bench

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4) return 2;
  lastlight::bench::Delays delays;
  if (argc > 2) delays.delay = std::chrono::milliseconds(std::atoi(argv[2]));
  delays.in_order = argc > 3;
  return lastlight::bench::run(lastlight::bench::address_of(argv[1]), std::move(delays));
}
