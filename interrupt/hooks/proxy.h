// Which HTTP proxy a webhook goes through, by HTTPS_PROXY, HTTP_PROXY and NO_PROXY in either case, lower case first.
// NO_PROXY: `*`, or a list of names (which cover their subdomains), IP addresses and CIDR ranges, each with an optional
// :PORT. Loopback addresses and `localhost` never go through a proxy. Pure: the environment is an argument.
#pragma once

#include <functional>
#include <string>

namespace lastlight::interrupt {

using Environment = std::function<const char*(const char*)>;  // null where the variable is not set

// http://[USER:PASSWORD@]HOST[:PORT], or empty: none.
std::string proxy_for(const std::string& url, const Environment& environment);

}  // namespace lastlight::interrupt
