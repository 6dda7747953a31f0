#include "agent/cli/doctor.h"

#include <ostream>

#include "agent/doctor/findings.h"
#include "agent/doctor/look.h"

namespace lastlight::cli {

namespace {

using namespace lastlight::doctor;

void print_text(const std::vector<Finding>& found, std::ostream& out) {
  for (const Finding& each : found) {
    const std::string severity = name(each.severity);
    out << severity << std::string(9 - severity.size(), ' ') << each.what << '\n';
    std::size_t begin = 0;
    while (begin < each.to_do.size()) {
      const std::size_t end = std::min(each.to_do.find('\n', begin), each.to_do.size());
      out << "         -> " << each.to_do.substr(begin, end - begin) << '\n';
      begin = end + 1;
    }
  }
}

void print_json(const std::vector<Finding>& found, std::ostream& out) {
  Json list = Json::array();
  for (const Finding& each : found)
    list.push_back({{"severity", name(each.severity)}, {"what", each.what}, {"toDo", each.to_do}});
  out << dump_json({{"ok", !any_problem(found)}, {"findings", std::move(list)}}) << '\n';
}

}  // namespace

int doctor(const DoctorCommand& command, std::ostream& out, std::ostream& errors) {
  const auto facts = look({.network_policies = command.network_policies, .pid = command.pid});
  if (!facts) {
    errors << "lastlight doctor: " << facts.error() << '\n';
    return 2;
  }
  const std::vector<Finding> found = findings(*facts);
  command.output == Output::Json ? print_json(found, out) : print_text(found, out);
  return any_problem(found) ? 1 : 0;
}

}  // namespace lastlight::cli
