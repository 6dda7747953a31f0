// A question that only an upstream can answer: a name nobody can guess, one label below a domain (RFC 8020's cut does
// not reach it, nor does any cache). NXDOMAIN is as good an answer as any. Pure: the caller draws the random octets,
// sends and receives.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "agent/base/bytes.h"

namespace lastlight {

class NameProbe {
 public:
  static constexpr std::size_t kRandom = 14;

  // `domain` in presentation form; one that is no legal name, or too long for a label more, gives an empty query().
  NameProbe(std::string_view domain, const std::array<std::uint8_t, kRandom>& random);

  const std::string& name() const { return name_; }  // without its last dot
  ByteView query() const { return query_; }          // A, IN, RD, without EDNS
  // The RCODE if this is the answer to our question: the same ID, QR, and the same question.
  std::optional<std::uint16_t> rcode_of(ByteView answer) const;
  // The zone's upstream gave it: it knows the name, or that there is none.
  static bool is_from_upstream(std::uint16_t rcode);

 private:
  std::string name_;
  ByteBuffer query_;
};

}  // namespace lastlight
