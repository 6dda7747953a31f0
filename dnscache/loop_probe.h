// Is an upstream ourselves, by whatever way round: a rule that redirects, another agent that asks us? Each upstream of
// each zone is asked for a name nobody can guess (128 random bits below the zone); if that question comes in at our own
// door, the upstream is barred for the zone until two probes in a row have stayed away. A loop that is not found yet is
// bounded anyway: a question that comes round joins its own flight, and ends with it. Pure: the caller sends what it is
// told, and shows every query; that costs one comparison unless the first label is 32 octets long.
//
// Bounds: one name per upstream and zone. Probes go out after 1 s, 10 s, and then every 5 min; to a barred one every 30
// s.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/address.h"
#include "agent/base/bytes.h"
#include "agent/base/time.h"

namespace lastlight::dns {

class LoopProbe {
 public:
  static constexpr Duration kFirst = std::chrono::seconds(1);
  static constexpr Duration kSecond = std::chrono::seconds(9);  // after the first
  static constexpr Duration kLater = std::chrono::minutes(5);
  static constexpr Duration kBarred = std::chrono::seconds(30);

  explicit LoopProbe(std::move_only_function<std::uint16_t()> random) : random_(std::move(random)) {}

  // Barred ones too. What is known of those that stay is kept.
  void set_upstreams(std::uint32_t zone, const std::string& name, const std::vector<Endpoint>& upstreams, Instant now);
  bool barred(std::uint32_t zone, const Endpoint& upstream) const;
  std::size_t barred_count() const;

  struct Send {
    Endpoint to;
    ByteBuffer query;
  };
  struct Step {
    std::vector<Send> sends;
    bool changed = false;  // what barred() says
  };
  Step on_time(Instant now);
  Instant next() const;

  struct Found {
    Endpoint upstream;
    std::string zone;
    bool newly = false;  // barred by this
    std::size_t size = 0;
  };
  // A query that a client sent. If it is a probe of ours, a REFUSED is written to `out`, so that nobody asks again.
  std::optional<Found> on_query(ByteView query, MutableByteView out);

 private:
  static constexpr std::size_t kLabel = 32;
  using Label = std::array<std::uint8_t, kLabel>;
  struct Probe {
    std::string zone;
    Label label{};  // of the last one sent; all zero: none yet
    bool seen = false;
    bool barred = false;
    std::uint32_t sent = 0;
    std::uint32_t unseen = 0;  // in a row
    Instant due{};
  };
  ByteBuffer query(const Probe& probe);

  std::move_only_function<std::uint16_t()> random_;
  std::map<std::pair<std::uint32_t, Endpoint>, Probe> probes_;
};

}  // namespace lastlight::dns
