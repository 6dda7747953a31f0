// The sockets clients talk to: one UDP socket and one TCP listener per address. Takes queries off them in batches, has
// each answered, and sends the answers; knows nothing of DNS but the TCP length prefix. Owns sockets and connections,
// never answers. RFC 7766 (several queries per connection, answers as they become ready, three time limits), RFC 9210
// s4.2 (limits).
//
// Bounds: 4 batches of 64 datagrams per wake-up; tcp_max_connections and tcp_max_per_client (beyond: closed at once,
// counted); 100 unanswered queries per connection (beyond: it is not read); 256 KiB of unread answers per connection
// and tcp_buffers of them and of unfinished messages in all (beyond: the connection that asks for more is closed,
// counted).
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/config.h"
#include "agent/io/before_wait.h"
#include "agent/io/loop.h"
#include "agent/io/poll.h"
#include "agent/io/tcp.h"
#include "agent/io/udp_socket.h"
#include "dnscache/forwarder.h"
#include "dnscache/tcp_framing.h"

namespace lastlight::dns {

struct ServerCounters {
  std::uint64_t udp_queries = 0;
  std::uint64_t udp_oversize = 0;  // over 4096 bytes: the rest is not read
  std::uint64_t udp_answers = 0;
  std::uint64_t udp_unsent = 0;  // the socket's buffer was full or the kernel refused
  std::uint64_t udp_receive_errors = 0;
  std::uint64_t tcp_open = 0;  // gauge
  std::uint64_t tcp_accepted = 0;
  std::uint64_t tcp_refused_full = 0;    // tcp_max_connections reached
  std::uint64_t tcp_refused_client = 0;  // tcp_max_per_client reached
  std::uint64_t tcp_queries = 0;
  std::uint64_t tcp_answers = 0;
  std::uint64_t tcp_gone = 0;        // answers for a connection that has ended
  std::uint64_t tcp_malformed = 0;   // connections closed for a frame that cannot be DNS
  std::uint64_t tcp_slow = 0;        // connections closed for not reading: too much waited for them
  std::uint64_t tcp_stalled = 0;     // likewise: they read nothing for too long
  std::uint64_t tcp_unfinished = 0;  // connections closed for a message that did not end in time
  std::uint64_t tcp_no_room = 0;     // connections closed because tcp_buffers were full
  std::uint64_t tcp_idle = 0;        // connections closed for silence
  std::uint64_t tcp_buffered = 0;    // gauge: bytes of unfinished messages and unread answers
  std::uint64_t tcp_rests = 0;       // accepting rested for want of descriptors
  std::uint64_t lease_renewals = 0;
  std::uint64_t lease_unclaimed = 0;  // the rule set is not there
  std::uint64_t lease_failures = 0;   // the address is not there
};

class Server {
 public:
  // Forwarder::on_query, or anything like it.
  using Answer = std::move_only_function<Forwarder::Outcome(ByteView, const Client&, Instant, MutableByteView)>;
  // What Answer is called with next, as Forwarder::expect has it.
  using Expect = std::move_only_function<void(std::span<const ByteView>)>;
  // Must not call deliver() before it returns.
  using AskUpstream = std::move_only_function<void(const Ask&)>;

  Server(io::Loop& loop, const DnsConfig& config, Answer answer, AskUpstream ask,
         io::SocketSource sockets = io::open_listening_socket, Expect expect = nullptr);
  ~Server();

  // Opens UDP and TCP on `where`, and serves at once. Returns the endpoint with the port the kernel chose if it was 0.
  std::expected<Endpoint, std::string> listen(const Endpoint& where);
  // Over UDP they leave when a batch is full or the loop is about to wait.
  void deliver(std::span<const Delivery> deliveries);
  // At shutdown: what has arrived is read, then no new query and no connection; deliver() still works.
  void stop_reading();
  // Whether new queries and connections are taken off the listening sockets. Connections that are open go on.
  void set_listening(bool on);
  std::size_t unsent() const;  // connections whose answers wait for the client to read

  // Renews the takeover's lease of every address we listen on. False: of one it could not, the rules or the address are
  // gone.
  bool renew_leases();

  Bytes receive_buffer() const;  // the smallest the kernel granted
  ServerCounters counters() const;

 private:
  struct Listener;
  struct Connection;

  void expect(std::size_t from, std::size_t count);
  void read_datagrams(Listener& listener);
  bool read_batch(Listener& listener);
  void queue_delivery(const Delivery& delivery);
  void flush_deliveries();
  void flush(io::UdpSender& sender, const Listener& listener);
  void accept(std::uint32_t listener, io::FileDescriptor fd, const Endpoint& peer);
  bool received(Connection& connection, ByteView bytes);
  void answer_tcp(Connection& connection, ByteView query);
  void send_tcp(Connection& connection, ByteView message);
  void settle(Connection& connection);
  void charge(Connection& connection);
  std::uint64_t buffered() const;
  void closed(std::uint64_t id, io::TcpConnection::Closed why);

  io::Loop& loop_;
  DnsConfig config_;
  Answer answer_;
  AskUpstream ask_;
  io::SocketSource sockets_;
  Expect expect_;
  io::UdpReceiver receiver_;
  io::UdpSender answers_;                 // of the batch being read
  io::UdpSender deliveries_;              // of the turn,
  const Listener* delivering_ = nullptr;  // all from this one
  ByteBuffer tcp_answer_;                 // prefix and message
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::map<IpAddress, std::uint32_t> per_client_;
  std::uint64_t next_connection_ = 1;
  std::uint64_t charged_ = 0;  // at least what the connections hold
  bool reading_ = true;
  ServerCounters counters_;
  io::BeforeWait before_wait_;
};

}  // namespace lastlight::dns
