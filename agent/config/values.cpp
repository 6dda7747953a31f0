#include "agent/config/values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <numeric>
#include <span>

#include "agent/config.h"

namespace lastlight {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// Largest first: the printer takes the first that divides.
constexpr std::array<Unit, 6> kTimes{{{"h", 3'600'000'000'000},
                                      {"m", 60'000'000'000},
                                      {"s", 1'000'000'000},
                                      {"ms", 1'000'000},
                                      {"us", 1'000},
                                      {"ns", 1}}};
constexpr std::array<Unit, 4> kSizes{{{"GiB", 1U << 30}, {"MiB", 1U << 20}, {"KiB", 1U << 10}, {"B", 1}}};

std::optional<std::uint64_t> parse_units(std::string_view text, std::span<const Unit> units) {
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = parse_number(text.substr(0, digits));
  const auto unit =
      std::find_if(units.begin(), units.end(), [&](const Unit& u) { return u.name == text.substr(digits); });
  if (!number || unit == units.end()) return std::nullopt;
  if (*number > std::uint64_t{std::numeric_limits<std::int64_t>::max()} / unit->factor) return std::nullopt;
  return *number * unit->factor;
}

std::string print_units(std::uint64_t value, std::span<const Unit> units, std::string_view zero) {
  if (value == 0) return std::string(zero);
  const auto unit = std::find_if(units.begin(), units.end(), [&](const Unit& u) { return value % u.factor == 0; });
  return std::to_string(value / unit->factor) + std::string(unit->name);
}

bool is_lower_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool is_domain_label(std::string_view label) {
  if (label.empty() || label.size() > 63) return false;
  return std::all_of(label.begin(), label.end(), [](char c) { return is_lower_or_digit(c) || c == '-' || c == '_'; });
}

template <class Check>
bool all_labels(std::string_view text, Check check) {
  if (text.empty() || text.size() > 253) return false;
  for (;;) {
    const auto dot = text.find('.');
    if (!check(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  const auto number = parse_number(text);
  if (!number || *number == 0 || *number > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(*number);
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replace = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replace, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> parse_fraction(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string print_fraction(double value) {
  std::array<char, 32> text{};
  const auto result = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), result.ptr};
}

std::optional<Duration> parse_duration(std::string_view text) {
  const auto value = parse_units(text, kTimes);
  if (!value) return std::nullopt;
  return Duration(static_cast<Duration::rep>(*value));
}

std::string print_duration(Duration duration) {
  return print_units(static_cast<std::uint64_t>(duration.count()), kTimes, "0s");
}

std::optional<Bytes> parse_size(std::string_view text) {
  const auto value = parse_units(text, kSizes);
  if (!value) return std::nullopt;
  return Bytes{*value};
}

std::string print_size(Bytes size) {
  return print_units(size.count, kSizes, "0B");
}

std::optional<std::string> normal_domain(std::string_view text) {
  if (text == ".") return ".";
  if (!text.empty() && text.back() == '.') text.remove_suffix(1);
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (!all_labels(lower, is_domain_label)) return std::nullopt;
  return lower;
}

bool is_label(std::string_view text) {
  return is_domain_label(text) && text.find('_') == std::string_view::npos && text.front() != '-' && text.back() != '-';
}

bool is_object_name(std::string_view text) {
  return all_labels(text, is_label);
}

bool is_origin(std::string_view text) {
  if (text.starts_with("http://")) {
    text.remove_prefix(7);
  } else if (text.starts_with("https://")) {
    text.remove_prefix(8);
  } else {
    return false;
  }
  if (Endpoint::parse(text, 80)) return true;
  const auto colon = text.find(':');
  if (colon != std::string_view::npos && !parse_port(text.substr(colon + 1))) return false;
  return normal_domain(text.substr(0, colon)).has_value() && text.substr(0, colon) != ".";
}

bool is_url(std::string_view text) {
  const auto scheme = text.find("://");
  const auto path = scheme == std::string_view::npos ? scheme : text.find_first_of("/?", scheme + 3);
  return is_origin(text.substr(0, path)) && std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t fewest = std::max<std::size_t>(2, word.size() / 3) + 1;
  if (word.size() > 64) return best;
  for (const std::string& candidate : candidates) {
    const std::size_t edits = edit_distance(word, candidate);
    if (edits < fewest) {
      fewest = edits;
      best = candidate;
    }
  }
  return best;
}

std::optional<AddressSpec> AddressSpec::parse(std::string_view text, std::uint16_t default_port) {
  AddressSpec out;
  const std::string_view service = "service:";
  const bool is_service = text.starts_with(service);
  if (!is_service && text != "node" && !text.starts_with("node:")) {
    const auto endpoint = Endpoint::parse(text, default_port);
    if (!endpoint || endpoint->port == 0) return std::nullopt;
    out.address = endpoint->address;
    out.port = endpoint->port;
    return out;
  }
  if (is_service) text.remove_prefix(service.size());
  const auto colon = text.find(':');
  const auto port = colon == std::string_view::npos ? default_port : parse_port(text.substr(colon + 1));
  if (!port) return std::nullopt;
  out.port = *port;
  out.kind = is_service ? Kind::Service : Kind::Node;
  if (is_service) {
    out.service = text.substr(0, colon);
    if (!is_label(out.service)) return std::nullopt;
  }
  return out;
}

std::string AddressSpec::to_string() const {
  if (kind == Kind::Literal) return Endpoint{address, port}.to_string();
  return (kind == Kind::Service ? "service:" + service : "node") + ":" + std::to_string(port);
}

}  // namespace lastlight
