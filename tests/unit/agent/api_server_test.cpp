#include "agent/api_server.h"

#include <map>

#include "tests/support/catch.h"

using lastlight::api_server_url;

namespace {

std::string url(const std::string& configured, const std::map<std::string, std::string>& environment) {
  lastlight::KubernetesConfig config;
  config.api_server = configured;
  return api_server_url(config, [&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  });
}

}  // namespace

TEST_CASE("the API server is the configured one, else the pod's environment, else none") {
  const std::map<std::string, std::string> pod = {{"KUBERNETES_SERVICE_HOST", "10.96.0.1"},
                                                  {"KUBERNETES_SERVICE_PORT", "6443"}};
  CHECK(url("http://127.0.0.1:8001/", pod) == "http://127.0.0.1:8001");
  CHECK(url("", pod) == "https://10.96.0.1:6443");
  CHECK(url("", {{"KUBERNETES_SERVICE_HOST", "fd00::1"}}) == "https://[fd00::1]:443");
  CHECK(url("", {}).empty());
}
