// What is answered here, without an upstream: localhost (RFC 6761 s6.3) and ANY (RFC 8482 s4.2). Owns nothing.
#pragma once

#include <optional>

#include "dnscache/answer.h"
#include "dnscache/query.h"

namespace lastlight::dns {

// `name`: the query's, lower-cased.
std::optional<Prepared> local_answer(const Query& query, ByteView name);

}  // namespace lastlight::dns
