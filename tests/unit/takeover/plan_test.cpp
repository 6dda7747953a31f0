#include "dnscache/takeover/plan.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::dns;

namespace {

std::expected<TakeoverPlan, std::string> parsed(std::vector<std::string> words) {
  return parse_arguments(words);
}

}  // namespace

TEST_CASE("a plan survives its way through the child's arguments") {
  TakeoverPlan plan;
  plan.interface = "dns0";
  plan.port = 5300;
  plan.lease = std::chrono::milliseconds(900);
  plan.cluster_ips = {*IpAddress::parse("10.96.0.10"), *IpAddress::parse("fd00:10::a")};
  plan.link_locals = {{*IpAddress::parse("169.254.20.10"), *IpAddress::parse("10.96.0.11")}};
  CHECK(parsed(to_arguments(plan)) == plan);
  CHECK(plan.addresses().size() == 3);
  CHECK(parsed({}) == TakeoverPlan{});
}

// The child is privileged and its words become nftables text: nothing but names, numbers and addresses may pass.
TEST_CASE("words that are no plan are refused") {
  const auto [key, value] = GENERATE(table<std::string, std::string>({{"--interface", "a;flush ruleset"},
                                                                      {"--interface", "sixteen-letters-"},
                                                                      {"--interface", ""},
                                                                      {"--port", "0"},
                                                                      {"--port", "65536"},
                                                                      {"--port", "53 "},
                                                                      {"--lease-ms", "99"},
                                                                      {"--lease-ms", "-1"},
                                                                      {"--cluster-ip", "10.96.0.10 drop"},
                                                                      {"--cluster-ip", "0.0.0.0"},
                                                                      {"--cluster-ip", "127.0.0.1"},
                                                                      {"--link-local", "169.254.20.10"},
                                                                      {"--link-local", "169.254.20.10=fd00::1"},
                                                                      {"--link-local", "169.254.20.10=169.254.20.10"},
                                                                      {"--whatever", "169.254.20.10=10.0.0.1"}}));
  CHECK(!parsed({key, value}));
}

TEST_CASE("a word without its value, and more addresses than there is room for, are refused") {
  CHECK(parsed({"--port"}).error() == "--port has no value");
  std::vector<std::string> words;
  for (std::size_t i = 0; i < TakeoverPlan::kMaxAddresses; ++i)
    words.insert(words.end(), {"--cluster-ip", "10.96.1." + std::to_string(i)});
  CHECK(parsed(words));
  words.insert(words.end(), {"--cluster-ip", "10.96.2.1"});
  CHECK(!parsed(words));
}
