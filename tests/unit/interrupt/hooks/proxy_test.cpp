#include "interrupt/hooks/proxy.h"

#include <map>

#include "tests/support/catch.h"

using lastlight::interrupt::proxy_for;

namespace {

std::string proxy(const std::string& url, std::map<std::string, std::string> variables) {
  return proxy_for(url, [&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

}  // namespace

TEST_CASE("a webhook's proxy is the environment's, by scheme", "[hooks]") {
  const std::map<std::string, std::string> both = {{"HTTP_PROXY", "http://p:1"}, {"HTTPS_PROXY", "s:2"}};
  CHECK(proxy("http://hook.example/x", both) == "http://p:1");
  CHECK(proxy("HTTPS://hook.example", both) == "http://s:2");
  CHECK(proxy("https://hook.example", {{"HTTPS_PROXY", "http://a"}, {"https_proxy", "http://b"}}) == "http://b");
  CHECK(proxy("https://hook.example", {{"HTTP_PROXY", "http://p:1"}}).empty());
  CHECK(proxy("https://hook.example", {}).empty());
  CHECK(proxy("ftp://hook.example", both).empty());
  for (const char* local : {"http://127.0.0.1:8/", "http://localhost/", "http://[::1]/x"})
    CHECK(proxy(local, both).empty());
}

TEST_CASE("NO_PROXY exempts names, their subdomains, addresses and ranges", "[hooks]") {
  const auto direct = [](const std::string& url, const std::string& except) {
    return proxy(url, {{"HTTP_PROXY", "http://p:1"}, {"NO_PROXY", except}}).empty();
  };
  CHECK(direct("http://a.example/", "*"));
  CHECK(direct("http://svc.cluster.local/", "x, .cluster.local"));
  CHECK(direct("http://svc.cluster.local/", "cluster.local"));
  CHECK(direct("http://SVC.Cluster.Local/", "*.cluster.local,y"));
  CHECK(direct("http://cluster.local/", "cluster.local"));
  CHECK_FALSE(direct("http://mycluster.local/", "cluster.local"));
  CHECK_FALSE(direct("http://a.example/", ""));
  CHECK_FALSE(direct("http://a.example/", ", ,.,"));
  CHECK(direct("http://a.example:81/", "a.example:81"));
  CHECK_FALSE(direct("http://a.example/", "a.example:81"));
  CHECK(direct("http://user:pw@10.1.2.3:80/", "10.0.0.0/8"));
  CHECK_FALSE(direct("http://11.1.2.3/", "10.0.0.0/8"));
  CHECK(direct("http://10.129.0.1/", "10.128.0.0/9"));
  CHECK_FALSE(direct("http://10.127.0.1/", "10.128.0.0/9"));
  CHECK(direct("http://10.1.2.3/", "10.1.2.3"));
  CHECK(direct("http://[2001:db8::7]/", "2001:db8::/32"));
  CHECK(direct("http://[2001:db8::7]:80/", "[2001:db8::7]:80"));
  CHECK_FALSE(direct("http://[2001:db9::7]/", "2001:db8::/32"));
  CHECK_FALSE(direct("http://10.1.2.3/", "10.0.0.0/99"));
}
