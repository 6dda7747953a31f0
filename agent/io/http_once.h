// One request on a loop of its own, for commands: returns when it is answered or has failed (status 0). The peer is
// named by address: a host name could only be looked up by a running agent.
#pragma once

#include <string>

#include "agent/base/http.h"

namespace lastlight::io {

HttpReply http_once(HttpRequest request, const std::string& ca_file = {});

}  // namespace lastlight::io
