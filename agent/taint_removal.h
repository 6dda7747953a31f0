// Carries out what agent/startup_taint says: asks our own first socket over UDP, and the API server. Does nothing while
// we are not ready ourselves: an answer then could be somebody else's.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "agent/base/address.h"
#include "agent/base/backoff.h"
#include "agent/config.h"
#include "agent/io/file_descriptor.h"
#include "agent/io/http_client.h"
#include "agent/io/poll.h"
#include "agent/io/timer.h"
#include "agent/name_probe.h"
#include "agent/startup_taint.h"

namespace lastlight {

class TaintRemoval {
 public:
  // `config` must outlive this. `ready`: queries to our addresses are answered by us.
  TaintRemoval(io::Loop& loop, const Config& config, std::string api_server, io::HttpClient& api,
               std::function<bool()> ready);
  ~TaintRemoval();

  // We listen there. The first address is the one that is asked. Nothing without the key, a node's name and an API
  // server.
  void listening(const Endpoint& where);

 private:
  void turn();
  void ask();
  void receive();
  void answered(std::optional<std::uint16_t> rcode);
  void send_request();
  void tell(const std::optional<StartupTaint::Told>& told);

  static constexpr Duration kPeriod = std::chrono::milliseconds(250);  // of looking whether we are ready
  static constexpr Duration kPatience = std::chrono::seconds(6);       // more than dns.query-timeout's default
  static constexpr Duration kTimeout = std::chrono::seconds(5);        // of a request

  io::Loop& loop_;
  const Config& config_;
  const std::string api_server_;
  io::HttpClient& api_;
  std::function<bool()> ready_;
  StartupTaint taint_;
  Uniform uniform_;
  std::optional<Endpoint> where_;
  std::optional<NameProbe> probe_;  // that is out
  Instant given_up_ = kNever;       // on it
  io::FileDescriptor socket_;
  std::optional<io::Poll> poll_;  // goes before the socket it watches
  io::HttpClient::RequestId request_ = 0;
  io::Timer timer_;
};

}  // namespace lastlight
