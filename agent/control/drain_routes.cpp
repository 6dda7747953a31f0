#include "agent/control/drain_routes.h"

#include <charconv>
#include <string>
#include <utility>

#include "interrupt/manual.h"

namespace lastlight {

namespace {

using interrupt::Controller;

constexpr std::string_view kNothing = "this agent drains nothing: its interruption.source is none";

HttpReply announce(Controller* controller, const http::Call& call) {
  const std::string name(call.parameter("kind"));
  const auto kind = interrupt::kind_of(name);
  if (!kind) return http::error_reply(400, "no such notice: '" + name + "'; there are " + interrupt::kind_names());
  std::int64_t count = 0;
  const std::string given(call.parameter("milliseconds"));
  const char* const end = given.c_str() + given.size();
  constexpr auto kMost = std::chrono::milliseconds(interrupt::kLongestManual / std::chrono::milliseconds(1));
  if (given.empty() || std::from_chars(given.c_str(), end, count).ptr != end || count > kMost.count() ||
      std::chrono::milliseconds(count) < interrupt::kShortestManual)
    return http::error_reply(400, "milliseconds is a number from 1000 to " + std::to_string(kMost.count()));
  if (controller == nullptr) return http::error_reply(409, kNothing);
  const auto treatment = controller->announce(*kind, std::chrono::milliseconds(count));
  if (!treatment) return http::error_reply(409, treatment.error());
  return http::json_reply({{"id", controller->manual()}, {"treatment", interrupt::treatment_name(*treatment)}});
}

HttpReply take_back(Controller* controller) {
  if (controller == nullptr) return http::error_reply(409, kNothing);
  if (!controller->take_back()) return http::error_reply(409, "no notice that was said by hand stands");
  return http::json_reply(Json::object());
}

}  // namespace

void add_drain_routes(http::RouteTable& routes, const std::function<Controller*()>& controller) {
  routes.add("POST", "/drain", [controller](const http::Call& call) { return announce(controller(), call); });
  routes.add("POST", "/drain/cancel", [controller](const http::Call&) { return take_back(controller()); });
}

}  // namespace lastlight
