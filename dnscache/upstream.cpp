#include "dnscache/upstream.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "agent/io/before_wait.h"
#include "agent/io/timer.h"
#include "dnscache/slots.h"
#include "dnscache/upstream_channel.h"

namespace lastlight::dns {

class Upstream::State {
 public:
  State(io::Loop& loop, const DnsConfig& config, Result result)
      : loop_(loop),
        query_timeout_(config.query_timeout),
        result_(std::move(result)),
        pool_(config, [this] { return random_.draw(); }),
        deadline_(loop, [this] { on_deadline(); }),
        expiry_(loop, [this] { on_expiry(); }),
        wake_(loop, [this] { drain(); }),
        before_wait_(loop, [this] { flush(); }) {}

  void set_upstreams(std::uint32_t zone, std::vector<Endpoint> upstreams, Protocol protocol, Guard guard) {
    pool_.set_upstreams(zone, std::move(upstreams), protocol, guard);
  }
  void ask(const Ask& ask);
  void avoid(const std::vector<IpAddress>& addresses) { pool_.avoid(addresses); }
  void metadata_packets(std::uint32_t packets) { pool_.metadata_packets(packets, loop_.now()); }
  std::map<Endpoint, UpstreamView> view() const { return pool_.view(loop_.now()); }
  UpstreamCounters counters() const;

 private:
  struct Failed {
    SendId send;
    Failure why;
  };

  UpstreamChannel* channel(const UpstreamPool::Send& order);
  std::unique_ptr<UpstreamChannel> open(const UpstreamPool::Send& order);
  void close(ChannelId id);
  void forget_query(FlightId flight);
  void send(const UpstreamPool::Send& order);
  void follow(const UpstreamPool::Order& order);
  void on_done(SendId send, const Endpoint& from, std::expected<ByteView, Failure> reply);
  void on_deadline();
  void on_expiry();
  void drain();
  void flush();
  void arm();

  static constexpr std::size_t kKeptQuery = 512;
  static constexpr Duration kExpiry = std::chrono::seconds(1);
  static constexpr Duration kRoom = std::chrono::milliseconds(1);  // when the kernel is tried again

