// The sockets of one upstream, as values: which of them carries the next question, and when each has served. Pure; the
// transport owns the sockets and calls them by their ids.
//
// UDP: eight channels, each with a port of its own, one drawn at random per question; replaced after some 1000
// questions or 10 s (RFC 5452 s9.2), and at once when it falls silent: its port may be pinned to a backend that is
// gone. One that is late with an answer, while others speak, is passed by. A replaced one stays while somebody waits
// for an answer on it; once there are 32 in all, no more are opened, and those that have had their share of questions
// are drawn again (a channel of c-ares takes 75 KiB).
//
// TCP, toward an upstream that answers one connection strictly in order, which every upstream is taken for until it
// proves otherwise (RFC 7766 s6.2.1.1 allows it, CoreDNS does it): a question goes onto the least loaded connection
// whose queue is expected to be done within the p99 and whose oldest question is not older than the learned patience;
// else onto a new one, up to 32; else over UDP. While one is stuck behind such a question nobody queues on the others
// either: slow names come in numbers. While it has more than four, one question in sixteen is put behind another on
// purpose: only so can it be seen to answer out of order. Each that had to be moved from there says that it does not,
// and halves how often that is tried.
//
// TCP, toward one that was seen to answer out of order: four connections carry everything. Those that were opened
// before that was known take no more and close when they owe nothing, the longest silent first; likewise when one that
// is late with its answers, while others speak, makes room for a new one. Connections of either kind end after a
// minute, give or take a quarter, so that a Service's backends share the load anew.
//
// Behind one address there may be several backends, of which connection tracking gives each channel one: a question
// that was lost goes by a channel on which an answer came since, for that one's backend lives, or by a new one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "agent/base/time.h"
#include "agent/config.h"
#include "dnscache/upstream_latency.h"

namespace lastlight::dns {

using ChannelId = std::uint64_t;
using SendId = std::uint64_t;  // one question on one channel; they grow

class UpstreamChannels {
 public:
  static constexpr std::size_t kUdp = 8;
  static constexpr std::size_t kMostUdp = 32;
  static constexpr std::size_t kFreshUdp = 4;           // that were never heard; no more are opened for what was lost
  static constexpr std::uint32_t kUdpQuestions = 1000;  // a new port costs what six questions do
  static constexpr Duration kUdpAge = std::chrono::seconds(10);
  static constexpr std::size_t kStrictTcp = 32;
  static constexpr std::size_t kFreeTcp = 4;
  static constexpr std::uint16_t kTrial = 16;          // questions for one that is put behind another on purpose,
  static constexpr std::uint16_t kMostTrial = 0x1000;  // at first and at most
  static constexpr std::size_t kTrialAhead = 1;        // at most, whatever the p99: it may be less than two medians
  static constexpr std::size_t kFreeLoad = 8;          // questions on each before another is opened
  static constexpr Duration kUdpLate = std::chrono::milliseconds(20);  // at least: datagrams are lost one by one
  static constexpr Duration kTcpAge = std::chrono::seconds(60);
  static constexpr Duration kTcpIdle = std::chrono::seconds(5);  // servers close idle connections; do not race them
  static constexpr Duration kProof = std::chrono::minutes(10);   // how long having answered out of order counts

  using Draw = std::move_only_function<std::uint16_t()>;

  struct Place {
    ChannelId channel = 0;
    Protocol protocol = Protocol::Udp;
    bool fresh = false;     // a new channel
    std::size_t ahead = 0;  // questions it has to answer first
  };
  struct Wanted {
    Protocol protocol = Protocol::Udp;
    std::optional<Instant> alive_since{};  // one heard since then, else a new one: the others may be dead
    std::span<const ChannelId> but{};      // and none of these
  };
  // Where the next question goes; a new channel gets the id `next`.
  Place place(const Wanted& wanted, const LearnedLatency& latency, Instant now, ChannelId next, Draw& draw);
  void sent(ChannelId channel, SendId send, Instant now);

