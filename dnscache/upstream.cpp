#include "dnscache/upstream.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <ares.h>
#include <sys/random.h>

#include "agent/io/poll.h"
#include "agent/io/timer.h"

// ares_send and ares_set_servers_ports_csv are deprecated by 1.28 and later in favour of calls that 1.18 does not have.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace lastlight::dns {

namespace {

constexpr std::size_t kUdpChannels = 8;
constexpr std::uint32_t kUdpQuestions = 200;
constexpr Duration kUdpAge = std::chrono::seconds(10);
constexpr std::size_t kTcpChannels = 32;
constexpr Duration kTcpIdle = std::chrono::seconds(5);  // servers close idle connections; do not race them
constexpr Duration kSweep = std::chrono::seconds(1);

class RandomNumbers {
 public:
  std::uint16_t draw() {
    if (next_ == numbers_.size()) refill();
    return numbers_[next_++];
  }

 private:
  void refill() {
    auto* bytes = reinterpret_cast<unsigned char*>(numbers_.data());
    std::size_t have = 0;
    while (have < sizeof numbers_) {
      const ssize_t got = ::getrandom(bytes + have, sizeof numbers_ - have, 0);
      if (got > 0) have += static_cast<std::size_t>(got);
      if (got < 0 && errno != EINTR) std::abort();  // guessable IDs are worse than no service
    }
    next_ = 0;
  }
  std::array<std::uint16_t, 128> numbers_{};
  std::size_t next_ = numbers_.size();
};

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

class Upstream::State {
 public:
  State(io::Loop& loop, const DnsConfig& config, Result result)
      : loop_(loop),
        query_timeout_(config.query_timeout),
        result_(std::move(result)),
        pool_(config.attempt_timeout, config.query_timeout),
        deadline_(loop, [this] { on_deadline(); }),
        sweep_(loop, [this] { on_sweep(); }),
        wake_(loop, [this] { drain(); }) {
    ares_library_init(ARES_LIB_INIT_ALL);
  }
  ~State() {
    closing_ = true;  // destroying a channel ends its questions by callback
    lanes_.clear();
    retired_.clear();
    ares_library_cleanup();
  }

  void set_upstreams(std::uint32_t zone, std::vector<Endpoint> upstreams, Protocol protocol) {
    pool_.set_upstreams(zone, std::move(upstreams), protocol);
  }
  void ask(const Ask& ask);
  std::map<Endpoint, bool> health() const { return pool_.health(); }
  UpstreamCounters counters() const;

 private:
  struct Channel {
    explicit Channel(State& state) : owner(state) {}
    ~Channel() {
      if (handle != nullptr) ares_destroy(handle);
    }
    State& owner;
    ares_channel handle = nullptr;
    std::unordered_map<int, std::unique_ptr<io::Poll>> polls;
    std::unordered_set<std::uint16_t> ids;  // of its questions under way
    std::uint32_t asked = 0;
    Instant opened{};
    Instant used{};
  };
  struct Sent {
    Channel& channel;
    FlightId flight;
    std::uint32_t attempt;
    std::uint16_t id;
  };
  struct Failed {
    FlightId flight;
    std::uint32_t attempt;
    Failure why;
  };
  using Lane = std::vector<std::unique_ptr<Channel>>;

  Channel* pick(const Endpoint& to, Protocol protocol, Instant now);
  void retire_old(Lane& lane, Protocol protocol, Instant now);
  std::unique_ptr<Channel> open(const Endpoint& to, Protocol protocol, Instant now);
  void send(const UpstreamPool::Send& order);
  void follow(const UpstreamPool::Order& order);
  void on_socket(Channel& channel, int fd, bool readable, bool writable);
  void on_ready(Channel& channel, int fd, io::Poll::Ready event);
  void on_answer(const Sent& sent, int status, ByteView reply);
  void on_deadline();
  void on_sweep();
  void drain();
  void arm();

