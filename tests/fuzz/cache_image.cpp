// Any octets as a cache's image: as they come, and as entries under right checksums. Checked beside memory: at a defect
// nothing is kept; otherwise every answer parses whole, and so does what a client that asks for it gets.
#include <cstdlib>

#include "dnscache/forwarder.h"
#include "dnscache/hash.h"
#include "dnscache/query.h"
#include "dnscache/wire.h"

#include "tests/unit/dnscache/messages.h"

using namespace lastlight;
using namespace lastlight::dns;

namespace {

constexpr Instant kNow{std::chrono::hours(1)};

void require(bool condition) {
  if (!condition) std::abort();
}

void append_block(ByteBuffer& image, ByteView payload, std::uint64_t& checksum) {
  checksum = hash_octets(payload, checksum);
  test::put32(image, static_cast<std::uint32_t>(payload.size()));
  test::put32(image, static_cast<std::uint32_t>(checksum >> 32));
  test::put32(image, static_cast<std::uint32_t>(checksum));
  image.insert(image.end(), payload.begin(), payload.end());
}

// Behind the magic, the version and a head that says "now" and one source.
ByteBuffer framed(ByteView entries) {
  ByteBuffer image = {'L', 'L', 'c', 'a', 'c', 'h', 'e', '\n'};
  test::put32(image, Snapshot::kVersion);
  ByteBuffer head;
  const auto now = static_cast<std::uint64_t>(kNow.time_since_epoch().count());
  test::put32(head, static_cast<std::uint32_t>(now >> 32));
  test::put32(head, static_cast<std::uint32_t>(now));
  head.push_back(1);
  head.resize(head.size() + 19);
  std::uint64_t checksum = 0;
  append_block(image, head, checksum);
  if (!entries.empty()) append_block(image, entries, checksum);
  append_block(image, {}, checksum);
  return image;
}

void check(ByteView image) {
  static ByteBuffer out(65535);
  DnsConfig config;
  config.cache_size = mib(1);
  config.zones.emplace_back();
  Forwarder forwarder(config, 1);
  const auto kept = forwarder.restore(image, kNow);
  if (!kept) return require(forwarder.cache_counters().entries == 0);
  const auto each = [&](const Snapshot&, const SnapshotEntry& entry) {
    const Cache::Record& record = entry.record;
    require(test::parse(record.answer.message).valid);
    const Query asked = query_of(record.key);
    Client tcp;
    tcp.transport = Transport::Tcp;
    ByteBuffer query;
    upstream_query(asked, 1232, query);
    const auto answer = forwarder.on_query(query, tcp, kNow, out);
    if (answer.size == 0) return;  // of another zone, expired, or another entry of the same key took its place
    require(test::parse(ByteView(out).first(answer.size)).valid);
  };
  require(read_snapshot(image, kNow, each).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView octets(data, size);
  check(octets);
  check(framed(octets));
  return 0;
}
