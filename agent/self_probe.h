// A query to ourselves, over a real UDP socket and the real listener of each address, every few seconds: what /readyz
// believes of the first address, and how a takeover that somebody bypasses is found (agent/path_proof). Answers
// nothing.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "agent/base/address.h"
#include "agent/base/bytes.h"
#include "agent/io/file_descriptor.h"
#include "agent/io/poll.h"
#include "agent/io/timer.h"
#include "agent/path_proof.h"

namespace lastlight {

class SelfProbe {
 public:
  static constexpr Duration kInterval = std::chrono::seconds(5);

  // What our addresses are at the moment.
  enum class Addresses {
    Others,    // a takeover is asked for and not in force: nothing is sent, since whoever has them would answer
    Bound,     // the node's or the pod's own
    TakenOver  // nobody else should answer
  };

  // `changed`: bypassed() says something else.
  SelfProbe(io::Loop& loop, std::function<Addresses()> addresses, std::function<void()> changed);

  // A socket that cannot be opened is a probe without an answer; the next one tries again.
  void probe(const Endpoint& target);
  // Every query that clients send is shown here.
  void on_query(ByteView query) {
    if (PathProof::maybe(query)) on_probe(query);
  }
  std::optional<Instant> last_answer() const;  // of our own, at the first address
  std::vector<Endpoint> bypassed() const;      // somebody else answers there

 private:
  struct Target {
    Endpoint where;
    PathProof proof;
    io::FileDescriptor socket;
    std::optional<io::Poll> poll;  // goes before the socket it watches
    std::optional<Instant> last_answer;
  };
  bool open(Target& target);
  void send();
  void on_probe(ByteView query);
  void receive(Target& target);

  io::Loop& loop_;
  std::function<Addresses()> addresses_;
  std::function<void()> changed_;
  std::vector<std::unique_ptr<Target>> targets_;  // one per listener
  io::Timer timer_;
};

}  // namespace lastlight
