#include <string>
#include <vector>

#include "dnscache/forwarder_state.h"
#include "dnscache/hash.h"

namespace lastlight::dns {

namespace {

constexpr std::uint64_t kImageShare = 4;  // of the cache's budget an image may have, 1/n
constexpr std::size_t kPlacesPerStep = 64;
constexpr int kStepsPerSlice = 64;

// What a zone's answers depend on, as a number that is the same in every process: asks_alike() between two of them.
std::uint64_t how_asked(const ZoneConfig& zone) {
  std::string text = zone.name + (zone.from_resolv_conf ? " resolv.conf" : "");
  text += zone.protocol == Protocol::Tcp ? " tcp" : " udp";
  for (const AddressSpec& each : zone.upstreams) {
    text += " " + std::to_string(static_cast<int>(each.kind)) + " " + each.service + " " +
            Endpoint{each.address, each.port}.to_string();
  }
  return hash_octets(ByteView(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()), 0);
}

std::vector<std::uint64_t> how_all_are_asked(const std::vector<ZoneConfig>& zones) {
  std::vector<std::uint64_t> out;
  for (const ZoneConfig& zone : zones)
    out.push_back(how_asked(zone));
  return out;
}

}  // namespace

void Forwarder::State::begin_image(Instant now) {
  imaging_.emplace(Imaging{.writer = SnapshotWriter({.written = now, .sources = sources_})});
}

bool Forwarder::State::image_slice(ByteBuffer& out, Instant now) {
  const auto zones = how_all_are_asked(config_.zones);
  const auto add = [&](const Cache::Record& record) {
    if (const auto zone = zones_.find(name_of_key(record.key))) imaging_->writer.add({record, zones[*zone]});
  };
  bool more = imaging_->octets < config_.cache_size.count / kImageShare;
  for (int step = 0; more && step < kStepsPerSlice && !imaging_->writer.full(); ++step)
    more = cache_.walk(imaging_->walk, kPlacesPerStep, add, now);
  out = imaging_->writer.take();
  imaging_->octets += out.size();
  return more;
}

ByteBuffer Forwarder::State::end_image() {
  ByteBuffer out = imaging_->writer.end();
  imaging_.reset();
  return out;
}

std::expected<std::size_t, SnapshotDefect> Forwarder::State::restore(ByteView image, Instant now) {
  const auto zones = how_all_are_asked(config_.zones);
  std::size_t count = 0;
  const auto keep = [&](const Snapshot& about, const SnapshotEntry& entry) {
    const auto zone = zones_.find(name_of_key(entry.record.key));
    if (!zone || !keeps(*zone) || zones[*zone] != entry.zone) return;
    Cache::Record record = entry.record;
    const std::uint8_t source = record.answer.source;
    record.answer.source = source > 0 ? source_of(about.sources[source - 1]) : 0;
    if (cache_.restore(record, now)) ++count;
  };
  const auto read = read_snapshot(image, now, keep);
  if (read) return count;
  cache_.erase_if([](ByteView) { return true; });
  return std::unexpected(read.error());
}

void Forwarder::begin_image(Instant now) {
  state_->begin_image(now);
}
bool Forwarder::image_slice(ByteBuffer& out, Instant now) {
  return state_->image_slice(out, now);
}
ByteBuffer Forwarder::end_image() {
  return state_->end_image();
}
std::expected<std::size_t, SnapshotDefect> Forwarder::restore(ByteView image, Instant now) {
  return state_->restore(image, now);
}

}  // namespace lastlight::dns