  io::Loop& loop_;
  Duration query_timeout_;
  Result result_;
  UpstreamPool pool_;
  RandomNumbers random_;
  std::unordered_map<FlightId, ByteBuffer> queries_;  // kept for another attempt
  std::map<std::pair<Endpoint, Protocol>, Lane> lanes_;
  std::vector<std::unique_ptr<Channel>> retired_;  // asked no more; destroyed once their questions have ended
  std::vector<Failed> failed_;                     // c-ares told us inside a call of ours; acted on when it is over
  std::vector<UpstreamPool::Order> orders_;        // likewise
  io::Timer deadline_;
  io::Timer sweep_;
  io::Timer wake_;
  Instant armed_ = kNever;
  bool sweeping_ = false;
  bool closing_ = false;
  std::uint64_t replies_ = 0;
  std::uint64_t opened_ = 0;
};

void Upstream::State::ask(const Ask& ask) {
  queries_[ask.flight].assign(ask.query.begin(), ask.query.end());
  const UpstreamPool::Order order = pool_.start(ask.flight, ask.zone, loop_.now());
  if (const auto* to_send = std::get_if<UpstreamPool::Send>(&order)) {
    send(*to_send);
  } else {
    orders_.push_back(order);  // told from the loop, not from here
  }
  if (!orders_.empty() || !failed_.empty()) wake_.start_in(Duration::zero());
  arm();
}

void Upstream::State::send(const UpstreamPool::Send& order) {
  const auto query = queries_.find(order.flight);
  if (query == queries_.end()) return;
  Channel* channel = pick(order.to, order.protocol, loop_.now());
  if (channel == nullptr) {
    failed_.push_back({order.flight, order.attempt, Failure::Network});
    return;
  }
  std::uint16_t id;
  do {
    id = random_.draw();
  } while (!channel->ids.insert(id).second);
  ++channel->asked;
  channel->used = loop_.now();
  query->second[0] = static_cast<std::uint8_t>(id >> 8);
  query->second[1] = static_cast<std::uint8_t>(id);
  auto sent = std::make_unique<Sent>(Sent{*channel, order.flight, order.attempt, id});
  // c-ares calls back exactly once for every question, even when it is refused at once or the channel is destroyed.
  ares_send(
      channel->handle, query->second.data(), static_cast<int>(query->second.size()),
      [](void* argument, int status, int, unsigned char* reply, int length) noexcept {
        const std::unique_ptr<Sent> owned(static_cast<Sent*>(argument));
        const bool none = reply == nullptr || length <= 0;
        owned->channel.owner.on_answer(*owned, status,
                                       none ? ByteView() : ByteView(reply, static_cast<std::size_t>(length)));
      },
      sent.release());
  if (!sweeping_) {
    sweeping_ = true;
    sweep_.start_in(kSweep);
  }
}

void Upstream::State::retire_old(Lane& lane, Protocol protocol, Instant now) {
  std::erase_if(lane, [&](std::unique_ptr<Channel>& c) {
    const bool old = protocol == Protocol::Udp ? c->asked >= kUdpQuestions || now - c->opened >= kUdpAge
                                               : c->ids.empty() && now - c->used >= kTcpIdle;
    if (old) retired_.push_back(std::move(c));
    return old;
  });
}

Upstream::State::Channel* Upstream::State::pick(const Endpoint& to, Protocol protocol, Instant now) {
  Lane& lane = lanes_[{to, protocol}];
  retire_old(lane, protocol, now);
  if (protocol == Protocol::Udp) {
    const std::size_t slot = random_.draw() % kUdpChannels;
    if (slot < lane.size()) return lane[slot].get();
  } else {
    const auto least = std::ranges::min_element(lane, {}, [](const auto& c) { return c->ids.size(); });
    if (least != lane.end() && ((*least)->ids.empty() || lane.size() >= kTcpChannels)) {
      return (*least)->ids.size() < 0x8000 ? least->get() : nullptr;
    }
  }
  auto channel = open(to, protocol, now);
  if (!channel) return lane.empty() ? nullptr : lane.front().get();
  lane.push_back(std::move(channel));
  return lane.back().get();
}

// Every option is given, so that neither resolv.conf nor the environment is consulted for any.
std::unique_ptr<Upstream::State::Channel> Upstream::State::open(const Endpoint& to, Protocol protocol, Instant now) {
  auto channel = std::make_unique<Channel>(*this);
  channel->opened = channel->used = now;
  in_addr placeholder{};  // the server proper is set below, since this field knows only IPv4
  placeholder.s_addr = htonl(INADDR_LOOPBACK);
  char lookups[] = "b";
  char nowhere[] = "/dev/null";
  ares_options options{};
  // NOCHECKRESP: SERVFAIL and REFUSED are answers to relay. IGNTC: truncation is the pool's. EDNS adds nothing to a
  // query that is sent as bytes, but without it 1.18 cuts every UDP answer to 512 bytes.
  options.flags = ARES_FLAG_EDNS | ARES_FLAG_STAYOPEN | ARES_FLAG_NOCHECKRESP | ARES_FLAG_IGNTC | ARES_FLAG_NOSEARCH |
                  ARES_FLAG_NOALIASES | (protocol == Protocol::Tcp ? ARES_FLAG_USEVC : 0);
  // An attempt's end is the pool's; c-ares waits on for the question's whole life, so that a late answer still counts.
  options.timeout = static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(query_timeout_).count());
  options.tries = 1;
  options.ndots = 1;
  options.udp_port = to.port;
  options.tcp_port = to.port;
  options.servers = &placeholder;
  options.nservers = 1;
  options.ednspsz = 4096;
  options.lookups = lookups;
  options.resolvconf_path = nowhere;
  options.sock_state_cb_data = channel.get();
  options.sock_state_cb = [](void* argument, ares_socket_t fd, int readable, int writable) noexcept {
    auto* c = static_cast<Channel*>(argument);
    c->owner.on_socket(*c, fd, readable != 0, writable != 0);
  };
  int mask = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
             ARES_OPT_UDP_PORT | ARES_OPT_TCP_PORT | ARES_OPT_SERVERS | ARES_OPT_DOMAINS | ARES_OPT_LOOKUPS |
             ARES_OPT_SORTLIST | ARES_OPT_NOROTATE | ARES_OPT_RESOLVCONF | ARES_OPT_SOCK_STATE_CB;
#if ARES_VERSION >= 0x011700
  options.qcache_max_ttl = 0;  // the cache is ours
  mask |= ARES_OPT_QUERY_CACHE;
#endif
  if (ares_init_options(&channel->handle, &options, mask) != ARES_SUCCESS) return nullptr;
  const std::string server = (to.address.is_v6() ? "[" + to.address.to_string() + "]" : to.address.to_string()) + ":" +
                             std::to_string(to.port);
  if (ares_set_servers_ports_csv(channel->handle, server.c_str()) != ARES_SUCCESS) return nullptr;
  ++opened_;
  return channel;
}

