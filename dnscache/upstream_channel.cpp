#include "dnscache/upstream_channel.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <cerrno>
#include <string>
#include <unordered_map>
#include <utility>

#include <ares.h>
#include <fcntl.h>
#include <unistd.h>

#include "agent/io/file_descriptor.h"
#include "agent/io/poll.h"
#include "dnscache/slots.h"
#include "dnscache/upstream_sockets.h"
#include "dnscache/wire.h"

// ares_send and ares_set_servers_ports_csv are deprecated by 1.28 and later in favour of calls that 1.18 does not have.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace lastlight::dns {

namespace {

Failure failure_of(int status) {
  switch (status) {
    case ARES_ETIMEOUT:
      return Failure::Timeout;
    case ARES_EBADQUERY:
    case ARES_EBADRESP:
    case ARES_EFORMERR:
      return Failure::Invalid;
    default:
      return Failure::Network;
  }
}

}  // namespace

struct UpstreamChannel::State {
  struct Sent {
    State* owner = nullptr;
    std::uint64_t send = 0;
    std::uint64_t place = 0;
    std::uint16_t id = 0;
  };

  static const ares_socket_functions kSockets;

  State(const Shared& with, Calls to) : shared(with), calls(std::move(to)) {}
  ~State() {
    closing = true;  // destroying a channel ends its questions by callback
    if (handle != nullptr) ares_destroy(handle);
  }
  bool open(const Endpoint& to, Protocol protocol, Duration life);
  bool renew();
  void on_socket(int fd, bool readable, bool writable);
  void on_close(int fd);
  ssize_t write(int fd, const iovec* parts, int count);
  void on_ready(int fd, io::Poll::Ready event);
  void read(int fd, bool writable, int error);
  void process(int fd, bool readable, bool writable);
  void gather();
  void tell_connected(int fd);
  bool flush();
  int send_all();  // as Outbox::flush
  void on_answer(Sent sent, int status, ByteView reply);

  struct Watch {
    std::unique_ptr<io::Poll> poll;
    bool readable = false, writable = false;  // what is watched
    bool wants_to_write = false;              // what c-ares asked for
    bool connected = false;                   // and told
  };

  Shared shared;
  Calls calls;
  ares_channel handle = nullptr;
  std::unordered_map<int, Watch> watches;
  upstream_sockets::Outbox outbox;
  int outbox_fd = -1;
  int unsent = 0;          // errno of a flush whose questions are to be told of it
  bool gathered = false;   // flush() is to come
  std::bitset<65536> ids;  // of its questions under way
  Places places;
  Slots<Sent> under_way;
  std::uint16_t opcodes = 0;  // a bit for each that was asked with
  Endpoint peer;
  bool udp = false;
  bool spoilt = false;
  bool closing = false;
};

const ares_socket_functions UpstreamChannel::State::kSockets = {
    .asocket = [](int family, int type, int protocol,
                  void*) noexcept { return upstream_sockets::open(family, type, protocol); },
    .aclose =
        [](ares_socket_t fd, void* channel) noexcept {
          static_cast<State*>(channel)->on_close(fd);
          return ::close(fd);
        },
    .aconnect = [](ares_socket_t fd, const sockaddr* to, ares_socklen_t size,
                   void*) noexcept { return ::connect(fd, to, size); },
    .arecvfrom =
        [](ares_socket_t fd, void* into, std::size_t room, int, sockaddr* from, ares_socklen_t* size,
           void* channel) noexcept {
          auto* self = static_cast<State*>(channel);
          upstream_sockets::Inbox& inbox = self->shared.inbox;
          if (!self->udp) return inbox.stream(fd, into, room);
          const ssize_t got = inbox.datagram(fd, into, room, from, size, self->opcodes);
          if (got >= 12) self->spoilt |= (static_cast<const std::uint8_t*>(into)[3] & kRcodeMask) == kFormErr;
          return got;
        },
    .asendv = [](ares_socket_t fd, const iovec* parts, int count,
                 void* channel) noexcept { return static_cast<State*>(channel)->write(fd, parts, count); },
};

