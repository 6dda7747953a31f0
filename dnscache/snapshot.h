// The image of a cache, as it passes from an agent to its successor on the same machine: written in blocks while the
// old one serves, read whole by the new one before it does. Pure; where the octets stand is the caller's matter.
//
//   image = magic (8) version (4) block*     block = size (4) checksum (8) payload     numbers in network order
//
// The first payload is the instant of writing and who the answers came from, every other one entries; the last is
// empty. A checksum is SipHash of the payload, keyed by the checksum before it, so that a block that is missing,
// doubled or out of place is a wrong one. It finds accidents: whoever may write images may write any. So nothing in an
// entry is believed: its message is read whole by the one reader (wire.h), must answer its key, have no OPT and no TTL
// below the time it is kept for. One bad octet makes the whole image bad.
//
// Instants are CLOCK_BOOTTIME's, which both processes share: TTLs go on as if nothing had happened. A change of what an
// entry means needs another kVersion. Known limit: failures, NXDOMAIN cuts and latencies are not in it.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <span>
#include <vector>

#include "agent/base/address.h"
#include "agent/base/bytes.h"
#include "agent/base/time.h"
#include "dnscache/cache.h"

namespace lastlight::dns {

struct Snapshot {
  static constexpr std::uint32_t kVersion = 1;
  static constexpr std::size_t kBlock = 96 * 1024;              // octets of payload after which a block is full
  static constexpr Duration kOldest = std::chrono::minutes(1);  // since it was begun

  Instant written{};
  std::vector<Endpoint> sources;  // Answer::source is a place in it, from 1
};

struct SnapshotEntry {
  Cache::Record record;
  std::uint64_t zone = 0;  // of equal ones the answer would be the same (the forwarder's number)
};

class SnapshotWriter {
 public:
  // At most 255 sources; an entry's that is none of them is none.
  explicit SnapshotWriter(const Snapshot& about);

  void add(const SnapshotEntry& entry);
  bool full() const { return payload_.size() >= Snapshot::kBlock; }
  // The octets that follow those taken before: a block of what was added since, if anything was.
  ByteBuffer take();
  ByteBuffer end();  // the last ones

 private:
  void seal();

  std::size_t sources_;
  std::uint64_t checksum_ = 0;
  ByteBuffer payload_;
  ByteBuffer out_;
};

enum class SnapshotDefect : std::uint8_t { Version, Truncated, Checksum, Age, Malformed };
const char* describe(SnapshotDefect defect);

// Shows every entry, with views into `image`; `each` may have been called before a defect is found.
std::expected<Snapshot, SnapshotDefect> read_snapshot(
    ByteView image, Instant now, const std::function<void(const Snapshot&, const SnapshotEntry&)>& each);

}  // namespace lastlight::dns
