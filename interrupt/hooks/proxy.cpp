#include "interrupt/hooks/proxy.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

#include "agent/base/address.h"

namespace lastlight::interrupt {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::optional<unsigned> number(std::string_view text, unsigned most) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > most) return std::nullopt;
  return value;
}

struct Target {
  bool tls = false;
  std::string host;  // lower case, IPv6 without brackets
  std::string port;
};

std::optional<Target> read_url(std::string_view url) {
  Target target;
  const std::string scheme = lower(url.substr(0, std::min(url.size(), url.find("://"))));
  if (scheme != "http" && scheme != "https") return std::nullopt;
  target.tls = scheme == "https";
  url.remove_prefix(scheme.size() + 3);
  url = url.substr(0, std::min(url.size(), url.find_first_of("/?#")));
  if (const auto at = url.rfind('@'); at != std::string_view::npos) url.remove_prefix(at + 1);
  target.port = target.tls ? "443" : "80";
  const auto bracket = url.rfind(']');
  const auto colon = url.rfind(':');
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    target.port = url.substr(colon + 1);
    url = url.substr(0, colon);
  }
  if (url.starts_with('[') && url.ends_with(']')) url = url.substr(1, url.size() - 2);
  target.host = lower(url);
  if (target.host.empty()) return std::nullopt;
  return target;
}

bool in_range(const IpAddress& address, std::string_view range) {
  const auto slash = range.find('/');
  const auto network = IpAddress::parse(range.substr(0, slash));
  if (!network || network->is_v6() != address.is_v6()) return false;
  const unsigned width = address.is_v6() ? 128 : 32;
  const auto bits = slash == std::string_view::npos ? width : number(range.substr(slash + 1), width);
  if (!bits) return false;
  for (unsigned i = 0; i < *bits; ++i) {
    const int mask = 0x80 >> (i % 8);
    if ((address.octets()[i / 8] & mask) != (network->octets()[i / 8] & mask)) return false;
  }
  return true;
}

// One entry of NO_PROXY.
bool exempts(std::string_view entry, const Target& target) {
  if (entry == "*") return true;
  const auto address = IpAddress::parse(target.host);
  const auto colon = entry.rfind(':');
  const bool one_colon = colon != std::string_view::npos && entry.find(':') == colon;
  if (one_colon || entry.find("]:") != std::string_view::npos) {
    if (entry.substr(colon + 1) != target.port) return false;
    entry = entry.substr(0, colon);
  }
  if (entry.starts_with('[') && entry.ends_with(']')) entry = entry.substr(1, entry.size() - 2);
  if (address) return in_range(*address, entry);
  std::string name = lower(entry);
  name.erase(0, name.starts_with("*.") ? 2 : name.starts_with('.') ? 1 : 0);
  if (name.empty()) return false;
  return target.host == name || target.host.ends_with("." + name);
}

std::string variable(const Environment& environment, const char* low, const char* high) {
  for (const char* name : {low, high}) {
    if (const char* value = environment(name); value != nullptr && *value != '\0') return value;
  }
  return {};
}

}  // namespace

std::string proxy_for(const std::string& url, const Environment& environment) {
  const auto target = read_url(url);
  if (!target || target->host == "localhost") return {};
  if (const auto address = IpAddress::parse(target->host); address && address->is_loopback()) return {};
  std::string proxy = target->tls ? variable(environment, "https_proxy", "HTTPS_PROXY")
                                  : variable(environment, "http_proxy", "HTTP_PROXY");
  if (proxy.empty()) return {};
  const std::string except = variable(environment, "no_proxy", "NO_PROXY");
  for (std::size_t from = 0; from < except.size();) {
    const std::size_t end = std::min(except.find_first_of(", ", from), except.size());
    const auto entry = std::string_view(except).substr(from, end - from);
    if (!entry.empty() && exempts(entry, *target)) return {};
    from = end + 1;
  }
  if (proxy.find("://") == std::string::npos) proxy = "http://" + proxy;
  return proxy;
}

}  // namespace lastlight::interrupt
