// One c-ares channel: one server, one protocol, one socket (the only file that includes ares.h, both of Debian
// 12's 1.18 and of 1.34). Draws transaction IDs from the kernel (RFC 5452 s9.2), unique among those under way; c-ares
// matches a reply by ID, question and sender, ignores all else and keeps waiting. Decides nothing: when to give up is
// its owner's.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>

#include "agent/base/address.h"
#include "agent/base/bytes.h"
#include "agent/config.h"
#include "agent/io/loop.h"
#include "dnscache/forwarder.h"
#include "dnscache/random_numbers.h"
#include "dnscache/upstream_sockets.h"

namespace lastlight::dns {

class UpstreamChannel {
 public:
  static constexpr std::size_t kUdpMost = 4096;  // octets of a datagram, either way
  struct Calls {
    // What became of each send: the reply as it came, or why there is none. Possibly from within send(), never from the
    // destructor. The channel must not be destroyed from here.
    std::move_only_function<void(std::uint64_t send, std::expected<ByteView, Failure>)> done;
    std::move_only_function<void()> connected;  // a TCP connection has come about
    std::move_only_function<void()> worked;     // a socket was served: no c-ares call is under way any more
    std::move_only_function<void()> gathered;   // there is something to flush(); possibly from within send()
  };
  // What all channels share.
  struct Shared {
    io::Loop& loop;
    RandomNumbers& random;
    upstream_sockets::Inbox& inbox;
  };
  // Null when c-ares refuses. A question without an answer for `life` is a Timeout: see expire().
  static std::unique_ptr<UpstreamChannel> open(const Shared& shared, const Endpoint& to, Protocol protocol,
                                               Duration life, Calls calls);
  ~UpstreamChannel();

  void send(std::uint64_t send, MutableByteView query);  // writes the ID into it; leaves with the next flush
  // Whether it may serve anew as another channel: over UDP, with nothing under way, and not spoilt by a FORMERR (c-ares
  // 1.18 cuts its answers to 512 octets from then on).
  bool reusable() const;
  const Endpoint& peer() const;
  // The same with another socket, and so another source port (RFC 5452 s9.2); false when there is none to be had. To
  // open one anew costs 75 KiB of memory that is filled and freed each time.
  bool renew(Calls calls);
  // Outside of every c-ares call; `done` may be called, `worked` is not. False: the kernel has no room, try later.
  bool flush();
  void expire();  // ends what is older than `life`; with c-ares 1.34 that ends with its channel

 private:
  struct State;
  explicit UpstreamChannel(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// c-ares as a library, for as long as channels are wanted.
class UpstreamLibrary {
 public:
  UpstreamLibrary();
  ~UpstreamLibrary();
  UpstreamLibrary(const UpstreamLibrary&) = delete;
  UpstreamLibrary& operator=(const UpstreamLibrary&) = delete;
};

}  // namespace lastlight::dns