// Every option is given, so that neither resolv.conf nor the environment is consulted for any.
bool UpstreamChannel::State::open(const Endpoint& to, Protocol protocol, Duration life) {
  udp = protocol == Protocol::Udp;
  peer = to;
  in_addr placeholder{};  // the server proper is set below, since this field knows only IPv4
  placeholder.s_addr = htonl(INADDR_LOOPBACK);
  char lookups[] = "b";
  char nowhere[] = "/dev/null";
  ares_options options{};
  // NOCHECKRESP: SERVFAIL and REFUSED are answers to relay. IGNTC: truncation is the pool's. EDNS adds nothing to a
  // query that is sent as bytes, but without it 1.18 cuts every UDP answer to 512 bytes.
  options.flags = ARES_FLAG_EDNS | ARES_FLAG_STAYOPEN | ARES_FLAG_NOCHECKRESP | ARES_FLAG_IGNTC | ARES_FLAG_NOSEARCH |
                  ARES_FLAG_NOALIASES | (protocol == Protocol::Tcp ? ARES_FLAG_USEVC : 0);
  options.timeout = static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(life).count());
  options.tries = 1;
  options.ndots = 1;
  options.udp_port = to.port;
  options.tcp_port = to.port;
  options.servers = &placeholder;
  options.nservers = 1;
  options.ednspsz = kUdpMost;
  options.lookups = lookups;
  options.resolvconf_path = nowhere;
  options.sock_state_cb_data = this;
  options.sock_state_cb = [](void* argument, ares_socket_t fd, int readable, int writable) noexcept {
    static_cast<State*>(argument)->on_socket(fd, readable != 0, writable != 0);
  };
  int mask = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
             ARES_OPT_UDP_PORT | ARES_OPT_TCP_PORT | ARES_OPT_SERVERS | ARES_OPT_DOMAINS | ARES_OPT_LOOKUPS |
             ARES_OPT_SORTLIST | ARES_OPT_NOROTATE | ARES_OPT_RESOLVCONF | ARES_OPT_SOCK_STATE_CB;
#if ARES_VERSION >= 0x011700
  options.qcache_max_ttl = 0;  // the cache is ours
  mask |= ARES_OPT_QUERY_CACHE;
#endif
  if (ares_init_options(&handle, &options, mask) != ARES_SUCCESS) return false;
  ares_set_socket_functions(handle, &kSockets, this);
#if ARES_VERSION >= 0x012200
  ares_set_pending_write_cb(handle, [](void* self) noexcept { static_cast<State*>(self)->gather(); }, this);
#endif
  const std::string server = (to.address.is_v6() ? "[" + to.address.to_string() + "]" : to.address.to_string()) + ":" +
                             std::to_string(to.port);
  return ares_set_servers_ports_csv(handle, server.c_str()) == ARES_SUCCESS;
}

void UpstreamChannel::State::on_socket(int fd, bool readable, bool writable) {
  if (!readable && !writable) {
    // c-ares closes the descriptor next, and its number may return at once: the watch must be gone by then, even if
    // this is its own callback. The callback touches nothing of itself after on_ready.
    watches.erase(fd);
    return;
  }
  Watch& watch = watches[fd];
  if (!watch.poll) {
    watch.poll =
        std::make_unique<io::Poll>(shared.loop, fd, [this, fd](io::Poll::Ready event) { on_ready(fd, event); });
  }
  watch.wants_to_write = writable;
  if (writable) gather();  // most sockets take it then: nobody needs to be told that they would
  if (watch.readable == readable && (!watch.writable || writable)) return;
  watch.readable = readable;
  watch.writable = watch.writable && writable;
  watch.poll->watch(watch.readable, watch.writable);
}