  io::Loop& loop_;
  Duration query_timeout_;
  Result result_;
  RandomNumbers random_;
  UpstreamPool pool_;
  UpstreamLibrary library_;
  upstream_sockets::Inbox inbox_;
  Slots<ByteBuffer> queries_;  // kept for another attempt
  std::unordered_map<ChannelId, std::unique_ptr<UpstreamChannel>> channels_;
  struct Spare {
    Endpoint to;
    std::unique_ptr<UpstreamChannel> channel;
  };
  std::vector<Spare> spares_;
  std::vector<ChannelId> to_flush_;  // before the loop waits
  std::vector<Failed> failed_;       // told inside a c-ares call; acted on when it is over
  UpstreamPool::Orders orders_;      // likewise
  UpstreamPool::Orders fresh_;       // of the question being asked
  io::Timer deadline_;
  io::Timer expiry_;
  io::Timer wake_;
  io::BeforeWait before_wait_;
  Instant armed_ = kNever;
  bool expiring_ = false;
  std::uint64_t replies_ = 0;
  std::uint64_t opened_ = 0;
};

// Possibly from within a c-ares callback (a result may lead to another question): what is sent goes out at once, the
// rest waits for the loop.
void Upstream::State::ask(const Ask& ask) {
  queries_.put(ask.flight).assign(ask.query.begin(), ask.query.end());
  fresh_.clear();
  pool_.start(ask.flight, ask.zone, loop_.now(), fresh_, ask.query.size() > UpstreamChannel::kUdpMost);
  for (const UpstreamPool::Order& order : fresh_) {
    if (const auto* to_send = std::get_if<UpstreamPool::Send>(&order)) {
      send(*to_send);
    } else {
      orders_.push_back(order);
    }
  }
  if (!orders_.empty() || !failed_.empty()) wake_.start_in(Duration::zero());
  arm();
}

UpstreamChannel* Upstream::State::channel(const UpstreamPool::Send& order) {
  auto& channel = channels_[order.channel];
  if (!channel) {
    channel = open(order);
    if (channel) ++opened_;
  }
  if (!expiring_) {
    expiring_ = true;
    expiry_.start_in(kExpiry);
  }
  return channel.get();
}

std::unique_ptr<UpstreamChannel> Upstream::State::open(const UpstreamPool::Send& order) {
  const auto calls = [&] {
    return UpstreamChannel::Calls{
        .done = [this, from = order.to](SendId id,
                                        std::expected<ByteView, Failure> reply) { on_done(id, from, reply); },
        .connected = [this, id = order.channel] { pool_.on_connected(id); },
        .worked = [this] { drain(); },
        .gathered = [this, id = order.channel] { to_flush_.push_back(id); }};
  };
  const auto spare = std::ranges::find(spares_, order.to, &Spare::to);
  if (order.protocol == Protocol::Udp && spare != spares_.end()) {
    auto channel = std::move(spare->channel);
    spares_.erase(spare);
    if (channel->renew(calls())) return channel;
  }
  return UpstreamChannel::open({loop_, random_, inbox_}, order.to, order.protocol, query_timeout_, calls());
}

// One that may serve anew is kept for a moment.
void Upstream::State::close(ChannelId id) {
  const auto found = channels_.find(id);
  if (found == channels_.end()) return;
  if (found->second && found->second->reusable() && spares_.size() < UpstreamChannels::kUdp)
    spares_.push_back({found->second->peer(), std::move(found->second)});
  channels_.erase(found);
}

// Its memory is the next one's, but for what only a long query over TCP needs.
void Upstream::State::forget_query(FlightId flight) {
  if (ByteBuffer* query = queries_.find(flight); query != nullptr && query->capacity() > kKeptQuery) *query = {};
  queries_.erase(flight);
}

void Upstream::State::send(const UpstreamPool::Send& order) {
  ByteBuffer* query = queries_.find(order.flight);
  UpstreamChannel* on = channel(order);
  if (query == nullptr || on == nullptr) {
    failed_.push_back({order.id, Failure::Network});
    return;
  }
  on->send(order.id, *query);
}

void Upstream::State::on_done(SendId send, const Endpoint& from, std::expected<ByteView, Failure> reply) {
  if (!reply) {
    failed_.push_back({send, reply.error()});
    return;
  }
  ++replies_;
  using Kind = UpstreamPool::Reply;
  const Kind kind = ((*reply)[2] & 0x02) != 0   ? Kind::Truncated
                    : ((*reply)[3] & 0x0f) == 1 ? Kind::FormatError
                                                : Kind::Whole;
  const auto flight = pool_.on_reply(send, kind, loop_.now(), orders_);
  if (!flight) return;
  forget_query(*flight);
  result_(*flight, Reply{*reply, from});
}

void Upstream::State::follow(const UpstreamPool::Order& order) {
  if (const auto* to_send = std::get_if<UpstreamPool::Send>(&order)) {
    send(*to_send);
  } else if (const auto* to_close = std::get_if<UpstreamPool::Close>(&order)) {
    close(to_close->channel);
  } else {
    const auto& finish = std::get<UpstreamPool::Finish>(order);
    forget_query(finish.flight);
    result_(finish.flight, std::unexpected(finish.why));
  }
}

// Outside every c-ares call: failures become orders, and orders are carried out.
void Upstream::State::drain() {
  while (!failed_.empty() || !orders_.empty()) {
    for (const Failed& f : std::exchange(failed_, {}))
      pool_.on_failure(f.send, f.why, loop_.now(), orders_);
    for (const UpstreamPool::Order& order : std::exchange(orders_, {}))
      follow(order);
  }
  arm();
}

// What the turn has asked leaves here, many questions by one call of the kernel.
void Upstream::State::flush() {
  std::vector<ChannelId> full;
  for (const ChannelId id : std::exchange(to_flush_, {})) {
    const auto found = channels_.find(id);
    if (found != channels_.end() && found->second && !found->second->flush()) full.push_back(id);
  }
  // The loop is about to wait, and is not to while there is anything left to do.
  const bool more = !to_flush_.empty() || !orders_.empty() || !failed_.empty();
  to_flush_.insert(to_flush_.end(), full.begin(), full.end());
  if (more || !full.empty()) wake_.start_in(more ? Duration::zero() : kRoom);
}

void Upstream::State::arm() {
  const Instant next = pool_.next_deadline();
  if (next >= armed_ && armed_ != kNever) return;  // fires early at worst, and is set anew then
  armed_ = next;
  deadline_.start_at(next);
}

void Upstream::State::on_deadline() {
  armed_ = kNever;
  pool_.on_time(loop_.now(), orders_);
  drain();
}

void Upstream::State::on_expiry() {
  spares_.clear();
  std::vector<ChannelId> open;
  for (const auto& [id, channel] : channels_)
    open.push_back(id);
  for (const ChannelId id : open) {
    const auto found = channels_.find(id);
    if (found != channels_.end() && found->second) found->second->expire();
  }
  drain();
  expiring_ = !channels_.empty() || !spares_.empty();
  if (expiring_) expiry_.start_in(kExpiry);
}

UpstreamCounters Upstream::State::counters() const {
  return {.pool = pool_.counters(),
          .pace = pool_.pace_counters(),
          .replies = replies_,
          .channels_opened = opened_,
          .channels = channels_.size(),
          .flights = pool_.flights(),
          .waiting = pool_.waiting()};
}

Upstream::Upstream(io::Loop& loop, const DnsConfig& config, Result result)
    : state_(std::make_unique<State>(loop, config, std::move(result))) {}
Upstream::~Upstream() = default;
void Upstream::set_upstreams(std::uint32_t zone, std::vector<Endpoint> upstreams, Protocol protocol, Guard guard) {
  state_->set_upstreams(zone, std::move(upstreams), protocol, guard);
}
void Upstream::ask(const Ask& ask) {
  state_->ask(ask);
}
void Upstream::avoid(const std::vector<IpAddress>& addresses) {
  state_->avoid(addresses);
}
void Upstream::metadata_packets(std::uint32_t packets) {
  state_->metadata_packets(packets);
}
std::map<Endpoint, bool> Upstream::health() const {
  std::map<Endpoint, bool> out;
  for (const auto& [endpoint, upstream] : state_->view())
    out.emplace(endpoint, upstream.healthy);
  return out;
}
std::map<Endpoint, UpstreamView> Upstream::view() const {
  return state_->view();
}
UpstreamCounters Upstream::counters() const {
  return state_->counters();
}

}  // namespace lastlight::dns
