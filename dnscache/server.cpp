#include "dnscache/server.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "dnscache/takeover/plan.h"

namespace lastlight::dns {

namespace {

constexpr int kBatchesPerWake = 4;  // then timers and other sockets have their turn
constexpr int kLastBatches = 64;    // of each socket at shutdown: 4096 queries
constexpr std::uint32_t kMaxUnanswered = 100;
constexpr std::size_t kMaxQueued = 256 * 1024;
constexpr std::size_t kPrefix = 2;
constexpr std::size_t kMaxMessage = 65535;
constexpr int kPortTries = 16;

}  // namespace

struct Server::Listener {
  std::uint32_t index;
  io::UdpSocket udp;
  std::unique_ptr<io::TcpListener> tcp;
  std::unique_ptr<io::Poll> poll;  // goes before the socket it watches
};

struct Server::Connection {
  std::uint64_t id;
  std::uint32_t listener;
  Endpoint peer;
  TcpFraming framing;
  std::move_only_function<void(ByteView)> message;
  std::uint64_t messages = 0;
  std::uint64_t charged = 0;
  std::uint32_t unanswered = 0;
  bool half_closed = false;
  std::unique_ptr<io::TcpConnection> tcp;
};

Server::Server(io::Loop& loop, const DnsConfig& config, Answer answer, AskUpstream ask, io::SocketSource sockets,
               Expect expect)
    : loop_(loop),
      config_(config),
      answer_(std::move(answer)),
      ask_(std::move(ask)),
      sockets_(std::move(sockets)),
      expect_(std::move(expect)),
      tcp_answer_(kPrefix + kMaxMessage),
      before_wait_(loop, [this] { flush_deliveries(); }) {}

Server::~Server() {
  flush_deliveries();
}

std::expected<Endpoint, std::string> Server::listen(const Endpoint& where) {
  const auto index = static_cast<std::uint32_t>(listeners_.size());
  // With port 0 the kernel chooses the UDP port; the same TCP port may be taken, so another is drawn.
  for (int attempt = 1;; ++attempt) {
    auto udp = io::UdpSocket::bind(where, config_.receive_buffer, sockets_);
    if (!udp) return std::unexpected(udp.error());
    const Endpoint local = udp->local();
    auto tcp = io::TcpListener::listen(
        loop_, local,
        [this, index](io::FileDescriptor fd, const Endpoint& peer) { accept(index, std::move(fd), peer); }, sockets_);
    if (!tcp) {
      if (where.port == 0 && attempt < kPortTries) continue;
      return std::unexpected(tcp.error());
    }
    auto listener = std::make_unique<Listener>(Listener{index, std::move(*udp), std::move(*tcp), nullptr});
    listener->poll = std::make_unique<io::Poll>(loop_, listener->udp.fd(),
                                                [this, l = listener.get()](io::Poll::Ready) { read_datagrams(*l); });
    listener->poll->watch(true, false);
    listeners_.push_back(std::move(listener));
    return local;
  }
}

void Server::read_datagrams(Listener& listener) {
  for (int batch = 0; batch < kBatchesPerWake && reading_; ++batch) {
    if (!read_batch(listener)) return;
  }
}

void Server::expect(std::size_t from, std::size_t count) {
  if (!expect_) return;
  std::array<ByteView, Forwarder::kExpected> next;
  count = std::min(count, next.size());
  for (std::size_t i = 0; i < count; ++i)
    next[i] = receiver_.datagram(from + i);
  expect_(std::span(next).first(count));
}

// False when the socket is empty.
bool Server::read_batch(Listener& listener) {
  const auto count = receiver_.receive(listener.udp.fd());
  if (!count) {
    ++counters_.udp_receive_errors;  // an ICMP error on the socket, for example: reading it has cleared it
    return false;
  }
  if (*count == 0) return false;
  const Instant now = loop_.refresh();
  Client client{.peer = {}, .listener = listener.index, .connection = 0, .transport = Transport::Udp};
  for (std::size_t i = 0; i < *count; ++i) {
    if (i % Forwarder::kExpected == 0) expect(i, *count - i);
    const auto peer = receiver_.peer(i);
    if (!peer) continue;
    // RFC 8906 s3: what can be read is answered; if the end is missed, that is a FORMERR.
    if (receiver_.truncated(i)) ++counters_.udp_oversize;
    ++counters_.udp_queries;
    client.peer = *peer;
    const Forwarder::Outcome outcome = answer_(receiver_.datagram(i), client, now, answers_.slot());
    if (outcome.ask) ask_(*outcome.ask);
    if (outcome.size > 0) answers_.queue_reply(outcome.size, receiver_.from(i));
  }
  expect(0, 0);
  flush(answers_, listener);
  return *count == io::UdpReceiver::kBatch;
}

void Server::flush(io::UdpSender& sender, const Listener& listener) {
  if (sender.empty()) return;
  listener.poll->rest_to_send(sender.queued());
  const auto result = sender.flush(listener.udp.fd());
  counters_.udp_answers += result.sent;
  counters_.udp_unsent += result.unsent;
}

void Server::deliver(std::span<const Delivery> deliveries) {
  for (const Delivery& delivery : deliveries) {
    if (delivery.to.transport == Transport::Tcp) {
      const auto found = connections_.find(delivery.to.connection);
      if (found == connections_.end()) {
        ++counters_.tcp_gone;
        continue;
      }
      Connection& connection = *found->second;
      if (connection.unanswered > 0) --connection.unanswered;
      send_tcp(connection, delivery.message);
      settle(connection);
      continue;
    }
    queue_delivery(delivery);
  }
}

void Server::queue_delivery(const Delivery& delivery) {
  if (delivery.to.listener >= listeners_.size() || delivery.message.size() > io::UdpSender::kSlot) {
    ++counters_.udp_unsent;
    return;
  }
  // Neighbours mostly came in by the same listener, so a batch is cut only when that changes.
  const Listener* listener = listeners_[delivery.to.listener].get();
  if (delivering_ != listener || deliveries_.full()) flush_deliveries();
  delivering_ = listener;
  copy_octets(delivery.message, deliveries_.slot().data());
  deliveries_.queue(delivery.message.size(), delivery.to.peer);
}

void Server::flush_deliveries() {
  if (delivering_ != nullptr) flush(deliveries_, *delivering_);
}

void Server::accept(std::uint32_t listener, io::FileDescriptor fd, const Endpoint& peer) {
  if (connections_.size() >= config_.tcp_max_connections) {
    ++counters_.tcp_refused_full;
    return;
  }
  const auto client = per_client_.find(peer.address);
  if (client != per_client_.end() && client->second >= config_.tcp_max_per_client) {
    ++counters_.tcp_refused_client;
    return;
  }
  ++per_client_[peer.address];
  ++counters_.tcp_accepted;
  const std::uint64_t id = next_connection_++;
  auto owned = std::make_unique<Connection>(Connection{id, listener, peer, {}, {}, 0, 0, 0, false, nullptr});
  Connection* c = owned.get();
  c->message = [this, c](ByteView query) { answer_tcp(*c, query); };
  connections_.emplace(id, std::move(owned));
  c->tcp = std::make_unique<io::TcpConnection>(
      loop_, std::move(fd),
      io::TcpConnection::Limits{.idle = config_.tcp_idle_timeout,
                                .message = config_.tcp_message_timeout,
                                .write = config_.tcp_write_timeout,
                                .max_queued = kMaxQueued},
      io::TcpConnection::Calls{.received = [this, c](ByteView bytes) { return received(*c, bytes); },
                               .half_closed =
                                   [this, c] {
                                     c->half_closed = true;
                                     settle(*c);
                                   },
                               .closed = [this, id](io::TcpConnection::Closed why) { closed(id, why); }});
}

bool Server::received(Connection& connection, ByteView bytes) {
  const std::uint64_t before = connection.messages;
  const bool held = connection.framing.held() > 0;
  if (!connection.framing.feed(bytes, connection.message)) {
    ++counters_.tcp_malformed;
    return false;
  }
  const bool holds = connection.framing.held() > 0;
  if (!holds || !held || connection.messages != before) connection.tcp->await_rest(holds);
  settle(connection);
  return true;
}

void Server::answer_tcp(Connection& connection, ByteView query) {
  ++counters_.tcp_queries;
  ++connection.messages;
  const Client client{.peer = connection.peer,
                      .listener = connection.listener,
                      .connection = connection.id,
                      .transport = Transport::Tcp};
  const Forwarder::Outcome outcome = answer_(query, client, loop_.now(), MutableByteView(tcp_answer_).subspan(kPrefix));
  if (outcome.ask) ask_(*outcome.ask);
  if (outcome.size > 0) {
    send_tcp(connection, ByteView(tcp_answer_).subspan(kPrefix, outcome.size));
  } else if (!outcome.dropped) {
    ++connection.unanswered;
  }
}

void Server::send_tcp(Connection& connection, ByteView message) {
  // One write for both: a prefix in a segment of its own costs the client a wake-up (RFC 7766 s8).
  tcp_answer_[0] = static_cast<std::uint8_t>(message.size() >> 8);
  tcp_answer_[1] = static_cast<std::uint8_t>(message.size());
  if (message.data() != tcp_answer_.data() + kPrefix)
    std::memcpy(tcp_answer_.data() + kPrefix, message.data(), message.size());
  connection.tcp->write(ByteView(tcp_answer_).first(kPrefix + message.size()));
  ++counters_.tcp_answers;
}

// What the connection's state allows now: read on, wait, or be closed.
void Server::settle(Connection& connection) {
  charge(connection);
  connection.tcp->owe(connection.unanswered > 0);
  if (connection.half_closed) {
    if (connection.unanswered == 0) connection.tcp->finish();
    return;
  }
  connection.tcp->pause_reading(!reading_ || connection.unanswered >= kMaxUnanswered);
}

// Queues drain without our hearing of it, so the sum may be too high: it is counted anew before somebody goes for it.
void Server::charge(Connection& connection) {
  const std::uint64_t holds = connection.framing.held() + connection.tcp->queued();
  const bool grew = holds > connection.charged;
  charged_ = charged_ - connection.charged + holds;
  connection.charged = holds;
  if (!grew || charged_ <= config_.tcp_buffers.count) return;
  for (auto& [id, each] : connections_)
    each->charged = each->framing.held() + each->tcp->queued();
  charged_ = buffered();
  if (charged_ <= config_.tcp_buffers.count) return;
  ++counters_.tcp_no_room;
  connection.tcp->drop();
}

std::uint64_t Server::buffered() const {
  std::uint64_t sum = 0;
  for (const auto& [id, connection] : connections_)
    sum += connection->framing.held() + connection->tcp->queued();
  return sum;
}

void Server::closed(std::uint64_t id, io::TcpConnection::Closed why) {
  using enum io::TcpConnection::Closed;
  if (why == Idle) ++counters_.tcp_idle;
  if (why == Slow) ++counters_.tcp_slow;
  if (why == Stalled) ++counters_.tcp_stalled;
  if (why == Unfinished) ++counters_.tcp_unfinished;
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  const auto client = per_client_.find(found->second->peer.address);
  if (--client->second == 0) per_client_.erase(client);
  charged_ -= found->second->charged;
  connections_.erase(found);
}

void Server::set_listening(bool on) {
  for (auto& listener : listeners_) {
    listener->poll->watch(on, false);
    on ? listener->tcp->start() : listener->tcp->stop();
  }
}

void Server::stop_reading() {
  // What waits in a socket's buffer was sent to somebody who still answered.
  for (auto& listener : listeners_) {
    for (int batch = 0; batch < kLastBatches && read_batch(*listener); ++batch) {
    }
  }
  reading_ = false;
  for (auto& listener : listeners_) {
    listener->poll->watch(false, false);
    listener->tcp->stop();
  }
  for (auto& [id, connection] : connections_)
    settle(*connection);
}

std::size_t Server::unsent() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(connections_, [](const auto& each) { return each.second->tcp->queued() > 0; }));
}

bool Server::renew_leases() {
  bool all = true;
  for (const auto& listener : listeners_) {
    const auto renewal = listener->udp.renew_lease(kRenewPort);
    counters_.lease_renewals += renewal == io::UdpSocket::Renewal::Renewed ? 1 : 0;
    counters_.lease_unclaimed += renewal == io::UdpSocket::Renewal::Unclaimed ? 1 : 0;
    counters_.lease_failures += renewal == io::UdpSocket::Renewal::Failed ? 1 : 0;
    all &= renewal == io::UdpSocket::Renewal::Renewed;
  }
  return all;
}

Bytes Server::receive_buffer() const {
  Bytes smallest{0};
  for (const auto& l : listeners_) {
    smallest = smallest.count == 0 ? l->udp.receive_buffer() : std::min(smallest, l->udp.receive_buffer());
  }
  return smallest;
}

ServerCounters Server::counters() const {
  ServerCounters result = counters_;
  result.tcp_open = connections_.size();
  result.tcp_buffered = buffered();
  for (const auto& l : listeners_)
    result.tcp_rests += l->tcp->rests();
  return result;
}

}  // namespace lastlight::dns
