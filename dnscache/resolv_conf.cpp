#include "dnscache/resolv_conf.h"

#include <algorithm>

namespace lastlight::dns {

namespace {

constexpr std::size_t kMaxNameservers = 3;  // MAXNS
constexpr std::size_t kMaxReported = 16;    // options and problems each: a log line, not a copy of the file
constexpr std::string_view kBlank = " \t\r";

std::string_view next_word(std::string_view& line) {
  const auto begin = line.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return line = {};
  const auto end = std::min(line.find_first_of(kBlank, begin), line.size());
  const std::string_view word = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return word;
}

void report(std::vector<std::string>& list, std::string text) {
  if (list.size() < kMaxReported) list.push_back(std::move(text));
}

void add_nameserver(ResolvConf& conf, std::string_view word) {
  const auto address = IpAddress::parse(word);
  if (word.find('%') != std::string_view::npos) {
    report(conf.problems, "nameserver " + std::string(word) + ": a scope id is not supported");
  } else if (!address) {
    report(conf.problems, "nameserver '" + std::string(word) + "' is not an IP address");
  } else if (address->is_unspecified()) {
    report(conf.problems, "nameserver " + std::string(word) + " means this host and is not an upstream");
  } else if (conf.nameservers.size() == kMaxNameservers) {
    report(conf.problems, "nameserver " + std::string(word) + ": only the first three are used");
  } else if (std::ranges::find(conf.nameservers, *address) == conf.nameservers.end()) {
    conf.nameservers.push_back(*address);
  }
}

}  // namespace

ResolvConf parse_resolv_conf(std::string_view text) {
  ResolvConf conf;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && (line.front() == '#' || line.front() == ';')) continue;
    const std::string_view keyword = next_word(line);
    if (keyword == "nameserver") {
      add_nameserver(conf, next_word(line));
    } else if (keyword == "options") {
      for (auto word = next_word(line); !word.empty(); word = next_word(line))
        report(conf.options, std::string(word));
    }
  }
  return conf;
}

bool is_stub(const ResolvConf& conf) {
  static const IpAddress stub = IpAddress::v4(0x7f000035);
  static const IpAddress proxy = IpAddress::v4(0x7f000036);
  return !conf.nameservers.empty() &&
         std::ranges::all_of(conf.nameservers, [](const IpAddress& a) { return a == stub || a == proxy; });
}

const ResolvConf& choose_resolv_conf(const ResolvConf& configured, const std::optional<ResolvConf>& systemd) {
  const bool better = systemd && !systemd->nameservers.empty() && !is_stub(*systemd);
  return better && (configured.nameservers.empty() || is_stub(configured)) ? *systemd : configured;
}

}  // namespace lastlight::dns
