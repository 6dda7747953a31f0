// What the DNS cores count: plain numbers that only grow, but for the two gauges. metrics reads them; nothing decides
// by them.
#pragma once

#include <array>
#include <cstdint>

namespace lastlight::dns {

struct CacheCounters {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;   // no entry
  std::uint64_t expired = 0;  // an entry, but its TTL had run out (it may have been served all the same)
  std::uint64_t inserted = 0;
  std::uint64_t restored = 0;   // a predecessor's
  std::uint64_t replaced = 0;   // a newer answer for the same question
  std::uint64_t evicted = 0;    // for want of room
  std::uint64_t too_large = 0;  // an answer that would take over an eighth of the budget; not kept
  std::uint64_t entries = 0;    // gauge
  std::uint64_t bytes = 0;      // gauge; answers, keys and bookkeeping
};

struct CutCounters {
  std::uint64_t served = 0;  // NXDOMAIN without asking
  std::uint64_t asked = 0;   // points' own names
  std::uint64_t armed = 0;
  std::uint64_t dropped = 0;    // for a name that exists below
  std::uint64_t forgotten = 0;  // the table was full
};

struct ForwarderCounters {
  std::uint64_t queries = 0;  // everything that on_query was given
  std::uint64_t answered_from_cache = 0;
  std::uint64_t asked = 0;                 // flights opened
  std::uint64_t joined = 0;                // waiters added to an open flight
  std::uint64_t deliveries = 0;            // waiters answered
  std::uint64_t relayed = 0;               // UPDATE and NOTIFY passed on
  std::uint64_t local = 0;                 // answered here: localhost, ANY
  std::uint64_t truncated = 0;             // answers sent with TC=1
  std::uint64_t stale = 0;                 // expired answers sent (RFC 8767)
  std::array<std::uint64_t, 16> rcodes{};  // of all that was written to clients, by the RCODE of the header
  std::uint64_t prefetched = 0;            // asked again before they expired
  std::uint64_t ahead_full = 0;            // not asked ahead, for want of flights
  std::uint64_t last_known_good = 0;       // NXDOMAIN and NODATA that did not replace an answer
  // Refused and dropped
  std::uint64_t dropped_short = 0;     // under 12 bytes
  std::uint64_t dropped_response = 0;  // QR=1
  std::uint64_t format_errors = 0;     // FORMERR sent
  std::uint64_t bad_version = 0;       // BADVERS sent
  std::uint64_t not_implemented = 0;   // NOTIMP sent
  std::uint64_t refused = 0;           // AXFR, IXFR, UPDATE, NOTIFY, no zone
  std::uint64_t flights_full = 0;      // max_flights reached
  std::uint64_t waiters_full = 0;      // max_waiters reached
  std::uint64_t client_full = 0;       // max_per_client reached, or a client's share of what is left
  // Upstream
  std::uint64_t replies = 0;
  std::uint64_t invalid_replies = 0;  // malformed, or to another question
  std::uint64_t truncated_replies = 0;
  std::uint64_t late_replies = 0;  // for a flight that has ended
  std::uint64_t failures = 0;      // flights that ended without an answer
  std::uint64_t abandoned = 0;     // waiters answered by abandon_all
};

}  // namespace lastlight::dns