// The new socket takes the old one's number, which is all that c-ares knows of it.
bool UpstreamChannel::State::renew() {
  const int fd = watches.begin()->first;
  sockaddr_storage address;
  const socklen_t size = peer.to_sockaddr(address);
  const io::FileDescriptor fresh(upstream_sockets::open(address.ss_family, SOCK_DGRAM, 0));
  if (!fresh || ::connect(fresh.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) return false;
  watches.clear();
  if (::dup3(fresh.get(), fd, O_CLOEXEC) < 0) return false;
  on_socket(fd, true, false);
  opcodes = 0;
  gathered = false;
  return true;
}

void UpstreamChannel::State::on_close(int fd) {
  shared.inbox.closed(fd);
  if (outbox_fd != fd) return;
  outbox.clear();
  unsent = 0;
}

ssize_t UpstreamChannel::State::write(int fd, const iovec* parts, int count) {
  if (!udp) return upstream_sockets::send(fd, parts, count);
  outbox_fd = fd;
  gather();
  if (outbox.full()) {
    const int error = send_all();
    if (error != 0 && error != EAGAIN) unsent = error;
  }
  // No room in the kernel: lost, like any datagram. An error here would end one question, and not those it is about.
  if (outbox.full()) return upstream_sockets::size_of(parts, count);
  return outbox.put(parts, count);
}

int UpstreamChannel::State::send_all() {
  const auto watch = watches.find(outbox_fd);
  if (watch != watches.end()) watch->second.poll->rest_to_send(outbox.size());
  return outbox.flush(outbox_fd);
}

void UpstreamChannel::State::gather() {
  if (std::exchange(gathered, true)) return;
  calls.gathered();
}

// A socket that takes what is written is one that is connected.
void UpstreamChannel::State::tell_connected(int fd) {
  const auto found = watches.find(fd);
  if (udp || found == watches.end() || std::exchange(found->second.connected, true)) return;
  calls.connected();
}

bool UpstreamChannel::State::flush() {
  gathered = false;
  int error = std::exchange(unsent, 0);
  if (error == 0 && !outbox.empty()) error = send_all();
  if (error == EAGAIN) {
    gathered = true;
    return false;
  }
  if (error != 0) read(outbox_fd, false, error);
#if ARES_VERSION >= 0x012200
  if (!udp) ares_process_pending_write(handle);
#endif
  for (const auto& [fd, watch] : watches) {
    if (!watch.wants_to_write) continue;
    const int writing = fd;  // the watch may go
    process(writing, false, true);
    const auto found = watches.find(writing);
    if (found == watches.end()) break;
    if (!found->second.wants_to_write) tell_connected(writing);
    if (!found->second.wants_to_write || found->second.writable) break;
    found->second.writable = true;
    found->second.poll->watch(found->second.readable, true);
    break;  // a channel has one socket
  }
  return true;
}

void UpstreamChannel::State::on_ready(int fd, io::Poll::Ready event) {
  const bool failed = event.error != 0;  // c-ares learns what it is by reading
  if (event.writable && !failed) tell_connected(fd);
  if (event.readable || failed) {
    read(fd, event.writable || failed, 0);
  } else {
    process(fd, false, true);
  }
  // libuv stops watching on an error; c-ares, if it still holds the socket, believes it watched.
  if (const auto found = watches.find(fd); failed && found != watches.end())
    found->second.poll->watch(found->second.readable, found->second.writable);
  calls.worked();  // may destroy this
}

// 1.34 would also end what is unanswered after five times the server's average, but at least 250 ms, whatever the
// options say: it is not asked to look at its clock.
void UpstreamChannel::State::process(int fd, bool readable, bool writable) {
#if ARES_VERSION >= 0x012200
  const ares_fd_events_t event = {
      .fd = fd,
      .events = (readable ? unsigned{ARES_FD_EVENT_READ} : 0U) | (writable ? unsigned{ARES_FD_EVENT_WRITE} : 0U)};
  ares_process_fds(handle, &event, 1, ARES_PROCESS_FLAG_SKIP_NON_FD);
#else
  ares_process_fd(handle, readable ? fd : ARES_SOCKET_BAD, writable ? fd : ARES_SOCKET_BAD);
#endif
}

// c-ares takes one message or part of one at each call, or all, as its version has it.
void UpstreamChannel::State::read(int fd, bool writable, int error) {
  shared.inbox.begin(fd, error);
  std::size_t left = 0;
  do {
    left = shared.inbox.left();
    process(fd, true, std::exchange(writable, false));
  } while (shared.inbox.left() > 0 && shared.inbox.left() != left);
  shared.inbox.end();
}

void UpstreamChannel::State::on_answer(Sent sent, int status, ByteView reply) {
  ids.reset(sent.id);
  under_way.erase(sent.place);
  places.give_back(sent.place);
  if (closing) return;
  if (status != ARES_SUCCESS || reply.size() < 12) {
    calls.done(sent.send, std::unexpected(status == ARES_SUCCESS ? Failure::Invalid : failure_of(status)));
  } else if (udp && reply.size() >= kUdpMost) {
    // 1.18 hands over no more of a datagram: what is missing is asked for like after TC=1.
    std::array<std::uint8_t, 12> header{};
    std::copy_n(reply.begin(), header.size(), header.begin());
    header[2] |= 0x02;
    calls.done(sent.send, ByteView(header));
  } else {
    calls.done(sent.send, reply);
  }
}

UpstreamChannel::UpstreamChannel(std::unique_ptr<State> state) : state_(std::move(state)) {}
UpstreamChannel::~UpstreamChannel() = default;

std::unique_ptr<UpstreamChannel> UpstreamChannel::open(const Shared& shared, const Endpoint& to, Protocol protocol,
                                                       Duration life, Calls calls) {
  auto state = std::make_unique<State>(shared, std::move(calls));
  if (!state->open(to, protocol, life)) return nullptr;
  return std::unique_ptr<UpstreamChannel>(new UpstreamChannel(std::move(state)));
}

void UpstreamChannel::send(std::uint64_t send, MutableByteView query) {
  // 1.18 would open a TCP socket for it, in a channel of datagrams.
  if (state_->udp && query.size() > kUdpMost) return state_->calls.done(send, std::unexpected(Failure::Invalid));
  std::uint16_t id;
  do {
    id = state_->shared.random.draw();
  } while (state_->ids.test(id));
  state_->ids.set(id);
  query[0] = static_cast<std::uint8_t>(id >> 8);
  query[1] = static_cast<std::uint8_t>(id);
  state_->opcodes |= static_cast<std::uint16_t>(1U << opcode_of(load16(query, 2)));
  const std::uint64_t place = state_->places.issue();
  State::Sent& sent = state_->under_way.put(place);
  sent = {.owner = state_.get(), .send = send, .place = place, .id = id};
  // c-ares calls back exactly once for every question, even when it is refused at once or the channel is destroyed.
  ares_send(
      state_->handle, query.data(), static_cast<int>(query.size()),
      [](void* argument, int status, int, unsigned char* reply, int length) noexcept {
        const auto& ended = *static_cast<State::Sent*>(argument);
        const bool none = reply == nullptr || length <= 0;
        ended.owner->on_answer(ended, status, none ? ByteView() : ByteView(reply, static_cast<std::size_t>(length)));
      },
      &sent);
}

bool UpstreamChannel::reusable() const {
  return state_->udp && state_->under_way.size() == 0 && !state_->spoilt && state_->watches.size() == 1;
}

const Endpoint& UpstreamChannel::peer() const {
  return state_->peer;
}

bool UpstreamChannel::renew(Calls calls) {
  if (!reusable()) return false;  // its socket may have failed meanwhile
  state_->calls = std::move(calls);
  return state_->renew();
}

bool UpstreamChannel::flush() {
  return state_->flush();
}

void UpstreamChannel::expire() {
#if ARES_VERSION < 0x012200
  ares_process_fd(state_->handle, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
#endif
}

UpstreamLibrary::UpstreamLibrary() {
  ares_library_init(ARES_LIB_INIT_ALL);
}
UpstreamLibrary::~UpstreamLibrary() {
  ares_library_cleanup();
}

}  // namespace lastlight::dns
