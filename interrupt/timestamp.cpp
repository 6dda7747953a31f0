#include "interrupt/timestamp.h"

#include <array>
#include <cstdio>

namespace lastlight::interrupt {
namespace {

using namespace std::chrono;

// Exactly `digits` decimal digits at `at`, or nullopt.
std::optional<int> number(std::string_view text, std::size_t at, std::size_t digits) {
  if (at + digits > text.size()) return std::nullopt;
  int value = 0;
  for (const char c : text.substr(at, digits)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

std::optional<WallTime> assemble(int y, int mo, int d, int h, int mi, int s) {
  const year_month_day date{year{y}, month{static_cast<unsigned>(mo)}, day{static_cast<unsigned>(d)}};
  // 60 is a leap second: both grammars allow it, and it means the next second.
  if (!date.ok() || h > 23 || mi > 59 || s > 60) return std::nullopt;
  return WallTime{sys_days{date}.time_since_epoch() + hours{h} + minutes{mi} + std::chrono::seconds{s}};
}

// HH:MM:SS at `at`.
struct Clock {
  int h, m, s;
};
std::optional<Clock> clock_at(std::string_view text, std::size_t at) {
  const auto h = number(text, at, 2), m = number(text, at + 3, 2), s = number(text, at + 6, 2);
  if (!h || !m || !s || text[at + 2] != ':' || text[at + 5] != ':') return std::nullopt;
  return Clock{*h, *m, *s};
}

}  // namespace

std::optional<WallTime> parse_http_date(std::string_view text) {
  // "Sun, 06 Nov 1994 08:49:37 GMT"; the day's name is not checked against the date.
  if (text.size() != 29 || text[5] == ' ' || text.substr(3, 2) != ", ") return std::nullopt;
  return parse_aws_date(text.substr(5));
}

std::optional<WallTime> parse_aws_date(std::string_view text) {
  static constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                               "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  if (text.size() == 23 && text[1] == ' ') return parse_aws_date("0" + std::string(text));
  if (text.size() != 24 || text[2] != ' ' || text[6] != ' ' || text[11] != ' ' || text.substr(20) != " GMT") {
    return std::nullopt;
  }
  int month = 0;
  for (std::size_t i = 0; i < kMonths.size(); ++i) {
    if (text.substr(3, 3) == kMonths[i]) month = static_cast<int>(i) + 1;
  }
  const auto d = number(text, 0, 2), y = number(text, 7, 4);
  const auto clock = clock_at(text, 12);
  if (month == 0 || !d || !y || !clock) return std::nullopt;
  return assemble(*y, month, *d, clock->h, clock->m, clock->s);
}

std::optional<WallTime> parse_rfc3339(std::string_view text) {
  if (text.size() < 20) return std::nullopt;
  const auto y = number(text, 0, 4), mo = number(text, 5, 2), d = number(text, 8, 2);
  const auto clock = clock_at(text, 11);
  if (!y || !mo || !d || !clock || text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't')) {
    return std::nullopt;
  }
  auto time = assemble(*y, *mo, *d, clock->h, clock->m, clock->s);
  if (!time) return std::nullopt;
  std::size_t at = 19;
  if (text[at] == '.') {
    int place = 100;
    const std::size_t first = ++at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, place /= 10) {
      *time += milliseconds{(text[at] - '0') * place};
    }
    if (at == first) return std::nullopt;
  }
  const std::string_view zone = text.substr(at);
  if (zone == "Z" || zone == "z") return time;
  const auto h = number(zone, 1, 2), m = number(zone, 4, 2);
  if (zone.size() != 6 || !h || !m || *h > 23 || *m > 59 || zone[3] != ':') return std::nullopt;
  if (zone[0] == '+') return *time - hours{*h} - minutes{*m};
  if (zone[0] == '-') return *time + hours{*h} + minutes{*m};
  return std::nullopt;
}

std::string format_rfc3339(WallTime time) {
  const auto day = floor<days>(time);
  const year_month_day date{day};
  const hh_mm_ss clock{floor<std::chrono::seconds>(time - day)};
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text.data();
}

}  // namespace lastlight::interrupt
