// The NXDOMAIN cut (RFC 8020): a missing name answers for the names below it, so that the search path of a pod
// (api.example.com.shop.svc.cluster.local and so on) does not go upstream for every name. Pure; one per zone.
//
// CoreDNS is no ordinary authority: it says NXDOMAIN for names that have others below them. Hence the narrow rule.
// Only A, AAAA, SVCB and HTTPS, and only strictly below a *point*: one label directly under ZONE, svc.ZONE or
// NS.svc.ZONE, never `dns`, `dns-version`, `pod`, `svc` or `_...`, with no `_...` below it. A point is armed by its own
// name's NXDOMAIN (two typos below a namespace say nothing of the namespace), which we ask for once two different names
// below points of its label, at least one of them below it, were NXDOMAIN and the label is known as a top-level domain
// from the other zones: a name a Corefile puts below a missing one is hardly ever below `com`. It stays armed as long
// as that NXDOMAIN may be kept. Any NOERROR at or below it bars it for an hour, and a configured zone below it for
// good. Known limit: such a name below `com`, asked for never before, is missing while the point is armed.
//
// Bounds: kPoints points (at the bound those not armed are forgotten), kTops labels; bars share a fixed table by hash,
// where a collision bars a point too many.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "agent/base/bytes.h"
#include "agent/base/time.h"
#include "dnscache/answer.h"
#include "dnscache/counters.h"
#include "dnscache/wire.h"

namespace lastlight::dns {

class Cut {
 public:
  static constexpr std::size_t kPoints = 512;
  static constexpr std::size_t kTops = 256;
  static constexpr Duration kBar = std::chrono::hours(1);

  // `zones`: every zone that is configured. Names are wire form in lower case, here and below.
  Cut(const Name& zone, const std::vector<Name>& zones, std::uint64_t hash_seed);

  struct Denial {
    ByteView soa;                             // a record to stand in the authority section
    std::span<const std::uint16_t> pointers;  // places in it that point into the name, counted from `point`
    std::size_t point = 0;                    // where in the name the missing one begins
    std::size_t ttl_at = 0;                   // in the record
    std::uint32_t age = 0;                    // seconds to take from its TTL

    // Writes the whole answer to the question whose name was denied (name, type and class) to the start of `out`.
    std::size_t write(ByteView question, MutableByteView out) const;
  };
  // Whether the name is missing without asking. Valid until the next call.
  std::optional<Denial> denies(ByteView name, std::uint16_t type, Instant now);

  // What an upstream said: NXDOMAIN, to be kept for `ttl`; NOERROR; a name of another zone that exists.
  void missing(ByteView name, std::uint16_t type, const Prepared& nxdomain, Instant now);
  void exists(ByteView name, Instant now);
  void exists_elsewhere(ByteView name, Instant now);

  // A point's own name that should be asked for (type A), each but once in a while.
  std::optional<ByteBuffer> next_ask();

  // Nothing is missing any more; what exists is still known to.
  void clear();

  const CutCounters& counters() const { return counters_; }

  // Its names point into a question whose name ends with the point's, so that it can stand behind each.
  struct Soa {
    ByteBuffer record;
    std::vector<std::uint16_t> pointers;
    std::size_t ttl_at = 0;
  };

 private:
  struct Point {
    std::array<std::uint64_t, 2> below{};  // hashes of names that were NXDOMAIN; 0: none
    Instant asked{};
    Instant armed_from{};
    Instant armed_to{};
    Soa soa;
  };
  struct Hash {
    using is_transparent = void;
    std::uint64_t seed;
    std::size_t operator()(std::string_view text) const;
  };
  // The points a name is below, or at: where each begins in it. Two at the most.
  struct Places {
    std::array<std::size_t, 2> at{};
    std::size_t count = 0;
  };
  Places places(ByteView name) const;
  static std::size_t shape(ByteView label) { return (label[0] * std::size_t{31} + label[1]) % kShapes; }
  bool servable(ByteView name, std::size_t at) const;
  bool barred(ByteView point, Instant now) const;
  Point* find(ByteView point);
  Point* make(ByteView point, Instant now);
  void consider(std::string_view label, Instant now);
  void ask(ByteView point, Point& state, Instant now);
  void arm(Point& state, ByteView point, const Prepared& nxdomain, Instant now);
  std::uint64_t hash(ByteView octets) const;

  Name zone_;
  std::size_t zone_labels_;
  std::vector<Name> stubs_;
  std::uint64_t seed_;
  std::unordered_map<std::string, Point, Hash, std::equal_to<>> points_;
  std::unordered_set<std::string, Hash, std::equal_to<>> tops_;
  static constexpr std::size_t kShapes = 256;
  std::bitset<kShapes> shapes_;  // of the points that were ever armed: most names are told from them by that
  std::vector<Instant> bars_;
  std::vector<ByteBuffer> wanted_;
  CutCounters counters_;
};

}  // namespace lastlight::dns
