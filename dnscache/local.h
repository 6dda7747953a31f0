// What is answered here, without an upstream: localhost and invalid (RFC 6761 s6.3, s6.4), and ANY (RFC 8482 s4.2).
// Private reverse zones are not: in a cluster they have answers (RFC 6761 s6.1). Owns nothing.
#pragma once

#include <optional>

#include "dnscache/answer.h"
#include "dnscache/query.h"

namespace lastlight::dns {

// `name`: the query's, lower-cased.
std::optional<Prepared> local_answer(const Query& query, ByteView name);

}  // namespace lastlight::dns
