// What people read: names, types, rcodes and records as text. For answers to people's questions, never on a query's
// way. RFC 1035 s5.1 (presentation form), 3597 s5 (types and data nobody knows).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/bytes.h"

namespace lastlight::dns {

// Of a name in wire form, without its last dot; the root is ".".
std::string name_text(ByteView name);

std::string type_text(std::uint16_t type);
std::optional<std::uint16_t> parse_type(std::string_view text);  // a name in any case, or TYPE123
std::string rcode_text(std::uint16_t rcode);

struct RecordText {
  std::string name, type, data;
  std::uint32_t ttl = 0;
};
// Of one section (1 answer, 2 authority, 3 additional), `age` seconds after the message came; what cannot be read ends
// the list.
std::vector<RecordText> record_texts(ByteView message, std::size_t section, std::uint32_t age);

}  // namespace lastlight::dns
