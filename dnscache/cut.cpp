#include "dnscache/cut.h"

#include <algorithm>
#include <span>
#include <string_view>

#include "dnscache/hash.h"

namespace lastlight::dns {

namespace {

constexpr std::size_t kBars = 8192;
constexpr std::size_t kMostLabels = 128;
constexpr Duration kAskEvery = std::chrono::seconds(1);

std::string_view as_text(ByteView octets) {
  return {reinterpret_cast<const char*>(octets.data()), octets.size()};
}

ByteView as_octets(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// Where the labels begin, the root's not.
struct Labels {
  std::array<std::uint8_t, kMostLabels> at;  // as many as are written
  std::size_t count = 0;

  explicit Labels(ByteView name) {
    for (std::size_t i = 0; i < name.size() && name[i] != 0 && count < kMostLabels; i += std::size_t{name[i]} + 1)
      at[count++] = static_cast<std::uint8_t>(i);
  }
};

std::string_view label_at(ByteView name, std::size_t at) {
  return as_text(name.subspan(at + 1, name[at]));
}

bool ends_with(ByteView name, ByteView suffix) {
  return name.size() >= suffix.size() && std::ranges::equal(name.last(suffix.size()), suffix);
}

// Names that are missing above others that exist, whatever the cluster holds.
bool is_special(std::string_view label) {
  return label == "dns" || label == "dns-version" || label == "pod" || label == "svc" || label.starts_with('_');
}

bool is_address_type(std::uint16_t type) {
  constexpr std::uint16_t kSvcb = 64, kHttps = 65;
  return type == kTypeA || type == kTypeAaaa || type == kSvcb || type == kHttps;
}

void append(ByteBuffer& out, ByteView octets) {
  out.insert(out.end(), octets.begin(), octets.end());
}

// What both names end with, root label included, as octets; 1 when it is the root alone.
std::size_t common_end(ByteView name, ByteView point) {
  for (std::size_t i = 0; i < name.size() && name[i] != 0; i += std::size_t{name[i]} + 1) {
    const std::size_t rest = name.size() - i;
    for (std::size_t j = 0; j < point.size() && point.size() - j >= rest; j += std::size_t{point[j]} + 1) {
      if (point.size() - j == rest && same_name(name.subspan(i), point.subspan(j))) return rest;
    }
  }
  return 1;
}

// Its end, where it is the point's too, as a pointer to there (RFC 1035 s4.1.4).
void append_name(Cut::Soa& out, ByteView name, ByteView point) {
  const std::size_t end = common_end(name, point);
  if (end == 1) return append(out.record, name);
  append(out.record, name.first(name.size() - end));
  const std::size_t at = out.record.size();
  out.pointers.push_back(static_cast<std::uint16_t>(at));
  out.record.resize(at + 2);
  store16(out.record, at, static_cast<std::uint16_t>(point.size() - end));
}

// The SOA of an authority section, so that it can stand in another message, about a name below `point`.
std::optional<Cut::Soa> soa_of(const Prepared& answer, ByteView point) {
  Reader reader(answer.message);
  reader.name();
  reader.skip(4);
  const int records = load16(answer.message, 6) + load16(answer.message, 8);
  for (int i = 0; i < records; ++i) {
    Record record;
    if (!reader.record(record)) return std::nullopt;
    if (record.type != kTypeSoa) continue;
    Name owner, primary, mailbox;
    Reader names(answer.message, record.begin);
    Reader rdata(answer.message, record.rdata_at);
    if (!names.name(&owner) || !rdata.name(&primary) || !rdata.name(&mailbox)) return std::nullopt;
    std::ranges::transform(owner.view(), owner.octets.begin(), lower);
    if (!ends_with(point, owner.view())) return std::nullopt;
    Cut::Soa out;
    append_name(out, owner.view(), point);
    const std::size_t fixed = out.record.size();  // type, class, TTL, length
    append(out.record, ByteView(answer.message).subspan(record.begin + record.owner_size, 10));
    out.ttl_at = fixed + 4;
    append_name(out, primary.view(), point);
    append_name(out, mailbox.view(), point);
    append(out.record, ByteView(answer.message).subspan(rdata.at(), record.end() - rdata.at()));
    store16(out.record, fixed + 8, static_cast<std::uint16_t>(out.record.size() - fixed - 10));
    return out;
  }
  return std::nullopt;
}

}  // namespace

Cut::Cut(const Name& zone, const std::vector<Name>& zones, std::uint64_t hash_seed)
    : zone_(zone),
      zone_labels_(Labels(zone.view()).count),
      seed_(hash_seed),
      points_(16, Hash{hash_seed}),
      tops_(16, Hash{hash_seed}),
      bars_(kBars) {
  for (const Name& other : zones) {
    if (other.size > zone.size && ends_with(other.view(), zone.view())) stubs_.push_back(other);
  }
}

std::size_t Cut::Hash::operator()(std::string_view text) const {
  return hash_octets({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, seed);
}

std::uint64_t Cut::hash(ByteView octets) const {
  return hash_octets(octets, seed_);
}

// com.ZONE for a name below it; com.svc.ZONE, and, one label further down, com.NS.svc.ZONE.
Cut::Places Cut::places(ByteView name) const {
  Places out;
  if (zone_.size <= 1 || name.size() <= zone_.size || !ends_with(name, zone_.view())) return out;
  const Labels labels(name);
  if (labels.count == kMostLabels || labels.count <= zone_labels_) return out;
  const std::size_t own = labels.count - zone_labels_;  // labels of the name in the zone
  const auto label = [&](std::size_t from_zone) { return std::size_t{labels.at[own - from_zone]}; };
  // ends_with compares octets; the zone must begin at a label, too.
  if (label(1) + name[label(1)] + 1 + zone_.size != name.size()) return out;
  const auto add = [&](std::size_t from_zone) {
    if (own >= from_zone && !is_special(label_at(name, label(from_zone)))) out.at[out.count++] = label(from_zone);
  };
  if (label_at(name, label(1)) != "svc") {
    add(1);
  } else {
    add(2);
    add(3);
  }
  return out;
}

// Strictly below the point, and nothing like _tcp on the way.
bool Cut::servable(ByteView name, std::size_t at) const {
  if (at == 0) return false;
  for (std::size_t i = 0; i < at; i += std::size_t{name[i]} + 1) {
    if (name[i] > 0 && name[i + 1] == '_') return false;
  }
  return true;
}

bool Cut::barred(ByteView point, Instant now) const {
  return now < bars_[hash(point) % kBars];
}

Cut::Point* Cut::find(ByteView point) {
  const auto found = points_.find(as_text(point));
  return found == points_.end() ? nullptr : &found->second;
}

Cut::Point* Cut::make(ByteView point, Instant now) {
  if (Point* there = find(point)) return there;
  if (points_.size() >= kPoints) {
    ++counters_.forgotten;
    std::erase_if(points_, [&](const auto& entry) { return entry.second.armed_to <= now; });
    if (points_.size() >= kPoints) return nullptr;
  }
  return &points_[std::string(as_text(point))];
}

std::optional<Cut::Denial> Cut::denies(ByteView name, std::uint16_t type, Instant now) {
  if (!is_address_type(type)) return std::nullopt;
  const Places all = places(name);
  for (const std::size_t at : std::span(all.at).first(all.count)) {
    const ByteView point = name.subspan(at);
    if (!shapes_.test(shape(point)) || !servable(name, at)) continue;
    Point* state = find(point);  // what is barred is not there
    if (!state || now >= state->armed_to) continue;
    ++counters_.served;
    // In use: asked for again before it ends.
    if (state->armed_to - now < (state->armed_to - state->armed_from) / 3) ask(point, *state, now);
    const auto age = std::chrono::duration_cast<std::chrono::seconds>(now - state->armed_from).count();
    return Denial{.soa = state->soa.record,
                  .pointers = state->soa.pointers,
                  .point = at,
                  .ttl_at = state->soa.ttl_at,
                  .age = static_cast<std::uint32_t>(age)};
  }
  return std::nullopt;
}

std::size_t Cut::Denial::write(ByteView question, MutableByteView out) const {
  static constexpr std::array<std::uint8_t, kHeaderSize> kHeader{0, 0, kQr >> 8, kNxDomain, 0, 1, 0, 0, 0, 1, 0, 0};
  copy_octets(kHeader, out.data());
  copy_octets(question, out.data() + kHeaderSize);
  const std::size_t record = kHeaderSize + question.size();
  copy_octets(soa, out.data() + record);
  for (const std::uint16_t at : pointers) {
    const std::size_t to = kHeaderSize + point + load16(soa, at);
    store16(out, record + at, static_cast<std::uint16_t>(0xC000 | to));
  }
  return record + soa.size();
}

void Cut::missing(ByteView name, std::uint16_t type, const Prepared& nxdomain, Instant now) {
  if (!is_address_type(type)) return;
  const Places all = places(name);
  for (const std::size_t at : std::span(all.at).first(all.count)) {
    const ByteView point = name.subspan(at);
    if (barred(point, now)) continue;
    if (at == 0) {
      if (Point* state = find(point)) arm(*state, point, nxdomain, now);
      continue;
    }
    if (!servable(name, at)) continue;
    Point* state = make(point, now);
    if (!state) continue;
    const std::uint64_t below = hash(name) | 1;
    if (state->below[0] == 0) state->below[0] = below;
    if (state->below[0] != below) state->below[1] = below;
    if (now >= state->armed_to) consider(label_at(point, 0), now);
  }
}

// Asks for the points of a label that may be armed: it is a top-level domain, and two different names below them were
// NXDOMAIN, whether below one or below two of a search path's.
void Cut::consider(std::string_view label, Instant now) {
  if (!tops_.contains(label)) return;
  std::uint64_t first = 0;
  bool two = false;
  for (const auto& [point, state] : points_) {
    if (label_at(as_octets(point), 0) != label) continue;
    two |= state.below[1] != 0 || (first != 0 && state.below[0] != first);
    first = state.below[0];
  }
  if (!two) return;
  for (auto& [point, state] : points_) {
    if (label_at(as_octets(point), 0) == label && now >= state.armed_to) ask(as_octets(point), state, now);
  }
}

void Cut::ask(ByteView point, Point& state, Instant now) {
  if (state.asked != Instant{} && now - state.asked < kAskEvery) return;
  const bool stub = std::ranges::any_of(stubs_, [&](const Name& zone) { return ends_with(zone.view(), point); });
  if (stub || barred(point, now)) return;
  state.asked = now;
  ++counters_.asked;
  wanted_.emplace_back(point.begin(), point.end());
}

void Cut::arm(Point& state, ByteView point, const Prepared& nxdomain, Instant now) {
  // Evidence, not just an NXDOMAIN that somebody happened to ask for.
  if (state.asked == Instant{} || nxdomain.ttl <= Duration{0}) return;
  auto soa = soa_of(nxdomain, point);
  if (!soa) return;
  ++counters_.armed;
  shapes_.set(shape(point));
  state.armed_from = now;
  state.armed_to = now + nxdomain.ttl;
  state.soa = std::move(*soa);
}

void Cut::exists(ByteView name, Instant now) {
  const Places all = places(name);
  for (const std::size_t at : std::span(all.at).first(all.count)) {
    const ByteView point = name.subspan(at);
    bars_[hash(point) % kBars] = now + kBar;
    if (const auto found = points_.find(as_text(point)); found != points_.end()) {
      ++counters_.dropped;
      points_.erase(found);
    }
  }
}

void Cut::exists_elsewhere(ByteView name, Instant now) {
  const Labels labels(name);
  if (labels.count < 2 || labels.count == kMostLabels || tops_.size() >= kTops) return;
  const std::string_view top = label_at(name, labels.at[labels.count - 1]);
  if (tops_.emplace(top).second) consider(top, now);  // the search path comes before the name itself
}

std::optional<ByteBuffer> Cut::next_ask() {
  if (wanted_.empty()) return std::nullopt;
  ByteBuffer out = std::move(wanted_.back());
  wanted_.pop_back();
  return out;
}

void Cut::clear() {
  points_.clear();
  shapes_.reset();
  wanted_.clear();
}

}  // namespace lastlight::dns
