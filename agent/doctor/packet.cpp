#include "agent/doctor/packet.h"

#include <algorithm>
#include <optional>
#include <string_view>

namespace lastlight::doctor {

namespace {

enum class Truth { No, Perhaps, Yes };

Truth inverted(Truth truth) {
  return truth == Truth::Perhaps ? truth : truth == Truth::Yes ? Truth::No : Truth::Yes;
}

// The right side of a match: one value, a range, a prefix, or a set of them. `equals` compares with one value.
template <class Equals>
Truth any_of(const Json& right, const Equals& equals) {
  const auto& members = right.is_array() ? array_or_empty(&right) : array_at(right, "set");
  if (members.empty()) return equals(right);
  Truth best = Truth::No;
  for (const Json& each : members)
    best = std::max(best, any_of(each, equals));
  return best;
}

Truth is_number(const Json& right, std::int64_t number) {
  return any_of(right, [number](const Json& value) {
    if (const auto exact = int_or_none(&value)) return *exact == number ? Truth::Yes : Truth::No;
    const auto& range = array_at(value, "range");
    if (range.size() != 2) return Truth::Perhaps;
    const auto low = int_or_none(&range[0]), high = int_or_none(&range[1]);
    if (!low || !high) return Truth::Perhaps;
    return *low <= number && number <= *high ? Truth::Yes : Truth::No;
  });
}

Truth is_address(const Json& right, const IpAddress& address) {
  return any_of(right, [&address](const Json& value) {
    if (const auto exact = IpAddress::parse(string_or_empty(&value))) return *exact == address ? Truth::Yes : Truth::No;
    const auto network = IpAddress::parse(string_at(value, "prefix", "addr"));
    const auto length = int_at(value, "prefix", "len");
    if (!network || !length) return Truth::Perhaps;
    return in_prefix(address, *network, *length) ? Truth::Yes : Truth::No;
  });
}

Truth is_word(const Json& right, std::string_view word) {
  return any_of(right, [word](const Json& value) {
    if (!value.is_string() || string_or_empty(&value).starts_with('@')) return Truth::Perhaps;
    return string_or_empty(&value) == word ? Truth::Yes : Truth::No;
  });
}

Truth payload_is(const std::string& protocol, const std::string& field, const Json& right, const Packet& packet) {
  const bool v6 = packet.ours.is_v6();
  if (protocol == "ip" || protocol == "ip6") {
    if ((protocol == "ip6") != v6) return Truth::No;
    if (field == "protocol" || field == "nexthdr") return is_word(right, packet.tcp ? "tcp" : "udp");
    if (field == (packet.query ? "daddr" : "saddr")) return is_address(right, packet.ours);
    return Truth::Perhaps;  // the client's address
  }
  if (protocol == "udp" || protocol == "tcp" || protocol == "th") {
    if (protocol != "th" && (protocol == "tcp") != packet.tcp) return Truth::No;
    if (field == (packet.query ? "dport" : "sport")) return is_number(right, packet.port);
    return Truth::Perhaps;  // the client's port
  }
  return protocol == "icmp" || protocol == "icmpv6" || protocol == "sctp" ? Truth::No : Truth::Perhaps;
}

Truth left_is(const Json& left, const Json& right, const Packet& packet) {
  if (const Json* payload = find(left, "payload"))
    return payload_is(string_at(*payload, "protocol"), string_at(*payload, "field"), right, packet);
  const std::string meta = string_at(left, "meta", "key");
  if (meta == "l4proto") return is_word(right, packet.tcp ? "tcp" : "udp");
  if (meta == "nfproto") return is_word(right, packet.ours.is_v6() ? "ipv6" : "ipv4");
  if (meta == "iifname" || meta == "oifname" || meta == "iif" || meta == "oif")
    return is_word(right, "lo") == Truth::Yes ? Truth::No : Truth::Perhaps;
  if (string_at(left, "ct", "key") == "state") return is_word(right, "untracked");
  if (find(left, "ct") != nullptr) return Truth::No;  // there is no connection
  if (string_at(left, "fib", "result") == "type") return packet.query ? is_word(right, "local") : Truth::Perhaps;
  return Truth::Perhaps;
}

Truth expression_is(const Json& expression, const Packet& packet) {
  if (const Json* match = find(expression, "match")) {
    const Json* left = find(*match, "left");
    const Json* right = find(*match, "right");
    if (left == nullptr || right == nullptr) return Truth::Perhaps;
    const Truth truth = left_is(*left, *right, packet);
    return string_at(*match, "op") == "!=" ? inverted(truth) : truth;
  }
  if (find(expression, "xt") != nullptr && string_at(expression, "xt", "type") == "match")
    return string_at(expression, "xt", "name") == "comment" ? Truth::Yes : Truth::Perhaps;
  return find(expression, "limit") != nullptr ? Truth::Perhaps : Truth::Yes;
}

// What may come of it, as a set.
enum Outcome : unsigned { kNothing = 0, kAccept = 1, kDrop = 2, kGoOn = 4, kUnknown = 7 };

class Walk {
 public:
  Walk(const std::vector<Chain>& all, const Packet& packet) : all_(all), packet_(packet) {}

