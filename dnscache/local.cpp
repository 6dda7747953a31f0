#include "dnscache/local.h"

#include <algorithm>
#include <array>

#include "dnscache/wire.h"

namespace lastlight::dns {

namespace {

constexpr std::uint32_t kTtl = 3600;
constexpr std::array<std::uint8_t, 11> kLocalhost = {9, 'l', 'o', 'c', 'a', 'l', 'h', 'o', 's', 't', 0};
constexpr std::array<std::uint8_t, 9> kInvalid = {7, 'i', 'n', 'v', 'a', 'l', 'i', 'd', 0};

// Both fit into a few octets at the end, so most names are told apart without looking at their labels.
bool is_under(ByteView name, ByteView top) {
  if (name.size() < top.size() || !std::ranges::equal(name.last(top.size()), top)) return false;
  std::size_t at = 0;
  while (name.size() - at > top.size())
    at += std::size_t{name[at]} + 1;
  return name.size() - at == top.size();
}

Prepared with_record(const Query& query, std::uint16_t type, ByteView rdata) {
  Prepared out = make_failure(query.question, kNoError);
  out.failure = false;
  store16(out.message, 6, 1);
  const std::size_t at = out.message.size();
  out.message.resize(at + 12 + rdata.size());
  store16(out.message, at, 0xC000 | kHeaderSize);
  store16(out.message, at + 2, type);
  store16(out.message, at + 4, kClassIn);
  store32(out.message, at + 6, kTtl);
  store16(out.message, at + 10, static_cast<std::uint16_t>(rdata.size()));
  copy_octets(rdata, out.message.data() + at + 12);
  out.ttl_at.push_back(static_cast<std::uint16_t>(at + 6));
  return out;
}

}  // namespace

std::optional<Prepared> local_answer(const Query& query, ByteView name) {
  if (query.type == kTypeAny) {
    static constexpr std::array<std::uint8_t, 9> kHinfo = {7, 'R', 'F', 'C', '8', '4', '8', '2', 0};
    return with_record(query, kTypeHinfo, kHinfo);
  }
  if (is_under(name, kInvalid)) {
    Prepared none = make_failure(query.question, kNxDomain);
    none.failure = false;
    return none;
  }
  if (!is_under(name, kLocalhost)) return std::nullopt;
  if (query.qclass == kClassIn && query.type == kTypeA) {
    static constexpr std::array<std::uint8_t, 4> kV4 = {127, 0, 0, 1};
    return with_record(query, kTypeA, kV4);
  }
  if (query.qclass == kClassIn && query.type == kTypeAaaa) {
    static constexpr std::array<std::uint8_t, 16> kV6 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    return with_record(query, kTypeAaaa, kV6);
  }
  Prepared nodata = make_failure(query.question, kNoError);
  nodata.failure = false;
  return nodata;
}

}  // namespace lastlight::dns
