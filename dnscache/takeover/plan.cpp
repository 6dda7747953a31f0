#include "dnscache/takeover/plan.h"

#include <algorithm>
#include <charconv>

namespace lastlight::dns {

namespace {

template <class Number>
std::optional<Number> number(std::string_view text, Number min, Number max) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < min || value > max) return std::nullopt;
  return value;
}

// A name the kernel takes (15 octets), and that means nothing else to nft.
bool is_interface(std::string_view name) {
  return !name.empty() && name.size() <= 15 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

std::optional<IpAddress> usable_address(std::string_view text) {
  const auto address = IpAddress::parse(text);
  if (!address || address->is_unspecified() || address->is_loopback()) return std::nullopt;
  return address;
}

std::optional<LinkLocal> link_local(std::string_view text) {
  const std::size_t cut = text.find('=');
  if (cut == std::string_view::npos) return std::nullopt;
  const auto address = usable_address(text.substr(0, cut));
  const auto fallback = usable_address(text.substr(cut + 1));
  if (!address || !fallback || address->is_v6() != fallback->is_v6() || *address == *fallback) return std::nullopt;
  return LinkLocal{*address, *fallback};
}

// False: `value` is not what `key` takes.
bool set(TakeoverPlan& plan, std::string_view key, const std::string& value) {
  if (key == "--interface") {
    plan.interface = value;
    return is_interface(value);
  }
  if (key == "--port") {
    const auto port = number<std::uint16_t>(value, 1, 65535);
    plan.port = port.value_or(0);
    return port.has_value();
  }
  if (key == "--lease-ms") {
    const auto milliseconds = number<std::uint32_t>(value, 100, 60'000);
    plan.lease = std::chrono::milliseconds(milliseconds.value_or(0));
    return milliseconds.has_value();
  }
  if (plan.addresses().size() >= TakeoverPlan::kMaxAddresses) return false;
  if (key == "--cluster-ip") {
    const auto address = usable_address(value);
    if (address) plan.cluster_ips.push_back(*address);
    return address.has_value();
  }
  const auto pair = link_local(value);
  if (pair) plan.link_locals.push_back(*pair);
  return key == "--link-local" && pair;
}

}  // namespace

std::vector<IpAddress> TakeoverPlan::addresses() const {
  std::vector<IpAddress> all = cluster_ips;
  for (const LinkLocal& each : link_locals)
    all.push_back(each.address);
  return all;
}

std::vector<std::string> to_arguments(const TakeoverPlan& plan) {
  const auto lease = std::chrono::duration_cast<std::chrono::milliseconds>(plan.lease).count();
  std::vector<std::string> words{"--interface", plan.interface,       "--port", std::to_string(plan.port),
                                 "--lease-ms",  std::to_string(lease)};
  for (const IpAddress& address : plan.cluster_ips) {
    words.insert(words.end(), {"--cluster-ip", address.to_string()});
  }
  for (const LinkLocal& each : plan.link_locals) {
    words.insert(words.end(), {"--link-local", each.address.to_string() + "=" + each.fallback.to_string()});
  }
  return words;
}

std::expected<TakeoverPlan, std::string> parse_arguments(std::span<const std::string> words) {
  TakeoverPlan plan;
  for (std::size_t i = 0; i < words.size(); i += 2) {
    if (i + 1 == words.size()) return std::unexpected(words[i] + " has no value");
    if (!set(plan, words[i], words[i + 1])) return std::unexpected("cannot use " + words[i] + " " + words[i + 1]);
  }
  return plan;
}

}  // namespace lastlight::dns