void Upstream::State::on_socket(Channel& channel, int fd, bool readable, bool writable) {
  if (!readable && !writable) {
    // c-ares closes the descriptor next, and its number may return at once: the watch must be gone by then, even if
    // this is its own callback. The callback touches nothing of itself after on_ready.
    channel.polls.erase(fd);
    return;
  }
  auto& poll = channel.polls[fd];
  if (!poll) {
    poll = std::make_unique<io::Poll>(loop_, fd,
                                      [this, c = &channel, fd](io::Poll::Ready event) { on_ready(*c, fd, event); });
  }
  poll->watch(readable, writable);
}

void Upstream::State::on_ready(Channel& channel, int fd, io::Poll::Ready event) {
  const bool failed = event.error != 0;  // c-ares learns what it is by reading
  ares_process_fd(channel.handle, event.readable || failed ? fd : ARES_SOCKET_BAD,
                  event.writable || failed ? fd : ARES_SOCKET_BAD);
  drain();
}

void Upstream::State::on_answer(const Sent& sent, int status, ByteView reply) {
  sent.channel.ids.erase(sent.id);
  if (closing_) return;
  if (status != ARES_SUCCESS || reply.size() < 12) {
    failed_.push_back({sent.flight, sent.attempt, status == ARES_SUCCESS ? Failure::Invalid : failure_of(status)});
    return;
  }
  ++replies_;
  // After a FORMERR without OPT, 1.18 has repeated the query 11 bytes shorter (our bare OPT is just that) and cuts this
  // channel's answers to 512 bytes from then on: it is asked no more.
  if ((reply[3] & 0x0f) == 1) sent.channel.asked = kUdpQuestions;
  const bool truncated = (reply[2] & 0x02) != 0;
  const auto verdict = pool_.on_reply(sent.flight, sent.attempt, truncated, loop_.now());
  if (verdict.order) orders_.push_back(*verdict.order);
  if (!verdict.deliver) return;
  queries_.erase(sent.flight);
  result_(sent.flight, reply);
}