  // What an answer teaches; none when the channel is unknown.
  struct Heard {
    Duration taken{};  // since the upstream could begin with it
    bool over_tcp = false;
  };
  std::optional<Heard> on_reply(ChannelId channel, SendId send, Instant sent, Instant now);
  struct Failed {
    bool tells = false;    // the first time that this tells of a channel that had never been heard
    bool reached = false;  // somebody may have had the question
  };
  // No answer will come to `send`.
  Failed on_failure(ChannelId channel, SendId send);
  // A question sent at `sent` is given up, after its whole turn or since it was answered elsewhere: a UDP channel on
  // which nothing was heard since takes no more, a connection only after a whole turn (it may be one slow answer that
  // the others queue behind). True when this is a connection's end.
  bool on_silence(ChannelId channel, Instant sent, bool whole_turn);
  // False when it is not one of these.
  bool on_connected(ChannelId channel);
  bool silent_since(ChannelId channel, Instant sent) const;
  bool connecting(ChannelId channel) const;
  // Still connecting after `limit`, and at an earlier look too: what the kernel knows by then may have waited for us.
  bool unreachable(ChannelId channel, Duration limit, Instant now);
  // A question is asked again past the one before it.
  void on_moved(ChannelId channel);
  // What is unanswered on it.
  std::vector<SendId> waiting(ChannelId channel) const;
  void forget(ChannelId channel) { channels_.erase(channel); }

  bool strict(Instant now) const { return now >= proven_until_; }
  std::size_t size() const { return channels_.size(); }
  std::size_t tcp() const { return count(Protocol::Tcp); }
  // It takes no more. After a FORMERR without OPT, c-ares 1.18 has repeated the query 11 bytes shorter (our bare OPT is
  // just that) and cuts the channel's answers to 512 bytes from then on.
  void retire(ChannelId channel);
  void retire_all();
  // Those that have served, or that were silent for `turn` with a question: asked no more, and with no question that
  // anybody still waits for. They are forgotten here, and `ended` names what was unanswered on them.
  void collect(Instant now, Duration turn, const std::function<bool(SendId)>& awaited, std::vector<ChannelId>& closed,
               std::vector<SendId>& ended);

 private:
  // What is unanswered, oldest first.
  class Waiting : public std::vector<std::pair<SendId, Instant>> {
   public:
    bool answered(SendId send);  // false: it was not there
  };
  struct Channel {
    Protocol protocol = Protocol::Udp;
    Instant opened{};
    Instant retire_at{};
    Instant used{};
    Instant heard = Instant::min();
    Instant unheard = kNever;  // the first question after it was heard last
    std::uint32_t left = 0;    // questions it may still take: in all over UDP, unanswered over TCP
    bool retired = false;
    bool connected = false;  // UDP needs no answer for that
    bool doubted = false;    // it was still connecting when it should have been
    Waiting waiting;
  };

  std::size_t count(Protocol protocol) const;
  Place add(Protocol protocol, Instant now, ChannelId next, Draw& draw);
  Place again_udp(const Wanted& wanted, const LearnedLatency& latency, Instant now, Draw& draw) const;
  bool usable(const Channel& channel, Protocol protocol, Instant now) const;
  static bool stuck(const Channel& channel, const LearnedLatency& latency, Instant now);
  bool late(const Channel& channel, const LearnedLatency& latency, Instant now) const;
  void retire_tcp(std::size_t keep, Instant now);
  std::optional<Place> place_tcp(bool behind, const LearnedLatency& latency, Instant now) const;
  std::optional<Place> place_alive(const Wanted& wanted, Protocol protocol, const LearnedLatency& latency, Instant now,
                                   Draw& draw) const;

  std::map<ChannelId, Channel> channels_;
  Instant heard_ = Instant::min();  // anything
  Instant proven_until_ = Instant::min();
  std::uint16_t trial_ = kTrial;
};

}  // namespace lastlight::dns
