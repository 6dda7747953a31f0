// Requests on a loop of their own, for commands: each returns when it is answered or has failed (status 0). The peer is
// named by address: a host name could only be looked up by a running agent.
#pragma once

#include <string>

#include "agent/base/http.h"
#include "agent/io/http_client.h"
#include "agent/io/loop.h"

namespace lastlight::io {

// One request after the other, over a connection that is kept.
class HttpConversation {
 public:
  explicit HttpConversation(const std::string& ca_file = {});
  HttpReply ask(HttpRequest request);

 private:
  Loop loop_;
  HttpClient client_;
};

// Waits two seconds at most.
HttpReply http_once(HttpRequest request, const std::string& ca_file = {});

}  // namespace lastlight::io
