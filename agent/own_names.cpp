#include "agent/own_names.h"

#include <algorithm>
#include <array>

#include "dnscache/wire.h"

namespace lastlight {

namespace {

ByteBuffer query_for(const dns::Name& name, dns::Type type) {
  const std::size_t after = dns::kHeaderSize + name.size;
  ByteBuffer query(after + 4);
  dns::store16(query, 2, dns::kRd);
  dns::store16(query, 4, 1);  // QDCOUNT
  std::copy_n(name.octets.begin(), name.size, query.begin() + dns::kHeaderSize);
  dns::store16(query, after, type);
  dns::store16(query, after + 2, dns::kClassIn);
  return query;
}

}  // namespace

std::vector<IpAddress> addresses_of(ByteView message) {
  if (message.size() < dns::kHeaderSize || (dns::load16(message, 2) & dns::kRcodeMask) != dns::kNoError) return {};
  dns::Reader reader(message);
  for (int i = dns::load16(message, 4); i > 0 && !reader.failed(); --i) {
    reader.name();
    reader.skip(4);
  }
  std::vector<IpAddress> addresses;
  dns::Record record;
  for (int i = dns::load16(message, 6); i > 0 && reader.record(record); --i) {
    if (record.type == dns::kTypeA && record.rdata_size == 4) {
      addresses.push_back(IpAddress::v4(dns::load32(message, record.rdata_at)));
    } else if (record.type == dns::kTypeAaaa && record.rdata_size == 16) {
      std::array<std::uint8_t, 16> octets{};
      std::ranges::copy(message.subspan(record.rdata_at, 16), octets.begin());
      addresses.push_back(IpAddress::v6(octets));
    }
  }
  return reader.failed() ? std::vector<IpAddress>{} : addresses;
}

std::vector<OwnNames::Question> OwnNames::start(std::string_view host, Done done) {
  const auto name = dns::Name::parse(host);
  if (!name) {
    done({});
    return {};
  }
  const std::uint64_t a = next_;
  next_ += 2;
  lookups_.emplace(a / 2, Lookup{.done = std::move(done), .addresses = {}, .unanswered = 2});
  return {{a, query_for(*name, dns::kTypeA)}, {a + 1, query_for(*name, dns::kTypeAaaa)}};
}

std::size_t OwnNames::unanswered() const {
  std::size_t count = 0;
  for (const auto& [id, lookup] : lookups_)
    count += static_cast<std::size_t>(lookup.unanswered);
  return count;
}

void OwnNames::on_answer(std::uint64_t id, ByteView message) {
  const auto found = lookups_.find(id / 2);
  if (found == lookups_.end()) return;
  Lookup& lookup = found->second;
  const auto more = addresses_of(message);
  // IPv4 first whatever came first: an address family that the node lacks should not be tried before one that works.
  lookup.addresses.insert(id % 2 == 0 ? lookup.addresses.begin() : lookup.addresses.end(), more.begin(), more.end());
  if (--lookup.unanswered > 0) return;
  Lookup ended = std::move(lookup);
  lookups_.erase(found);
  ended.done(std::move(ended.addresses));
}

}  // namespace lastlight
