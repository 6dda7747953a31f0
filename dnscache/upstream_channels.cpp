#include "dnscache/upstream_channels.h"

#include <algorithm>
#include <utility>

namespace lastlight::dns {

namespace {

// `of`, give or take a quarter.
template <class T>
T jittered(T of, UpstreamChannels::Draw& draw) {
  return of * 3 / 4 + of * draw() / (2 * 65536);
}

}  // namespace

bool UpstreamChannels::Waiting::answered(SendId send) {
  const auto found = std::ranges::lower_bound(*this, send, {}, &value_type::first);
  if (found == end() || found->first != send) return false;
  erase(found);
  return true;
}

bool UpstreamChannels::usable(const Channel& channel, Protocol protocol, Instant now) const {
  return channel.protocol == protocol && !channel.retired && channel.left > 0 && now < channel.retire_at;
}

std::size_t UpstreamChannels::count(Protocol protocol) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(channels_, [&](const auto& c) { return c.second.protocol == protocol; }));
}

UpstreamChannels::Place UpstreamChannels::add(Protocol protocol, Instant now, ChannelId next, Draw& draw) {
  const bool udp = protocol == Protocol::Udp;
  if (!udp && !strict(now)) retire_tcp(kFreeTcp - 1, now);
  Channel& channel = channels_[next];
  channel.protocol = protocol;
  channel.opened = channel.used = now;
  channel.connected = udp;
  channel.retire_at = now + jittered(udp ? kUdpAge : kTcpAge, draw);
  // 16 bits of transaction ID: a connection with half of them under way would draw long for a free one. Each answer
  // gives one back.
  channel.left = udp ? jittered(kUdpQuestions, draw) : 0x8000;
  return {next, protocol, true, 0};
}

UpstreamChannels::Place UpstreamChannels::place(const Wanted& wanted, const LearnedLatency& latency, Instant now,
                                                ChannelId next, Draw& draw) {
  const bool anew = wanted.alive_since.has_value();
  if (wanted.protocol == Protocol::Tcp) {
    const bool behind = strict(now) && tcp() > kFreeTcp && draw() % trial_ == 0;
    const auto found = anew ? place_alive(wanted, Protocol::Tcp, latency, now, draw) : place_tcp(behind, latency, now);
    if (found) return *found;
    if (tcp() < kStrictTcp) return add(Protocol::Tcp, now, next, draw);
  }
  if (anew) {
    if (const auto found = place_alive(wanted, Protocol::Udp, latency, now, draw)) return *found;
  }
  // Empty slots are drawn too, and opened: so the first questions already have ports of their own.
  std::size_t slot = draw() % kUdp;
  for (const auto& [id, channel] : channels_) {
    if (anew) break;
    if (usable(channel, Protocol::Udp, now) && !late(channel, latency, now) && slot-- == 0)
      return {id, Protocol::Udp, false, channel.waiting.size()};
  }
  return count(Protocol::Udp) < kMostUdp ? add(Protocol::Udp, now, next, draw) : again_udp(wanted, latency, now, draw);
}

// Nothing was heard on it for too long while something was to be heard, and others were heard: or it is we who are
// late.
bool UpstreamChannels::late(const Channel& channel, const LearnedLatency& latency, Instant now) const {
  if (channel.waiting.empty() || channel.unheard > now) return false;
  return heard_ > channel.unheard && now - channel.unheard > std::max(latency.patience(), kUdpLate);
}

// Its oldest question is unusually old, so that on a strict connection all others wait for that one.
bool UpstreamChannels::stuck(const Channel& channel, const LearnedLatency& latency, Instant now) {
  return !channel.waiting.empty() && now - channel.waiting.front().second > latency.patience();
}