  unsigned through(const Chain& chain, int depth) {
    unsigned outcome = kNothing;
    if (depth > kMaxDepth) return kUnknown;
    for (const Chain::Rule& rule : chain.rules) {
      Truth matches = Truth::Yes;
      for (const Json& expression : array_or_empty(&rule.expressions)) {
        if (left_ == 0) return kUnknown;
        --left_;
        matches = std::min(matches, expression_is(expression, packet_));
        if (matches == Truth::No) break;
        const auto verdict = verdict_of(expression, chain, depth);
        if (!verdict) continue;
        outcome |= *verdict & (kAccept | kDrop);
        // `return` ends this chain; a jump that may come back goes on.
        if (find(expression, "return") != nullptr) {
          if (matches == Truth::Yes) return outcome | kGoOn;
          break;
        }
        if (matches == Truth::Yes && (*verdict & kGoOn) == 0) return outcome;
        break;
      }
    }
    return outcome | kGoOn;
  }

 private:
  std::optional<unsigned> verdict_of(const Json& expression, const Chain& chain, int depth) {
    if (find(expression, "accept") != nullptr) return kAccept;
    if (find(expression, "drop") != nullptr || find(expression, "reject") != nullptr) return kDrop;
    if (find(expression, "return") != nullptr) return kGoOn;
    if (find(expression, "vmap") != nullptr || find(expression, "queue") != nullptr) return kUnknown;
    if (string_at(expression, "xt", "type") == "target") {
      const std::string name = string_at(expression, "xt", "name");
      return name == "REJECT" ? std::optional<unsigned>(kDrop) : std::nullopt;
    }
    std::string target = string_at(expression, "jump", "target");
    if (target.empty()) target = string_at(expression, "goto", "target");
    if (target.empty()) return std::nullopt;
    const auto found = std::ranges::find_if(all_, [&](const Chain& each) {
      return each.name == target && each.table == chain.table && each.family == chain.family;
    });
    // kube-proxy's chains are not read; nothing in them takes our queries.
    if (found == all_.end()) return target.starts_with("KUBE-") ? kGoOn : kUnknown;
    return through(*found, depth + 1);
  }

  static constexpr int kMaxDepth = 16;  // the kernel's own limit of jumps

  const std::vector<Chain>& all_;
  const Packet& packet_;
  std::size_t left_ = 100'000;  // expressions: chains that jump to each other many times end in a perhaps
};

}  // namespace

bool in_prefix(const IpAddress& address, const IpAddress& network, std::int64_t length) {
  if (address.is_v6() != network.is_v6()) return false;
  for (std::int64_t bit = 0; bit < length && bit < 128; ++bit) {
    const auto octet = static_cast<std::size_t>(bit / 8);
    const int mask = 0x80 >> (bit % 8);
    if (((address.octets()[octet] ^ network.octets()[octet]) & mask) != 0) return false;
  }
  return true;
}

Fate fate_in(const Chain& base, const std::vector<Chain>& all, const Packet& packet) {
  if (base.family != "inet" && (base.family == "ip6") != packet.ours.is_v6()) return Fate::Passes;
  unsigned outcome = Walk(all, packet).through(base, 0);
  if ((outcome & kGoOn) != 0) outcome |= base.drops ? kDrop : kAccept;
  const bool accepts = (outcome & kAccept) != 0, drops = (outcome & kDrop) != 0;
  return accepts && drops ? Fate::Perhaps : drops ? Fate::Drops : Fate::Passes;
}

}  // namespace lastlight::doctor
