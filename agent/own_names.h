// The agent's own look-ups (webhook, API server or metadata host names) asked of its own forwarder, so that no thread
// is ever started for one and cluster names work. Pure: start() gives the two queries (A and AAAA) to put to the
// forwarder as a client, on_answer() takes their answers, and the one asking is called once, with every address or
// none. Names are absolute: `search` of resolv.conf is never applied.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string_view>
#include <vector>

#include "agent/base/address.h"
#include "agent/base/bytes.h"

namespace lastlight {

class OwnNames {
 public:
  using Done = std::move_only_function<void(std::vector<IpAddress>)>;
  struct Question {
    std::uint64_t id = 0;  // to be handed back with the answer
    ByteBuffer query;
  };

  // Empty when the name is not a legal one: `done` has then been called already.
  std::vector<Question> start(std::string_view host, Done done);
  void on_answer(std::uint64_t id, ByteView message);
  std::size_t pending() const { return lookups_.size(); }
  std::size_t unanswered() const;  // questions

 private:
  struct Lookup {
    Done done;
    std::vector<IpAddress> addresses;
    int unanswered = 0;
  };
  std::uint64_t next_ = 0;  // even: A; odd: AAAA; a look-up is id / 2
  std::map<std::uint64_t, Lookup> lookups_;
};

// The A and AAAA records of an answer's answer section, in its order; empty if it is malformed or not NOERROR.
std::vector<IpAddress> addresses_of(ByteView message);

}  // namespace lastlight