// Drawn among them; a strict connection only when it has nothing to do. One that is late was heard all the same, and
// may owe a slow answer. When no port was heard, one of those that are new already, once there are a few: they have
// backends of their own, too.
std::optional<UpstreamChannels::Place> UpstreamChannels::place_alive(const Wanted& wanted, Protocol protocol,
                                                                     const LearnedLatency& latency, Instant now,
                                                                     Draw& draw) const {
  std::vector<Place> alive, slow, fresh;
  for (const auto& [id, channel] : channels_) {
    const std::size_t ahead = channel.waiting.size();
    if (!usable(channel, protocol, now) || std::ranges::find(wanted.but, id) != wanted.but.end()) continue;
    if (protocol == Protocol::Tcp && strict(now) && ahead > 0) continue;
    const bool is_late = late(channel, latency, now);
    if (channel.heard >= *wanted.alive_since) (is_late ? slow : alive).push_back({id, protocol, false, ahead});
    if (channel.heard == Instant::min() && protocol == Protocol::Udp && !is_late)
      fresh.push_back({id, protocol, false, ahead});
  }
  if (alive.empty()) alive = std::move(slow);
  if (alive.empty() && fresh.size() >= kFreshUdp) alive = std::move(fresh);
  if (alive.empty()) return std::nullopt;
  return alive[draw() % alive.size()];
}

// One of those that have served: drawn among those that did not fall silent, or that were heard since; else among those
// that owe the fewest answers, since one that is dead owes more and more.
UpstreamChannels::Place UpstreamChannels::again_udp(const Wanted& wanted, const LearnedLatency& latency, Instant now,
                                                    Draw& draw) const {
  std::vector<Place> speaking, owing, any;
  for (const auto& [id, channel] : channels_) {
    if (channel.protocol != Protocol::Udp) continue;
    const Place place{id, Protocol::Udp, false, channel.waiting.size()};
    any.push_back(place);
    if (std::ranges::find(wanted.but, id) != wanted.but.end()) continue;
    const bool speaks =
        wanted.alive_since ? channel.heard >= *wanted.alive_since : !channel.retired && !late(channel, latency, now);
    if (speaks) speaking.push_back(place);
    if (!owing.empty() && owing.front().ahead > place.ahead) owing.clear();
    if (owing.empty() || owing.front().ahead == place.ahead) owing.push_back(place);
  }
  const std::vector<Place>& places = !speaking.empty() ? speaking : !owing.empty() ? owing : any;
  return places[draw() % places.size()];
}

std::optional<UpstreamChannels::Place> UpstreamChannels::place_tcp(bool behind, const LearnedLatency& latency,
                                                                   Instant now) const {
  const bool in_order = strict(now);
  std::optional<Place> least;
  std::size_t open = 0;
  bool some_stuck = false;
  for (const auto& [id, channel] : channels_) {
    if (!usable(channel, Protocol::Tcp, now)) continue;
    const std::size_t ahead = channel.waiting.size();
    if (ahead > 0) {
      const bool blocked = in_order ? stuck(channel, latency, now) : late(channel, latency, now);
      some_stuck |= blocked;
      if (blocked) continue;
      if (in_order && !latency.known()) continue;  // nobody waits for who knows how long
      const bool short_enough =
          behind ? ahead <= kTrialAhead : latency.median() * static_cast<int>(ahead + 1) <= latency.p99();
      if (in_order && !short_enough) continue;
    }
    ++open;
    if (!least || (behind ? ahead > least->ahead : ahead < least->ahead))
      least = Place{id, Protocol::Tcp, false, ahead};
  }
  if (least && !in_order && least->ahead >= kFreeLoad && open < kFreeTcp) return std::nullopt;
  if (least && in_order && some_stuck && least->ahead > 0 && !behind) return std::nullopt;
  return least;
}

void UpstreamChannels::sent(ChannelId id, SendId send, Instant now) {
  Channel& channel = channels_.at(id);
  channel.waiting.emplace_back(send, now);
  channel.used = now;
  channel.unheard = std::min(channel.unheard, now);
  if (channel.left > 0) --channel.left;
}

std::optional<UpstreamChannels::Heard> UpstreamChannels::on_reply(ChannelId id, SendId send, Instant at, Instant now) {
  const auto found = channels_.find(id);
  if (found == channels_.end()) return std::nullopt;
  Channel& channel = found->second;
  Heard heard{.taken = now - at, .over_tcp = channel.protocol == Protocol::Tcp};
  if (heard.over_tcp) {
    const bool out_of_order = !channel.waiting.empty() && channel.waiting.front().first < send;
    if (out_of_order) {
      if (strict(now)) retire_tcp(kFreeTcp, now);
      proven_until_ = now + kProof;
      trial_ = kTrial;
    }
    // Time spent behind others on a strict connection is the queue's, not the answer's.
    if (strict(now)) heard.taken = now - std::max(at, channel.heard);
  }
  if (channel.waiting.answered(send) && heard.over_tcp) ++channel.left;
  channel.connected = true;
  channel.heard = heard_ = now;
  channel.unheard = kNever;
  channel.used = now;
  return heard;
}

