#include "dnscache/loop_probe.h"

#include <algorithm>

#include "dnscache/wire.h"

namespace lastlight::dns {

void LoopProbe::set_upstreams(std::uint32_t zone, const std::string& name, const std::vector<Endpoint>& upstreams,
                              Instant now) {
  std::erase_if(probes_, [&](const auto& entry) {
    return entry.first.first == zone && std::ranges::find(upstreams, entry.first.second) == upstreams.end();
  });
  for (const Endpoint& upstream : upstreams) {
    const auto [probe, added] = probes_.try_emplace({zone, upstream});
    if (!added) continue;
    probe->second.zone = name;
    probe->second.due = now + kFirst;
  }
}

bool LoopProbe::barred(std::uint32_t zone, const Endpoint& upstream) const {
  const auto probe = probes_.find({zone, upstream});
  return probe != probes_.end() && probe->second.barred;
}

std::size_t LoopProbe::barred_count() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(probes_, [](const auto& entry) { return entry.second.barred; }));
}

LoopProbe::Step LoopProbe::on_time(Instant now) {
  Step step;
  for (auto& [where, probe] : probes_) {
    if (now < probe.due) continue;
    if (probe.sent > 0) probe.unseen = probe.seen ? 0 : probe.unseen + 1;
    if (probe.barred && probe.unseen >= 2) {
      probe.barred = false;
      step.changed = true;
    }
    probe.seen = false;
    ++probe.sent;
    probe.due = now + (probe.barred ? kBarred : probe.sent == 1 ? kSecond : kLater);
    step.sends.push_back({where.second, query(probe)});
    std::copy_n(step.sends.back().query.begin() + kHeaderSize + 1, kLabel, probe.label.begin());
  }
  return step;
}

Instant LoopProbe::next() const {
  Instant next = kNever;
  for (const auto& [where, probe] : probes_)
    next = std::min(next, probe.due);
  return next;
}

// HINFO, of which nobody has any; the name is below the zone, so whoever forwards the zone forwards it.
ByteBuffer LoopProbe::query(const Probe& probe) {
  ByteBuffer out(kHeaderSize);
  store16(out, 0, random_());
  store16(out, 2, kRd);
  store16(out, 4, 1);
  out.push_back(kLabel);
  for (std::size_t i = 0; i < kLabel / 4; ++i) {
    for (std::uint16_t bits = random_(), digit = 0; digit < 4; ++digit, bits = static_cast<std::uint16_t>(bits >> 4))
      out.push_back(static_cast<std::uint8_t>("0123456789abcdef"[bits & 15]));
  }
  const auto zone = Name::parse(probe.zone);
  const bool fits = zone && zone->size + kLabel + 1 <= kMaxName;
  if (fits) out.insert(out.end(), zone->octets.begin(), zone->octets.begin() + static_cast<std::ptrdiff_t>(zone->size));
  if (!fits) out.push_back(0);
  out.resize(out.size() + 4);
  store16(out, out.size() - 4, kTypeHinfo);
  store16(out, out.size() - 2, kClassIn);
  return out;
}

std::optional<LoopProbe::Found> LoopProbe::on_query(ByteView query, MutableByteView out) {
  if (query.size() <= kHeaderSize + 1 + kLabel || query[kHeaderSize] != kLabel || query.size() > out.size() ||
      (load16(query, 2) & kQr) != 0)
    return std::nullopt;
  Label label;
  std::ranges::transform(query.subspan(kHeaderSize + 1, kLabel), label.begin(), lower);  // 0x20 on the way
  const auto found = std::ranges::find_if(
      probes_, [&](const auto& entry) { return entry.second.sent > 0 && entry.second.label == label; });
  if (found == probes_.end()) return std::nullopt;
  Probe& probe = found->second;
  probe.seen = true;
  const bool newly = !probe.barred;
  if (newly) {
    probe.barred = true;
    probe.due = std::min(probe.due, probe.due - kLater + kBarred);
  }
  copy_octets(query, out.data());
  store16(out, 2, static_cast<std::uint16_t>((load16(query, 2) & (kOpcodeMask | kRd)) | kQr | kRefused));
  return Found{.upstream = found->first.second, .zone = probe.zone, .newly = newly, .size = query.size()};
}

}  // namespace lastlight::dns