void Upstream::State::follow(const UpstreamPool::Order& order) {
  if (const auto* to_send = std::get_if<UpstreamPool::Send>(&order)) {
    send(*to_send);
    return;
  }
  const auto& finish = std::get<UpstreamPool::Finish>(order);
  queries_.erase(finish.flight);
  result_(finish.flight, std::unexpected(finish.why));
}

// Outside every c-ares call: failures become orders, orders are carried out, and channels that have served are
// destroyed.
void Upstream::State::drain() {
  while (!failed_.empty() || !orders_.empty()) {
    for (const Failed& f : std::exchange(failed_, {})) {
      if (auto order = pool_.on_failure(f.flight, f.attempt, f.why, loop_.now())) orders_.push_back(*order);
    }
    for (const UpstreamPool::Order& order : std::exchange(orders_, {}))
      follow(order);
  }
  std::erase_if(retired_, [](const auto& c) { return c->ids.empty(); });
  arm();
}

void Upstream::State::arm() {
  const Instant next = pool_.next_deadline();
  if (next >= armed_ && armed_ != kNever) return;  // fires early at worst, and is set anew then
  armed_ = next;
  deadline_.start_at(next);
}

void Upstream::State::on_deadline() {
  armed_ = kNever;
  for (const UpstreamPool::Order& order : pool_.on_time(loop_.now()))
    orders_.push_back(order);
  drain();
}

void Upstream::State::on_sweep() {
  bool more = false;
  auto sweep = [&](Channel& c) {
    ares_process_fd(c.handle, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    more = more || !c.ids.empty();
  };
  const Instant now = loop_.now();
  for (auto& [where, lane] : lanes_) {
    for (auto& c : lane)
      sweep(*c);
    retire_old(lane, where.second, now);
  }
  for (std::size_t i = 0; i < retired_.size(); ++i)
    sweep(*retired_[i]);
  drain();
  std::erase_if(lanes_, [](const auto& entry) { return entry.second.empty(); });
  sweeping_ = more || !lanes_.empty();
  if (sweeping_) sweep_.start_in(kSweep);
}

UpstreamCounters Upstream::State::counters() const {
  UpstreamCounters result{.pool = pool_.counters(),
                          .replies = replies_,
                          .channels_opened = opened_,
                          .channels = retired_.size(),
                          .flights = pool_.flights()};
  for (const auto& [where, lane] : lanes_)
    result.channels += lane.size();
  return result;
}

Upstream::Upstream(io::Loop& loop, const DnsConfig& config, Result result)
    : state_(std::make_unique<State>(loop, config, std::move(result))) {}
Upstream::~Upstream() = default;
void Upstream::set_upstreams(std::uint32_t zone, std::vector<Endpoint> upstreams, Protocol protocol) {
  state_->set_upstreams(zone, std::move(upstreams), protocol);
}
void Upstream::ask(const Ask& ask) {
  state_->ask(ask);
}
std::map<Endpoint, bool> Upstream::health() const {
  return state_->health();
}

UpstreamCounters Upstream::counters() const {
  return state_->counters();
}

}  // namespace lastlight::dns