UpstreamChannels::Failed UpstreamChannels::on_failure(ChannelId id, SendId send) {
  const auto found = channels_.find(id);
  if (found == channels_.end()) return {};
  Channel& channel = found->second;
  channel.waiting.answered(send);
  const bool tells = !channel.retired && channel.heard == Instant::min();
  channel.retired = true;
  return {tells, channel.protocol == Protocol::Tcp && channel.connected};
}

bool UpstreamChannels::silent_since(ChannelId id, Instant at) const {
  const auto found = channels_.find(id);
  return found == channels_.end() || found->second.heard < at;
}

bool UpstreamChannels::on_silence(ChannelId id, Instant at, bool whole_turn) {
  const auto found = channels_.find(id);
  if (found == channels_.end() || found->second.heard >= at) return false;
  const bool tcp = found->second.protocol == Protocol::Tcp;
  if (!tcp || whole_turn) found->second.retired = true;
  return tcp && whole_turn;
}

bool UpstreamChannels::on_connected(ChannelId id) {
  const auto found = channels_.find(id);
  if (found != channels_.end()) found->second.connected = true;
  return found != channels_.end();
}

bool UpstreamChannels::connecting(ChannelId id) const {
  const auto found = channels_.find(id);
  return found != channels_.end() && !found->second.connected;
}

bool UpstreamChannels::unreachable(ChannelId id, Duration limit, Instant now) {
  if (!connecting(id)) return false;
  Channel& channel = channels_.at(id);
  return now - channel.opened >= limit && std::exchange(channel.doubted, true);
}

std::vector<SendId> UpstreamChannels::waiting(ChannelId id) const {
  std::vector<SendId> out;
  const auto found = channels_.find(id);
  if (found == channels_.end()) return out;
  for (const auto& [send, at] : found->second.waiting)
    out.push_back(send);
  return out;
}

// That it was not answered says nothing of order when the connection is dead.
void UpstreamChannels::on_moved(ChannelId id) {
  const auto found = channels_.find(id);
  if (found != channels_.end() && !found->second.retired) trial_ = std::min<std::uint16_t>(trial_ * 2, kMostTrial);
}

// All but so many that take questions: those that were heard last stay.
void UpstreamChannels::retire_tcp(std::size_t keep, Instant now) {
  std::vector<Channel*> open;
  for (auto& [id, channel] : channels_) {
    if (usable(channel, Protocol::Tcp, now)) open.push_back(&channel);
  }
  if (open.size() <= keep) return;
  std::ranges::sort(open, std::greater(), &Channel::heard);
  for (Channel* each : std::span(open).subspan(keep))
    each->retired = true;
}

void UpstreamChannels::retire(ChannelId id) {
  const auto found = channels_.find(id);
  if (found != channels_.end()) found->second.retired = true;
}

void UpstreamChannels::retire_all() {
  for (auto& [id, channel] : channels_)
    channel.retired = true;
}

void UpstreamChannels::collect(Instant now, Duration turn, const std::function<bool(SendId)>& awaited,
                               std::vector<ChannelId>& closed, std::vector<SendId>& ended) {
  std::erase_if(channels_, [&](const auto& entry) {
    const Channel& channel = entry.second;
    const bool waits = !channel.waiting.empty();
    const bool idle = channel.protocol == Protocol::Tcp && !waits && now - channel.used >= kTcpIdle;
    const Instant oldest = waits ? channel.waiting.front().second : now;
    const bool silent = now - std::max(oldest, channel.heard) >= turn;  // of two it owes the first may have come
    if (!idle && !silent && !channel.retired && channel.left > 0 && now < channel.retire_at) return false;
    if (std::ranges::any_of(channel.waiting, [&](const auto& each) { return awaited(each.first); })) return false;
    closed.push_back(entry.first);
    for (const auto& [send, at] : channel.waiting)
      ended.push_back(send);
    return true;
  });
}

}  // namespace lastlight::dns
