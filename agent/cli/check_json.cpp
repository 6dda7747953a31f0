#include "agent/cli/check_json.h"

#include "agent/cli/config_json.h"

namespace lastlight::cli {
namespace {

Json meaning_of(const Use& use) {
  Json endpoints = Json::array();
  for (const Endpoint& endpoint : use.meaning.endpoints)
    endpoints.push_back(endpoint.to_string());
  return Json{{"key", use.key},
              {"written", use.spec->to_string()},
              {"endpoints", std::move(endpoints)},
              {"remark", use.meaning.remark}};
}

}  // namespace

Json problems_of(std::span<const ConfigError> errors) {
  Json out = Json::array();
  for (const ConfigError& error : errors)
    out.push_back({{"file", error.file}, {"line", error.line}, {"key", error.key}, {"message", error.message}});
  return out;
}

std::string problems_json(std::span<const ConfigError> errors) {
  return dump_json({{"valid", false}, {"problems", problems_of(errors)}});
}

std::string checked_json(const Config& config, std::span<const Use> uses, std::span<const std::string> memory,
                         std::span<const std::string> problems) {
  Json wrong = Json::array();
  for (const std::string& problem : problems)
    wrong.push_back({{"message", problem}});
  Json addresses = Json::array();
  for (const Use& use : uses)
    addresses.push_back(meaning_of(use));
  return dump_json({{"valid", problems.empty()},
                    {"problems", std::move(wrong)},
                    {"config", config_json(config)},
                    {"memory", std::vector<std::string>(memory.begin(), memory.end())},
                    {"addresses", std::move(addresses)}});
}

}  // namespace lastlight::cli
