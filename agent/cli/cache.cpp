#include "agent/cli/cache.h"

#include <iomanip>
#include <ostream>
#include <sstream>
#include <utility>

#include "agent/base/http.h"
#include "agent/cli/ask_agent.h"

namespace lastlight::cli {

namespace {

using Verb = CacheCommand::Verb;

std::pair<std::string, std::string> request_of(const CacheCommand& command) {
  switch (command.verb) {
    case Verb::Get:
      return {"GET", "/cache/entry?name=" + percent_encode(command.name) + "&type=" + percent_encode(command.type)};
    case Verb::FlushName:
      return {"POST", "/cache/flush?name=" + percent_encode(command.name)};
    case Verb::FlushZone:
      return {"POST", "/cache/flush?zone=" + percent_encode(command.name)};
    case Verb::FlushAll:
      return {"POST", "/cache/flush?all=1"};
    case Verb::Top:
      break;
  }
  return {"GET", "/cache/top?most=" + std::to_string(command.most)};
}

std::int64_t number(const Json& of, const char* key) {
  return int_at(of, key).value_or(0);
}

void print_records(std::ostream& out, const Json& entry, const char* section) {
  for (const Json& record : array_at(entry, section)) {
    out << "  " << string_at(record, "name") << ' ' << number(record, "ttl") << ' ' << string_at(record, "type") << ' '
        << string_at(record, "data") << '\n';
  }
}

void print_entry(std::ostream& out, const Json& entry) {
  out << string_at(entry, "name") << ' ' << string_at(entry, "type") << ": " << string_at(entry, "rcode");
  for (const auto& [bit, name] : {std::pair{"do", "DO"}, std::pair{"cd", "CD"}}) {
    if (bool_at(entry, "asked", bit)) out << ", asked with " << name;
  }
  if (!bool_at(entry, "asked", "rd")) out << ", asked without RD";
  out << '\n';
  const std::int64_t left = number(entry, "ttlLeft");
  out << "  zone      " << string_at(entry, "zone") << '\n';
  out << "  age       " << number(entry, "age") << " s\n";
  if (bool_at(entry, "stale")) {
    out << "  ttl left  none: stale for " << -left << " s\n";
  } else {
    out << "  ttl left  " << left << " s\n";
  }
  out << "  hits      " << number(entry, "hits") << '\n';
  const std::string upstream = string_at(entry, "upstream");
  const char* const nobody = bool_at(entry, "failure") ? "none: a failure that is remembered" : "not known";
  out << "  upstream  " << (upstream.empty() ? nobody : upstream) << '\n';
  print_records(out, entry, "answer");
  print_records(out, entry, "authority");
}

void print_count(std::ostream& out, std::int64_t count, const std::string& of) {
  out << std::setw(10) << count << "  " << of << '\n';
}

void print_top(std::ostream& out, const char* title, const Json::array_t& rows) {
  out << title << '\n';
  if (rows.empty()) out << "  none\n";
  for (const Json& row : rows)
    print_count(out, number(row, "queries"), string_at(row, "name") + ' ' + string_at(row, "type"));
}

}  // namespace

std::string cache_text(const CacheCommand& command, const Json& document) {
  std::ostringstream out;
  if (command.verb == Verb::Get) {
    const auto& entries = array_at(document, "entries");
    if (entries.empty()) out << "nothing is kept for " << command.name << ' ' << command.type << '\n';
    for (const Json& entry : entries)
      print_entry(out, entry);
  } else if (command.verb == Verb::Top) {
    print_top(out, "names, by queries since the agent started", array_at(document, "names"));
    print_top(out, "missing names (NXDOMAIN), likewise", array_at(document, "missing"));
    out << "clients, by queries since the agent started\n";
    for (const Json& row : array_at(document, "clients"))
      print_count(out, number(row, "queries"), string_at(row, "address"));
  } else {
    out << "forgot " << number(document, "forgotten") << " answers\n";
  }
  return out.str();
}

int cache(const CacheCommand& command, std::ostream& out, std::ostream& errors) {
  const auto [method, target] = request_of(command);
  const auto document = ask_agent(method, target);
  if (!document) {
    errors << "lastlight: " << document.error() << '\n';
    return 1;
  }
  out << (command.output == Output::Json ? dump_json(*document) + '\n' : cache_text(command, *document));
  return command.verb == Verb::Get && array_at(*document, "entries").empty() ? 1 : 0;
}

}  // namespace lastlight::cli
