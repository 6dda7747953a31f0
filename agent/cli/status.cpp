#include "agent/cli/status.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iomanip>
#include <optional>
#include <ostream>
#include <sstream>
#include <tuple>
#include <utility>
#include <vector>

#include <unistd.h>

#include "agent/base/address.h"
#include "agent/cli/ask_agent.h"
#include "agent/cli/table.h"
#include "agent/io/http_once.h"
#include "agent/io/timer.h"

namespace lastlight::cli {

namespace {

constexpr int kBar = 40;
constexpr const char* kClear = "\x1b[H\x1b[J";

int probe(const Command& command, std::ostream& out, std::ostream& errors) {
  std::string silent;
  for (const std::string& url : probe_urls(command.url, std::getenv("NODE_IP"))) {
    HttpRequest request;
    request.url = url + (command.probe == Command::Probe::Ready ? "/readyz" : "/healthz");
    const HttpReply reply = io::http_once(std::move(request));
    if (reply.status != 0) {
      (reply.ok() ? out : errors) << reply.body;
      return reply.ok() ? 0 : 1;
    }
    silent += "lastlight: no answer from " + url + ": " + reply.error + '\n';
  }
  errors << silent;
  return 1;
}

// None for null and for what is no number.
template <class... Keys>
std::optional<double> number_at(const Json& json, const Keys&... keys) {
  const Json* found = find(json, keys...);
  if (found == nullptr || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

std::string in_seconds(double value) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(1) << value << " s";
  return out.str();
}

std::string in_seconds(std::optional<double> value) {
  return value ? in_seconds(*value) : "-";
}

std::string what_became(const Json& pod) {
  const std::string fate = string_at(pod, "fate");
  const std::string by = string_at(pod, "by");
  if (fate == "refused") return "refused by its budget, deleted at " + in_seconds(number_at(pod, "delete_at_seconds"));
  if (fate == "forbidden") return "not permitted";
  if (fate == "returned") return "came back past the cordon: left";
  if (by == "deleted") return "deleted past its budget";
  if (by == "told") return "told by somebody else";
  return by.empty() ? fate : by;
}

// Its grace, on a line from the notice to the node's end; `now` as a bar.
std::string bar(const Json& pod, double now, double window) {
  const auto place = [window](double at) {
    return static_cast<std::size_t>(std::clamp(std::lround(at / window * kBar), 0L, static_cast<long>(kBar - 1)));
  };
  std::string out(kBar, ' ');
  if (const auto told = number_at(pod, "told_seconds")) {
    const double end = number_at(pod, "gone_seconds").value_or(*told + number_at(pod, "grace_seconds").value_or(0));
    for (std::size_t i = place(*told); i <= place(end); ++i)
      out[i] = '=';
  } else if (const auto at = number_at(pod, "delete_at_seconds")) {
    out[place(*at)] = 'x';
  }
  out[place(now)] = '|';
  return "[" + out + "]";
}

void print_drain(std::ostream& out, const Json& drain) {
  const double now = number_at(drain, "since_seconds").value_or(0);
  const double window = std::max(number_at(drain, "window_seconds").value_or(0), 1.0);
  std::vector<const Json*> pods;
  std::size_t told = 0;
  std::size_t gone = 0;
  for (const Json& pod : array_at(drain, "pods")) {
    if (string_at(pod, "fate") == "stays") continue;
    pods.push_back(&pod);
    if (number_at(pod, "told_seconds")) ++told;
    if (string_at(pod, "fate") == "gone") ++gone;
  }
  const auto cordoned = number_at(drain, "cordoned_seconds");
  out << (cordoned ? "cordoned after " + in_seconds(*cordoned) : "not cordoned") << "; " << told << " of "
      << pods.size() << " pods told, " << gone << " gone; " << array_at(drain, "pods").size() - pods.size() << " stay; "
      << int_at(drain, "requests").value_or(0) << " requests; " << in_seconds(now) << " of " << in_seconds(window)
      << (bool_at(drain, "active") ? "" : ", over") << "\n\n";
  std::ranges::sort(pods, {}, [](const Json* pod) {
    return std::tuple(number_at(*pod, "told_seconds").value_or(1e9), string_at(*pod, "namespace"),
                      string_at(*pod, "name"));
  });
  std::vector<std::vector<std::string>> rows = {{"TOLD", "GRACE", "GONE", "POD", "", "FATE"}};
  for (const Json* pod : pods) {
    const auto at = number_at(*pod, "told_seconds");
    rows.push_back({in_seconds(at), at ? std::to_string(int_at(*pod, "grace_seconds").value_or(0)) + " s" : "-",
                    in_seconds(number_at(*pod, "gone_seconds")),
                    string_at(*pod, "namespace") + "/" + string_at(*pod, "name"), bar(*pod, now, window),
                    what_became(*pod)});
    if (const std::string error = string_at(*pod, "error"); !error.empty() && !at) rows.back().back() += ": " + error;
  }
  if (!pods.empty()) print_table(out, rows);
}

void wait(Duration how_long) {
  io::Loop loop;
  io::Timer timer(loop, [&loop] { loop.stop(); });
  timer.start_in(how_long);
  loop.run();
}

}  // namespace

std::vector<std::string> probe_urls(const std::string& given, const char* node_ip) {
  if (!given.empty()) return {given};
  std::vector<std::string> out;
  if (const auto address = IpAddress::parse(node_ip != nullptr ? node_ip : ""))
    out.push_back("http://" + Endpoint{*address, 9253}.to_string());
  out.emplace_back("http://127.0.0.1:9253");
  return out;
}

std::string status_text(const Json& document) {
  std::ostringstream out;
  out << string_at(document, "node") << ": lastlight " << string_at(document, "version") << ", "
      << (bool_at(document, "ready") ? "ready" : "not ready") << ", up "
      << in_seconds(number_at(document, "up_seconds")) << ", takeover " << string_at(document, "takeover", "state")
      << '\n';
  const std::string source = string_at(document, "interruption", "source");
  out << "notices: " << (source.empty() ? "off" : source);
  if (const auto age = number_at(document, "interruption", "last_success_seconds"))
    out << ", answered " << in_seconds(age) << " ago";
  out << '\n';
  const Json* const notice = find(document, "interruption", "notice");
  const Json* const drain = find(document, "interruption", "drain");
  if (notice != nullptr && notice->is_object()) {
    out << "notice: " << string_at(*notice, "kind") << " (" << string_at(*notice, "action") << "), said by "
        << string_at(*notice, "source");
    if (const auto left = number_at(*notice, "left_seconds"))
      out << (*left > 0 ? ": " + in_seconds(*left) + " left" : ": its time is over");
    out << '\n';
  } else {
    out << "notice: none\n";
  }
  if (drain != nullptr && drain->is_object()) {
    out << "drain: ";
    print_drain(out, *drain);
  }
  return out.str();
}

int status(const Command& command, std::ostream& out, std::ostream& errors) {
  if (command.probe != Command::Probe::None) return probe(command, out, errors);
  const bool screen = command.status.follow && command.status.output == Output::Text && isatty(STDOUT_FILENO) == 1;
  while (true) {
    const auto document = ask_agent("GET", "/status");
    if (!document) {
      errors << "lastlight: " << document.error() << '\n';
      return 1;
    }
    if (screen) out << kClear;
    out << (command.status.output == Output::Json ? dump_json(*document) + '\n' : status_text(*document)) << std::flush;
    if (!command.status.follow) return 0;
    if (!screen && command.status.output == Output::Text) out << '\n';
    wait(std::chrono::seconds(1));
  }
}

}  // namespace lastlight::cli
